"""Stage 3 as jobs: shares, resuming, joining, and the arrays that hang on the cuts."""

import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch

import imlkd.attribution.stage as stage
from imlkd.attribution.arrays import load_map
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.stage import explain_job, join_jobs
from imlkd.attribution.targets import KINDS
from imlkd.config import save_config
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.features.segments import Segment, SegmentsConfig, read_segments, write_segments
from imlkd.kaldi_io import read_scp_arrays, read_table
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import save_model
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.pool import grid_of

CONFIG = RelevanceConfig(segments=SegmentsConfig(durations=[0.5, 1.0]), nodes=2, max_nodes=2, max_failing=1.0)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=24))
    model.train()(torch.randn(6, 30, 24) + 8, torch.full((6,), 30))
    model.head = CosineHead(5, ["s0", "s1", "s2", "s3"])
    folder = tmp_path_factory.mktemp("teacher")
    save_model(model, folder)
    return folder


@pytest.fixture
def out(toy_corpus: Path, tmp_path: Path) -> Path:
    """A targets folder that stage 3 has begun."""
    folder = tmp_path / "targets"
    write_segments(folder / "segments", grid_of(toy_corpus, CONFIG.segments))
    save_config(CONFIG, folder / "config.yaml")
    DoneMarker(folder / ".done").begin({"x": "1"})
    return folder


def explain(teacher: Path, corpus: Path, out: Path, nj: int, jobs: list[int] | None = None) -> None:
    for job in jobs or range(1, nj + 1):
        explain_job(teacher, corpus, out, job, nj, out / f"progress.{job}")


def join(corpus: Path, out: Path, nj: int) -> str:
    return join_jobs(out, corpus.parent / "manifests/toy.jsonl.gz", nj)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.ark")}


def test_shares_cover_every_segment_once(teacher: Path, toy_corpus: Path, out: Path) -> None:
    explain(teacher, toy_corpus, out, 3)
    said = join(toy_corpus, out, 3)
    ids = [segment.id for segment in read_segments(out / "segments")]
    assert said.startswith("completeness: median error") and f"of {len(ids)} segments" in said
    for kind in KINDS:
        shares = [list(read_table(out / f"{kind}.{job}.scp", fields=2)) for job in (1, 2, 3)]
        assert sum(shares, []) == list(read_table(out / f"{kind}.scp", fields=2)) == ids
        owners = [{name.rsplit("-", 2)[0] for name in share} for share in shares]
        assert sorted(map(len, owners)) == [5, 5, 6] and len(set.union(*owners)) == 16  # an utterance is one job's
        with kaldi_native_io.RandomAccessFloatVectorReader(f"scp,s,cs:{out}/{kind}.scp") as reader:
            assert all(np.isfinite(np.array(reader[name])).all() for name in ids)
    assert [line.split()[0] for line in (out / "convergence.txt").read_text().splitlines()] == ids


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_a_job_says_how_bf16_agrees(
    teacher: Path, toy_corpus: Path, out: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    save_config(replace(CONFIG, precision=precision), out / "config.yaml")
    explain(teacher, toy_corpus, out, 1)
    wanted = r"^job 1: bf16 beside fp32: gradients correlate (0\.9\d+|1\.0+), \d+\.\d\d times as fast: (not )?taken$"
    assert len(re.findall(wanted, capsys.readouterr().out, re.MULTILINE)) == (precision != "float32")


def test_the_number_of_jobs_does_not_count(teacher: Path, toy_corpus: Path, out: Path, tmp_path: Path) -> None:
    explain(teacher, toy_corpus, out, 1)
    join(toy_corpus, out, 1)
    one = {kind: read_scp_arrays(out / f"{kind}.scp") for kind in KINDS}
    explain(teacher, toy_corpus, out, 4)
    join(toy_corpus, out, 4)
    for kind in KINDS:
        for name, array in read_scp_arrays(out / f"{kind}.scp").items():
            np.testing.assert_allclose(array, one[kind][name], atol=1e-3)


def test_a_finished_share_is_left_alone(
    teacher: Path, toy_corpus: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    explain(teacher, toy_corpus, out, 2, [1])
    before = contents(out)
    times = {name: (out / name).stat().st_mtime_ns for name in before}
    write, killed = stage.explain_utterances, KeyboardInterrupt()

    def die(*arguments: object) -> None:
        raise killed

    monkeypatch.setattr(stage, "explain_utterances", die)
    with pytest.raises(KeyboardInterrupt):
        explain(teacher, toy_corpus, out, 2, [2])
    monkeypatch.setattr(stage, "explain_utterances", write)
    DoneMarker(out / ".done").begin({"x": "1"})  # the recipe is started again
    capsys.readouterr()
    explain(teacher, toy_corpus, out, 2)
    assert capsys.readouterr().out.splitlines() == ["job 1: up to date", "job 2: not done yet"]
    assert {name: (out / name).stat().st_mtime_ns for name in before} == times
    after = contents(out)
    DoneMarker(out / ".done").begin({"x": "1"}, anew=True)
    explain(teacher, toy_corpus, out, 2)
    assert contents(out) == after and len(after) == 2 * len(KINDS)  # as without an interruption


@pytest.mark.parametrize("change", ["inputs", "jobs", "force", "lost"])
def test_a_share_of_something_else_is_redone(
    teacher: Path, toy_corpus: Path, out: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    explain(teacher, toy_corpus, out, 2, [1])
    marker, nj = DoneMarker(out / ".done"), 3 if change == "jobs" else 2
    marker.begin({"x": "2" if change == "inputs" else "1"}, anew=change == "force")
    if change == "lost":
        (out / "cosines.1.ark").unlink()
    capsys.readouterr()
    explain(teacher, toy_corpus, out, nj, [1])
    reasons = {"jobs": "share changed", "lost": f"{out}/cosines.1.ark is missing"}
    assert capsys.readouterr().out == f"job 1: {reasons.get(change, 'stage changed')}\n"


def test_more_jobs_than_segments(teacher: Path, toy_corpus: Path, out: Path) -> None:
    write_segments(out / "segments", read_segments(out / "segments")[:2])
    explain(teacher, toy_corpus, out, 5)
    join(toy_corpus, out, 5)
    assert len(read_table(out / "relevance.scp")) == 2 and len(read_table(out / "curves/fused/relevance.scp")) == 16


def test_a_job_outside_the_recipe(teacher: Path, toy_corpus: Path, out: Path) -> None:
    (out / ".done.pending").unlink()
    with pytest.raises(UserError, match=r"\.done\.pending: not there: start this through run\.sh"):
        explain(teacher, toy_corpus, out, 1)


def test_targets_of_other_segments_are_not_joined(teacher: Path, toy_corpus: Path, out: Path) -> None:
    explain(teacher, toy_corpus, out, 1)
    write_segments(out / "segments", [*read_segments(out / "segments"), Segment("s9-u9", 0, 50)])
    with pytest.raises(
        UserError, match=r"relevance\.scp: does not hold the segments of .*/segments: run stage 3 again"
    ):
        join(toy_corpus, out, 1)
    assert not (out / "cuts.jsonl.gz").exists() and not (out / "utterances.jsonl.gz").exists()


def test_cuts_load_the_numbers_of_the_ark(teacher: Path, toy_corpus: Path, out: Path) -> None:
    from lhotse import CutSet

    explain(teacher, toy_corpus, out, 2)
    join(toy_corpus, out, 2)
    relevance, embedding = (read_scp_arrays(out / f"{kind}.scp") for kind in ("relevance", "embedding"))
    owner = read_table(toy_corpus / "utt2spk")
    cuts = {cut.id: cut for cut in CutSet.from_file(out / "cuts.jsonl.gz")}
    segments = read_segments(out / "segments")
    assert list(cuts) == [segment.id for segment in segments]
    for segment in segments:
        cut = cuts[segment.id]
        np.testing.assert_allclose(load_map(cut), relevance[segment.id], atol=0.5 / 127 + 1e-6)
        assert cut.load_relevance().dtype == np.int8
        np.testing.assert_array_equal(cut.load_embedding(), embedding[segment.id])
        assert abs(cut.start - segment.start / 100) < 1e-9 and abs(cut.duration - segment.frames / 100) <= 0.005
        assert cut.supervisions[0].speaker == owner[segment.utterance]
        assert os.path.isabs(cut.embedding.storage_path)


def test_a_truncated_cut_has_the_relevance_of_its_frames(teacher: Path, toy_corpus: Path, out: Path) -> None:
    from lhotse import CutSet

    explain(teacher, toy_corpus, out, 2)
    join(toy_corpus, out, 2)
    relevance = read_scp_arrays(out / "relevance.scp")
    generator = np.random.default_rng(0)
    cuts = [cut for cut in CutSet.from_file(out / "cuts.jsonl.gz") if cut.duration == 1.0]
    for cut in cuts:
        first, frames = int(generator.integers(0, 60)), int(generator.integers(5, 40))
        part = cut.truncate(offset=first / 100, duration=frames / 100)
        whole = load_map(cut)
        np.testing.assert_array_equal(load_map(part), whole[first : first + frames])
        np.testing.assert_allclose(load_map(part), relevance[cut.id][first : first + frames], atol=0.5 / 127 + 1e-6)
    assert len(cuts) >= 8


def test_written_again_the_cuts_are_the_same_bytes(teacher: Path, toy_corpus: Path, out: Path) -> None:
    explain(teacher, toy_corpus, out, 1)
    join(toy_corpus, out, 1)
    before = (out / "cuts.jsonl.gz").read_bytes()
    time.sleep(1.1)  # gzip's header knows seconds
    join(toy_corpus, out, 1)
    assert (out / "cuts.jsonl.gz").read_bytes() == before


def test_a_cut_that_the_manifest_lacks(teacher: Path, toy_corpus: Path, out: Path, tmp_path: Path) -> None:
    from lhotse import CutSet

    explain(teacher, toy_corpus, out, 1)
    whole = CutSet.from_file(toy_corpus.parent / "manifests/toy.jsonl.gz")
    CutSet.from_cuts(cut for cut in whole if cut.id != "s1-u2").to_file(tmp_path / "few.jsonl.gz")
    with pytest.raises(UserError, match=r"few\.jsonl\.gz: holds no cut s1-u2: run stage 0 again"):
        join_jobs(out, tmp_path / "few.jsonl.gz", 1)
    assert not (out / "cuts.jsonl.gz").exists() and not list((out / "arrays").glob("*"))


@pytest.mark.parametrize("limit", [500, 5000, 20000])
def test_a_full_disk(
    teacher: Path,
    toy_corpus: Path,
    out: Path,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
    limit: int,
) -> None:
    """At 500 bytes the tables fail, later the arrays of the cuts; what stays is whole."""
    explain(teacher, toy_corpus, out, 1)
    before = contents(out)
    with file_size_limit(limit), pytest.raises(UserError, match="the file-size limit is reached: raise it") as caught:
        join(toy_corpus, out, 1)
    assert str(caught.value).startswith(str(out)) and ".tmp" not in str(caught.value)
    assert contents(out) == before and not (out / "cuts.jsonl.gz").exists()
    assert not [path for path in out.rglob("*") if ".tmp" in path.name]
    join(toy_corpus, out, 1)
