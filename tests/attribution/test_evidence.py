"""Evidence of stage 3: what stands in the tables and arks, read by others, and by either backend the same."""

import dataclasses
import shutil
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch

import imlkd.attribution.segments as segments
from imlkd.attribution.evidence import find_evidence, join_evidence, write_evidence
from imlkd.attribution.relevance import EvidenceConfig, RelevanceConfig
from imlkd.attribution.segmentation.graph import Graph, batch_of
from imlkd.attribution.segmentation.k2_lane import lane_python
from imlkd.attribution.segmentation.numpy_backend import NumpyBackend
from imlkd.attribution.segments import evidence_log_odds, get_backend, runs_of
from imlkd.attribution.stage import explain_job, join_jobs
from imlkd.config import save_config
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.features.segments import SegmentsConfig, read_segments, write_segments
from imlkd.kaldi_io import read_scp_arrays
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import save_model
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.pool import grid_of

CONFIG = RelevanceConfig(
    segments=SegmentsConfig(durations=[0.5, 1.5], hop=0.4),
    nodes=2,
    max_nodes=2,
    max_failing=1.0,
    evidence=EvidenceConfig(minimum=0.08, gap=0.05, penalty=1.0, backend="numpy"),
)
CURVES = ("50", "150", "full", "fused")
OFF = dataclasses.replace(CONFIG, evidence=EvidenceConfig())
needs_k2 = pytest.mark.skipif(
    get_backend("auto").name != "k2" and lane_python() is None,
    reason="k2 does not import here and has no environment of its own: local/setup_k2.sh makes one (Python 3.9)",
)


@pytest.fixture(scope="module")
def begun(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher and a targets folder that stage 3 has begun."""
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=24))
    model.train()(torch.randn(6, 30, 24) + 8, torch.full((6,), 30))
    model.head = CosineHead(5, ["s0", "s1", "s2", "s3"])
    folder = tmp_path_factory.mktemp("evidence")
    save_model(model, folder / "teacher")
    write_segments(folder / "targets/segments", grid_of(toy_corpus, CONFIG.segments))
    save_config(CONFIG, folder / "targets/config.yaml")
    DoneMarker(folder / "targets/.done").begin({"x": "1"})
    return folder


@pytest.fixture(scope="module")
def explained(begun: Path, toy_corpus: Path) -> tuple[Path, str]:
    """What stage 3 leaves, in two jobs, and what it says."""
    out = begun / "targets"
    for job in (1, 2):
        explain_job(begun / "teacher", toy_corpus, out, job, 2, out / f"progress.{job}")
    return out, join_jobs(out, toy_corpus.parent / "manifests/toy.jsonl.gz", 2)


@pytest.fixture
def out(explained: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(explained[0] / "curves", tmp_path / "targets/curves")).parent


def test_tables_and_masks_are_those_of_the_curves(explained: tuple[Path, str]) -> None:
    """The masks through Kaldi's own reader, the segments by a graph set up here."""
    out, said = explained
    count = 0
    for name in CURVES:
        relevance = read_scp_arrays(out / f"curves/{name}/relevance.scp")
        table = read_segments(out / f"curves/{name}/evidence")
        with kaldi_native_io.SequentialFloatVectorReader(f"scp:{out}/curves/{name}/mask.scp") as reader:
            masks = {key: np.array(value) for key, value in reader}
        assert list(masks) == list(relevance) and {one.utterance for one in table} <= set(masks)
        for utterance, curve in relevance.items():
            batch = batch_of([evidence_log_odds(curve)], Graph(8, 5, 1.0))
            runs = runs_of(NumpyBackend().best(batch)[0])
            own = sorted((one.start, one.start + one.frames) for one in table if one.utterance == utterance)
            assert own == runs and all(end - start >= 8 for start, end in runs)
            np.testing.assert_allclose(masks[utterance], NumpyBackend().posteriors(batch)[0][:, 1], atol=1e-6)
        count += len(table)
        assert f"evidence of {name}: {len(table)} segments of " in said
    assert count > 40
    line = (out / "curves/fused/evidence").read_text().splitlines()[0].split()
    first = read_segments(out / "curves/fused/evidence")[0]
    assert line == [first.id, first.utterance, f"{first.start / 100:.2f}", f"{(first.start + first.frames) / 100:.2f}"]


def test_segments_are_where_the_relevance_is(explained: tuple[Path, str]) -> None:
    """Of an utterance's relevance they hold more than their share of its frames, and the mask sides with them."""
    curves = list(read_scp_arrays(explained[0] / "curves/fused/relevance.scp").values())
    for curve, (marks, mask) in zip(curves, find_evidence(curves, CONFIG.evidence), strict=True):
        assert marks.any() and not marks.all()
        assert curve[marks].mean() > curve.mean() > curve[~marks].mean()
        assert mask[marks].mean() > 0.5 > mask[~marks].mean()


@needs_k2
def test_k2_writes_the_same(out: Path) -> None:
    before = {name: (out / f"curves/{name}/evidence").read_bytes() for name in CURVES}
    masks = {name: read_scp_arrays(out / f"curves/{name}/mask.scp") for name in CURVES}
    names = {path.relative_to(out) for path in out.rglob("*")}
    config = dataclasses.replace(CONFIG, evidence=dataclasses.replace(CONFIG.evidence, backend="k2"))
    join_evidence(out, 2, OFF)
    for job in (1, 2):
        write_evidence(out, job, config)
    join_evidence(out, 2, config)
    assert {path.relative_to(out) for path in out.rglob("*")} == names
    for name in CURVES:
        assert (out / f"curves/{name}/evidence").read_bytes() == before[name]
        found = read_scp_arrays(out / f"curves/{name}/mask.scp")
        assert list(found) == list(masks[name])
        for utterance, mask in found.items():
            np.testing.assert_allclose(mask, masks[name][utterance], atol=1e-5)


def test_the_number_of_jobs_and_of_utterances_together_does_not_count(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = (out / "curves/50/evidence").read_bytes()
    masks = read_scp_arrays(out / "curves/50/mask.scp")
    for name in CURVES:  # as if one job had explained all
        shutil.copy(out / f"curves/{name}/relevance.scp", out / f"curves/{name}/relevance.1.scp")
    monkeypatch.setattr("imlkd.attribution.evidence.TOGETHER", 3)
    write_evidence(out, 1, CONFIG)
    join_evidence(out, 1, CONFIG)
    assert (out / "curves/50/evidence").read_bytes() == table
    for utterance, mask in read_scp_arrays(out / "curves/50/mask.scp").items():
        np.testing.assert_allclose(mask, masks[utterance], atol=1e-9)


def test_switched_off_nothing_is_written_and_nothing_old_stays(out: Path) -> None:
    assert write_evidence(out, 1, OFF) == []
    assert join_evidence(out, 2, OFF) == []
    assert not [path for path in out.rglob("*") if path.name.startswith(("evidence", "mask"))]
    assert len(list(out.rglob("relevance.scp"))) == 4


def test_a_curve_of_no_utterance_has_no_table(out: Path) -> None:
    for job in (1, 2):
        (out / f"curves/150/relevance.{job}.scp").write_text("")
        write_evidence(out, job, CONFIG)
    assert len(join_evidence(out, 2, CONFIG)) == 3
    assert not (out / "curves/150/evidence").exists() and not (out / "curves/150/mask.scp").exists()


def test_relevance_without_a_peak_leaves_an_empty_table(out: Path) -> None:
    config = dataclasses.replace(CONFIG, evidence=dataclasses.replace(CONFIG.evidence, level=100.0))
    for job in (1, 2):
        write_evidence(out, job, config)
    said = join_evidence(out, 2, config)
    assert said[0] == "evidence of 50: 0 segments of 0.00 s in the mean"
    assert (out / "curves/50/evidence").read_bytes() == b"" and len(read_scp_arrays(out / "curves/50/mask.scp")) == 16


def test_without_k2_stage_3_stops_before_it_explains(
    begun: Path, toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(name: str) -> None:
        raise UserError(f"backend {name}: not there")

    config = dataclasses.replace(CONFIG, evidence=dataclasses.replace(CONFIG.evidence, backend="k2"))
    save_config(config, tmp_path / "config.yaml")
    DoneMarker(tmp_path / ".done").begin({"x": "1"})
    monkeypatch.setattr("imlkd.attribution.stage.get_backend", lacking)
    with pytest.raises(UserError, match="backend k2: not there"):
        explain_job(begun / "teacher", toy_corpus, tmp_path, 1, 1, tmp_path / "progress.1")
    assert not list(tmp_path.glob(".journal*"))
    assert segments.BACKENDS == ("auto", "k2", "numpy")
