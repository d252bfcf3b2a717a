"""A job of stage 3: its share, curves against windows explained one by one, a kill in the middle, maps that fail."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch

import imlkd.attribution.utterances as utterances
from imlkd.attribution.curves import FUSED, curve_windows, curves_of
from imlkd.attribution.journal import Journal
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.stage import explain_job, join_jobs
from imlkd.attribution.targets import KINDS, Explainer, Target
from imlkd.attribution.utterances import plan_work
from imlkd.config import save_config
from imlkd.done import DoneMarker
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.features.segments import Segment, SegmentsConfig, read_segments, write_segments
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_scp_arrays, read_table
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import load_model, save_model
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.pool import grid_of

ROOT = Path(__file__).parents[2]
CONFIG = RelevanceConfig(segments=SegmentsConfig(durations=[0.5, 1.5], hop=0.4), nodes=4, max_nodes=4, max_failing=1.0)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=24))
    model.train()(torch.randn(6, 30, 24) + 8, torch.full((6,), 30))
    model.head = CosineHead(5, ["s0", "s1", "s2", "s3"])
    folder = tmp_path_factory.mktemp("teacher")
    save_model(model, folder)
    return folder


def begun(folder: Path, corpus: Path, config: RelevanceConfig = CONFIG) -> Path:
    """A targets folder that stage 3 has begun."""
    write_segments(folder / "segments", grid_of(corpus, config.segments))
    save_config(config, folder / "config.yaml")
    DoneMarker(folder / ".done").begin({"x": "1"})
    return folder


def run(teacher: Path, corpus: Path, out: Path, nj: int = 1) -> str:
    for job in range(1, nj + 1):
        explain_job(teacher, corpus, out, job, nj, out / f"progress.{job}")
    return join_jobs(out, corpus.parent / "manifests/toy.jsonl.gz", nj)


def strict(scp: Path) -> dict[str, np.ndarray]:
    with kaldi_native_io.SequentialFloatVectorReader(f"scp:{scp}") as reader:
        return {key: np.array(value) for key, value in reader}


def explainer_of(teacher: Path, corpus: Path, config: RelevanceConfig = CONFIG) -> Explainer:
    model = load_model(teacher)
    labels = read_table(corpus / "utt2spk", fields=2)
    return Explainer(model, ["s0", "s1", "s2", "s3"], labels, SpeechReader(corpus, 16000), config)


def test_shares_hold_every_utterance_once(toy_corpus: Path) -> None:
    segments = grid_of(toy_corpus, CONFIG.segments)
    names = list(read_table(toy_corpus / "utt2spk"))
    for nj in (1, 3, 40):
        shares = [plan_work(toy_corpus, segments, CONFIG, job, nj) for job in range(1, nj + 1)]
        assert [work.utterance for share in shares for work in share] == names
        assert sorted(s.id for share in shares for work in share for s in work.segments) == [s.id for s in segments]


def test_an_unknown_utterance(toy_corpus: Path) -> None:
    with pytest.raises(UserError, match="utt2num_frames: lacks s9-u9, which segments come from: run stage 1 again"):
        plan_work(toy_corpus, [Segment("s9-u9", 0, 50)], CONFIG, 1, 1)


def test_curves_are_those_of_windows_explained_alone(teacher: Path, toy_corpus: Path, tmp_path: Path) -> None:
    """Through the files, read by another reader; windows that coincide are explained once."""
    out = begun(tmp_path / "t", toy_corpus)
    said = run(teacher, toy_corpus, out, 2)
    marks, frames = read_scp_arrays(toy_corpus / "vad.scp"), read_table(toy_corpus / "utt2num_frames")
    files = {name: strict(out / f"curves/{name}/relevance.scp") for name in ("50", "150", "full", FUSED)}
    explainer = explainer_of(teacher, toy_corpus)
    explained = [line.split()[0] for job in (1, 2) for line in (out / f"windows.{job}.txt").read_text().splitlines()]
    assert len(set(explained)) == len(explained)
    assert f"maps: {len(explained)}, mean 5.0 nodes," in said and "ms a gradient" in said
    wanted = {segment.id for segment in read_segments(out / "segments")}
    for utterance in list(frames)[::5]:
        count = int(frames[utterance])
        windows = curve_windows(utterance, count, {utterance: marks[utterance]}, CONFIG.segments, True)
        alone = {w.id: next(explainer.targets([w])).arrays for own in windows.values() for w in own}
        wanted |= set(alone)
        curves = curves_of(windows, {name: arrays["relevance"] for name, arrays in alone.items()}, count)
        for name, curve in curves.items():
            np.testing.assert_allclose(files[name][utterance], curve.values, atol=1e-3)
        whole = alone[windows["full"][0].id]
        for kind in ("embedding", "top_classes", "top_cosines"):
            found = strict(out / f"curves/full/{kind}.scp")[utterance]
            np.testing.assert_allclose(found, whole[kind], atol=1e-4)
        assert {w.id for own in windows.values() for w in own} <= set(explained)
    assert wanted <= set(explained)
    for name in ("50", "150", "full"):
        lines = [line.split() for line in (out / f"curves/{name}/convergence.txt").read_text().splitlines()]
        assert [line[0] for line in lines] == list(files[name]) and {line[1] for line in lines} == {"5"}
    assert not list(out.glob(".journal*"))


CHILD = """
import sys
from pathlib import Path
import imlkd.attribution.utterances as utterances
from imlkd.attribution.stage import explain_job
from imlkd.attribution.targets import Explainer
utterances.CHUNK = 2
explain = Explainer.targets
def slow(self, segments):
    print("chunk", flush=True)
    yield from explain(self, segments)
Explainer.targets = slow
teacher, corpus, out = map(Path, sys.argv[1:])
explain_job(teacher, corpus, out, 1, 1, out / "progress.1")
"""


@pytest.mark.parametrize("damage", [False, True])
def test_a_killed_job_loses_one_chunk_at_most(
    teacher: Path, toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], damage: bool,
) -> None:  # fmt: skip
    """SIGKILL when the fourth chunk has begun: the first three, two utterances each, are not explained again."""
    out = begun(tmp_path / "t", toy_corpus)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CHILD, str(teacher), str(toy_corpus), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for _ in range(4):
            assert next(line for line in child.stdout if line == "chunk\n")
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL and not list(out.glob("*.ark"))
    journal = out / ".journal.1"
    if damage:  # the last record is half written
        journal.write_bytes(journal.read_bytes()[:-100])
    before = len(Journal(journal, journal.read_bytes().splitlines()[0].decode().removeprefix("imlkd journal of ")).keys)
    assert before in ((5, 7) if damage else (6, 8))  # the kill may fall just behind the fourth chunk's end
    monkeypatch.setattr(utterances, "CHUNK", 2)
    seen: list[str] = []
    explain = Explainer.targets

    def counted(self: Explainer, segments: list[Segment]) -> Iterator[Target]:
        seen.extend(segment.utterance for segment in segments)
        yield from explain(self, segments)

    monkeypatch.setattr(Explainer, "targets", counted)
    DoneMarker(out / ".done").begin({"x": "1"})  # the recipe is started again
    capsys.readouterr()
    run(teacher, toy_corpus, out)
    assert f"job 1: {before} of 16 utterances are done already" in capsys.readouterr().out
    assert len(set(seen)) == 16 - before
    whole = begun(tmp_path / "whole", toy_corpus)
    run(teacher, toy_corpus, whole)
    for kind in (*KINDS, "curves/fused/relevance", "curves/full/embedding"):
        expected, found = read_scp_arrays(whole / f"{kind}.scp"), read_scp_arrays(out / f"{kind}.scp")
        assert list(found) == list(expected)
        for name, array in found.items():
            np.testing.assert_allclose(array, expected[name], atol=1e-3 if kind != "top_classes" else 3)
    assert (out / "convergence.txt").read_text().split()[::3] == (whole / "convergence.txt").read_text().split()[::3]


def test_a_journal_of_other_settings_is_not_taken_up(
    teacher: Path, toy_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = begun(tmp_path / "t", toy_corpus)
    Journal(out / ".journal.1", "something else").append([("s0-u0", {})])
    run(teacher, toy_corpus, out)
    assert "done already" not in capsys.readouterr().out
    assert len(strict(out / "curves/full/relevance.scp")) == 16


def failing_after(config: RelevanceConfig, share: float, errors: list[float]) -> RelevanceConfig:
    """The tolerance that this share of the errors is over."""
    return dataclasses.replace(config, tolerance=float(np.quantile(errors, 1 - share)))


@pytest.mark.parametrize("policy", ["keep", "exclude"])
def test_maps_that_fail_are_listed_and_kept_or_left_out(
    teacher: Path, toy_corpus: Path, tmp_path: Path, policy: str
) -> None:
    first = begun(tmp_path / "first", toy_corpus)
    run(teacher, toy_corpus, first)
    rows = [line.split() for line in (first / "windows.1.txt").read_text().splitlines()]
    config = failing_after(dataclasses.replace(CONFIG, on_failure=policy), 0.25, [float(row[2]) for row in rows])
    out = begun(tmp_path / "t", toy_corpus, config)
    said = run(teacher, toy_corpus, out)
    bad = {row[0] for row in rows if float(row[2]) > config.tolerance}
    listed = [line.split()[0] for line in (out / "failed.txt").read_text().splitlines()]
    assert set(listed) == bad and len(listed) >= len(rows) // 5
    assert f"{len(listed)} over tolerance ({'kept' if policy == 'keep' else 'left out'}: failed.txt)" in said
    ids = [segment.id for segment in read_segments(out / "segments")]
    kept = [name for name in ids if policy == "keep" or name not in bad]
    assert len(kept) < len(ids) or policy == "keep"
    assert list(read_scp_arrays(out / "relevance.scp")) == kept
    curves, before = (strict(folder / "curves/fused/relevance.scp") for folder in (out, first))
    touched = {name.rsplit("-", 2)[0] for name in bad}
    changed = {n for n, curve in before.items() if n not in curves or not np.allclose(curves[n], curve, atol=1e-3)}
    assert bool(changed) is (policy == "exclude") and changed <= touched


def test_too_many_failures_stop_the_stage(teacher: Path, toy_corpus: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, tolerance=1e-9, max_failing=0.01)
    out = begun(tmp_path / "t", toy_corpus, config)
    with pytest.raises(UserError, match=r"failed\.txt: \d+ of \d+ maps \(\d+\.\d%\) miss the tolerance.*more than"):
        run(teacher, toy_corpus, out)
    assert (out / "failed.txt").is_file() and not (out / "cuts.jsonl.gz").exists()
