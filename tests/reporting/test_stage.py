"""Stage 7: rows from what the stages left, RESULTS.md, and the points of the DET curve."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from imlkd.corpora.fingerprint import data_hash
from imlkd.corpora.sets import RecipeSets, write_sets
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.size import count_macs, count_parameters
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import save_model
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.reporting.results import config_hash, rows_of
from imlkd.reporting.stage import write_report
from imlkd.scoring.evaluate import Evaluation, evaluate


@pytest.fixture
def recipe(toy_corpus: Path, tmp_path: Path) -> Path:
    """A recipe behind stage 6: two models and two lists."""
    data, exp = tmp_path / "data/toy", tmp_path / "exp"
    data.mkdir(parents=True)
    for name in ("wav.scp", "utt2spk", "spk2utt"):
        shutil.copy(toy_corpus / name, data / name)
    names = [f"s{s}-u{u}" for s in range(4) for u in range(4)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    generator = np.random.default_rng(0)
    for name, chosen in (("trials", pairs), ("hard", pairs[::2])):
        lines = [f"{a} {b} {'target' if a[:2] == b[:2] else 'nontarget'}\n" for a, b in chosen]
        (data / name).write_text("".join(lines))
        for number, model in enumerate(("teacher", "student")):
            folder = exp / f"toy_{model}"
            for part in ("scores/toy", "metrics/toy", "log"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            values = [generator.normal((a[:2] == b[:2]) * (1.5 - number), 1) for a, b in chosen]
            scores = [f"{a} {b} {value:.5f}\n" for (a, b), value in zip(chosen, values, strict=True)]
            (folder / f"scores/toy/{name}").write_text("".join(scores))
            result = evaluate(folder / f"scores/toy/{name}", data / name, [data / "utt2spk"], draws=20)
            result.write_json(folder / f"metrics/toy/{name}.json")
    for number, model in enumerate(("teacher", "student")):
        torch.manual_seed(number)
        network = Tdnn(TdnnConfig(width=8 - 4 * number, blocks=1), FbankConfig(num_mel_bins=24))
        network.head = CosineHead(192, ["a", "b"])
        save_model(network, exp / f"toy_{model}")
        (exp / f"toy_{model}/config.yaml").write_text(f"seed: {number}\n")
    (exp / "toy_student/log/seconds").write_text("90.0\n")
    write_sets(RecipeSets("toy", "toy", ["toy"], ["toy/trials", "toy/hard"]), tmp_path / "data/toy.sets.yaml")
    return tmp_path


def models(recipe: Path) -> list[Path]:
    return [recipe / "exp/toy_teacher", recipe / "exp/toy_student"]


def report(recipe: Path) -> str:
    return write_report(recipe / "data/toy.sets.yaml", recipe / "data", recipe / "exp", models(recipe), "./run.sh -x")


def test_rows_say_what_is_on_disk(recipe: Path) -> None:
    found = rows_of(models(recipe), ["toy/trials", "toy/hard"])
    assert list(found) == ["toy/trials", "toy/hard"]
    for name, rows in found.items():
        assert [row.model for row in rows] == ["toy_teacher", "toy_student"]
        assert [row.minutes for row in rows] == [None, 1.5]
        for row, folder, width in zip(rows, models(recipe), (8, 4), strict=True):
            network = Tdnn(TdnnConfig(width=width, blocks=1), FbankConfig(num_mel_bins=24)).eval()
            assert (row.parameters, row.macs) == (count_parameters(network), count_macs(network))
            assert row.evaluation == Evaluation.from_json((folder / f"metrics/{name}.json").read_text())


def test_the_report(recipe: Path) -> None:
    shown = report(recipe)
    page = (recipe / "exp/RESULTS.md").read_text()
    assert shown.endswith(f"\n\nalso in {recipe}/exp/RESULTS.md")
    assert "Made by `./run.sh -x` at git " in page and f"- data `toy`: {data_hash(recipe / 'data/toy')}" in page
    for name, rows in rows_of(models(recipe), ["toy/trials", "toy/hard"]).items():
        assert f"\n## {name}\n" in page
        for row in rows:
            assert f"| {' | '.join(row.cells())} | {row.config_hash} |" in page
            assert all(cell in shown for cell in row.cells())
    own = (recipe / "exp/toy_student/report/row.md").read_text()
    assert own.count("toy_student") == 2 and "toy_teacher" not in own
    assert report(recipe) == shown and (recipe / "exp/RESULTS.md").read_text() == page


def test_the_points_of_the_det_curve(recipe: Path) -> None:
    report(recipe)
    lines = (recipe / "exp/toy_student/report/det.toy.trials.tsv").read_text().splitlines()
    assert lines[0] == "threshold\tfalse_alarm\tmiss"
    points = np.array([[float(value) for value in line.split("\t")] for line in lines[1:]])
    scores = [
        float(line.split()[2]) for line in (recipe / "exp/toy_student/scores/toy/trials").read_text().splitlines()
    ]
    labels = [line.split()[2] == "target" for line in (recipe / "data/toy/trials").read_text().splitlines()]
    alarms, hits, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    for threshold, alarm, miss in points[::17]:
        index = np.flatnonzero(thresholds >= threshold - 1e-6)[-1]  # accepted: a score of at least the threshold
        assert (alarm, miss) == (pytest.approx(alarms[index], abs=0.02), pytest.approx(1 - hits[index], abs=0.05))
    assert (
        (np.diff(points[:, 0]) >= 0).all() and (np.diff(points[:, 1]) <= 0).all() and (np.diff(points[:, 2]) >= 0).all()
    )
    assert points[0, 2] == 0.0 and points[0, 1] == 1.0


def test_the_configuration_hash(recipe: Path) -> None:
    folder = recipe / "exp/toy_student"
    before = config_hash(folder)
    assert len(before) == 12 and before != config_hash(recipe / "exp/toy_teacher")
    (folder / "log/seconds").write_text("7\n")
    assert config_hash(folder) == before
    (folder / "method.yaml").write_text("weight: 2\n")
    assert config_hash(folder) != before


def test_stages_that_have_not_run(recipe: Path) -> None:
    (recipe / "exp/toy_student/metrics/toy/hard.json").unlink()
    with pytest.raises(UserError, match=r"toy_student/metrics/toy/hard\.json: not there: run stage 6 first"):
        report(recipe)
    (recipe / "exp/toy_student/model.yaml").unlink()
    with pytest.raises(UserError, match=r"toy_student: holds no model\.yaml"):
        report(recipe)
    assert not (recipe / "exp/RESULTS.md").exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"eer": 1}'])
def test_metrics_that_are_damaged(recipe: Path, content: str) -> None:
    (recipe / "exp/toy_student/metrics/toy/hard.json").write_text(content)
    with pytest.raises(UserError, match=r"hard\.json: damaged: run stage 6 again \(--stage 6 --force true\)"):
        report(recipe)
