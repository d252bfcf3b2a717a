"""`imlkd evaluate` as a user types it."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imlkd.scoring.cllr import cllr, min_cllr
from imlkd.scoring.evaluate import Evaluation
from imlkd.scoring.metrics import act_dcf, eer, min_dcf


def imlkd(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imlkd.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 speakers, three utterances each, all pairs of neighbours: utt2spk, trials, scores (log-likelihood ratios)."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    names = [f"s{i:02d}-{j}" for i in range(22) for j in range(3)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 : i + 9]]
    same = [a[:3] == b[:3] for a, b in pairs]
    scores = [round(float(generator.normal(3.0 if target else -3.0, 2.4)), 4) for target in same]
    rows = list(zip(pairs, same, scores, strict=True))
    (folder / "utt2spk").write_text("".join(f"{name} {name[:3]}\n" for name in names))
    (folder / "trials").write_text("".join(f"{a} {b} {'target' if t else 'nontarget'}\n" for (a, b), t, _ in rows))
    (folder / "scores").write_text("".join(f"{a} {b} {score}\n" for (a, b), _, score in rows))
    return folder


def lists(data: Path) -> tuple[list[float], list[float]]:
    labels = [line.split()[2] for line in (data / "trials").read_text().splitlines()]
    scores = [float(line.split()[2]) for line in (data / "scores").read_text().splitlines()]
    both = list(zip(labels, scores, strict=True))
    return [s for label, s in both if label == "target"], [s for label, s in both if label == "nontarget"]


def evaluate(data: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return imlkd("evaluate", data / "scores", data / "trials", "--utt2spk", data / "utt2spk", "--bootstrap", 60, *more)


def test_free_operating_points_and_ratios(data: Path, tmp_path: Path) -> None:
    points = ("--p-target", 0.2, "--p-target", 0.2, "--p-target", 0.02, "--c-miss", 10, "--c-fa", 2)
    done = evaluate(data, *points, "--llr", "--json", tmp_path / "e.json")
    assert (done.returncode, done.stderr) == (0, "")
    result = Evaluation.from_json((tmp_path / "e.json").read_text())
    target, nontarget = lists(data)
    assert list(result.min_dcf) == list(result.act_dcf) == [0.2, 0.02]
    for p_target in (0.2, 0.02):
        least, actual = result.min_dcf[p_target], result.act_dcf[p_target]
        assert (least.value, least.threshold) == min_dcf(target, nontarget, p_target, 10.0, 2.0)
        assert (actual.value, actual.threshold) == act_dcf(target, nontarget, p_target, 10.0, 2.0)
        assert actual.threshold == pytest.approx(math.log(2.0 * (1 - p_target) / (10.0 * p_target)))
        assert least.threshold_interval is not None and actual.threshold_interval is None
        assert actual.interval is not None and actual.interval.low <= actual.value <= actual.interval.high
        assert f"actDCF({p_target})".ljust(14) + f"{actual.value:.4f}  [" in done.stdout
    assert result.cllr is not None and result.cllr.interval is not None
    assert (result.cllr.value, result.min_cllr) == (cllr(target, nontarget), min_cllr(target, nontarget))
    assert result.cllr.interval.low < result.cllr.value < result.cllr.interval.high
    assert f"minCllr       {result.min_cllr:.4f} bits\ncosts         10 a miss, 2 a false alarm\n" in done.stdout


def test_thresholds_and_how_they_move(data: Path, tmp_path: Path) -> None:
    done = evaluate(data, "--json", tmp_path / "e.json")
    fields = json.loads((tmp_path / "e.json").read_text())
    assert fields["eer"]["threshold"] == eer(*lists(data)).threshold
    for name, measure in {"EER": fields["eer"], "minDCF(0.01)": fields["min_dcf"]["0.01"]}.items():
        low, high = measure["threshold_interval"].values()
        assert low <= measure["threshold"] <= high and low < high
        row = next(line for line in done.stdout.splitlines() if line.startswith(f"{name} "))
        assert row.endswith(f"at score {measure['threshold']:.4f}  [{low:.4f}, {high:.4f}]")
    assert (fields["act_dcf"], fields["cllr"], fields["min_cllr"]) == ({}, None, None)  # no word of ratios


def test_same_command_same_bytes(data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert evaluate(data, "--llr", "--interval", "bca", "--json", tmp_path / name).returncode == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_kind_of_interval_is_said(data: Path, tmp_path: Path) -> None:
    found = []
    for kind, said in {"corrected": "", "bca": "BCa, ", "percentile": "percentiles, "}.items():
        options = ("--interval", kind) if kind != "corrected" else ()
        done = evaluate(data, *options, "--json", tmp_path / kind)
        assert done.stdout.endswith(f"intervals     95 %, {said}60 draws of 22 speakers\n")
        found.append(Evaluation.from_json((tmp_path / kind).read_text()))
        assert found[-1].interval == kind
    assert len({one.eer.interval for one in found}) == 3
    assert len({one.eer.threshold_interval for one in found}) == 1


def test_few_speakers_are_marked(data: Path, tmp_path: Path) -> None:
    kept = [line for line in (data / "trials").read_text().splitlines() if "s19-" > max(line.split()[:2])]
    (tmp_path / "trials").write_text("".join(f"{line}\n" for line in kept))
    pairs = {tuple(line.split()[:2]) for line in kept}
    scores = [line for line in (data / "scores").read_text().splitlines() if tuple(line.split()[:2]) in pairs]
    (tmp_path / "scores").write_text("".join(f"{line}\n" for line in scores))
    done = imlkd("evaluate", tmp_path / "scores", tmp_path / "trials", "--utt2spk", data / "utt2spk", "--bootstrap", 40)
    assert done.stdout.endswith("40 draws of 19 speakers (fewer than 20: the intervals are a hint only)\n")


@pytest.mark.parametrize(
    "more", [("--p-target", 0), ("--p-target", 1), ("--c-miss", 0), ("--c-fa", -1), ("--interval", "basic")]
)
def test_bad_choices_are_wrong_usage(data: Path, more: tuple[object, ...]) -> None:
    done = evaluate(data, *more)
    assert done.returncode == 2 and f"Invalid value for '{more[0]}'" in done.stderr


@pytest.mark.parametrize("verb", ["evaluate", "compare"])
def test_help_imports_nothing_heavy(verb: str) -> None:
    code = (
        f"import sys; from imlkd.cli.{verb} import {verb}\n"
        f"try: {verb}(['--help'])\n"
        "finally: print(sorted({'torch', 'lhotse', 'matplotlib', 'numpy', 'kaldiio', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "[default: 1000;" in " ".join(done.stdout.split())
    assert done.stdout.endswith("[]\n")
