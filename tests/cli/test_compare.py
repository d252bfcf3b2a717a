"""`imlkd compare` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def imlkd(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imlkd.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 speakers, three utterances each: utt2spk, trials, score files good, good.1, fair, poor."""
    folder = tmp_path_factory.mktemp("data")
    names = [f"s{i:02d}-{j}" for i in range(24) for j in range(3)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 : i + 9]]
    same = np.array([a[:3] == b[:3] for a, b in pairs])
    (folder / "utt2spk").write_text("".join(f"{name} {name[:3]}\n" for name in names))
    labels = np.where(same, "target", "nontarget").tolist()
    (folder / "trials").write_text("".join(f"{a} {b} {label}\n" for (a, b), label in zip(pairs, labels, strict=True)))
    generator = np.random.default_rng(0)
    for name, gap in {"good": 6.0, "good.1": 5.0, "fair": 4.0, "poor": 1.0}.items():
        scores = gap * (same - 0.5) + generator.normal(0.0, 2.0, len(pairs))
        lines = [f"{a} {b} {score}\n" for (a, b), score in zip(pairs, scores.tolist(), strict=True)]
        (folder / name).write_text("".join(lines))
    return folder


def compare(data: Path, *systems: object, more: tuple[object, ...] = ()) -> subprocess.CompletedProcess[str]:
    return imlkd("compare", *systems, data / "trials", "--utt2spk", data / "utt2spk", "--bootstrap", 60, *more)


def test_two_score_files(data: Path, tmp_path: Path) -> None:
    done = compare(data, data / "good", data / "poor", more=("--json", tmp_path / "c.json", "--llr"))
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "c.json").read_text())
    assert (result["first"], result["draws"], result["speakers"]) == ([str(data / "good")], 60, 24)
    (one,) = result["comparisons"]
    assert one["second"] == [str(data / "poor")] and one["seeds"] == [1, 1]
    assert one["eer"]["difference"] == one["eer"]["first"] - one["eer"]["second"] < 0
    assert list(one["min_dcf"]) == list(one["act_dcf"]) == ["0.01", "0.001", "0.05"]
    low, high = one["cllr"]["interval"].values()
    cost = f"{one['cllr']['first']:.4f} - {one['cllr']['second']:.4f} = {one['cllr']['difference']:+.4f} bits"
    assert f"Cllr          {cost}  [{low:+.4f}, {high:+.4f}]  p {one['cllr']['p']:.3g}\n" in done.stdout
    assert f"= {100 * one['eer']['difference']:+.2f} %" in done.stdout
    assert done.stdout.endswith("intervals     95 %, 60 draws of 24 speakers\n") and "Holm" not in done.stdout


def test_a_table_of_many_with_seeds(data: Path, tmp_path: Path) -> None:
    first = f"{data / 'good'},{data / 'good.1'}"
    options = ("--json", tmp_path / "c.json", "--p-target", 0.1, "--interval", "bca")
    done = compare(data, first, data / "fair", data / "poor", more=options)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{first} against {data / 'fair'}\n" in done.stdout and f"{first} against {data / 'poor'}\n" in done.stdout
    result = json.loads((tmp_path / "c.json").read_text())
    assert result["first"] == first.split(",")
    for one in result["comparisons"]:
        assert one["seeds"] == [2, 1]
        assert f"p {one['eer']['p']:.3g}  Holm {one['eer']['p_holm']:.3g}\n" in done.stdout
    assert done.stdout.endswith(
        "intervals     95 %, BCa, 60 draws of 24 speakers, and of 2, 1, 1 seeds\n"
        "Holm          p corrected for 2 comparisons of each measure; none below 0.066 with 60 draws: "
        "raise --bootstrap\n"
    )  # 2 comparisons of at least 2 in 61
    done = compare(data, first, data / "fair", data / "poor", more=("--bootstrap", 200))
    assert done.stdout.endswith("\nHolm          p corrected for 2 comparisons of each measure\n")


def test_a_comma_in_the_name_of_a_file(data: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a,b"
    odd.write_text((data / "poor").read_text())
    done = compare(data, odd, data / "poor")
    assert done.returncode == 0 and "= +0.00 %  [+0.00, +0.00]  p 1\n" in done.stdout


@pytest.mark.parametrize(
    ("systems", "status", "message"),
    [
        (("good",), 2, "two score files or more and their trials: FIRST SECOND [...] TRIALS"),
        (("good", "absent"), 1, "absent: no such file"),
        (("good", "fair,"), 1, "fair,': an empty name between commas"),
        (("good", "poor,poor"), 1, "poor: a score file twice"),
        (("good", "trials"), 1, "trials:1: "),
    ],
)
def test_bad_systems(data: Path, systems: tuple[str, ...], status: int, message: str) -> None:
    full = [",".join(str(data / name) if name else "" for name in system.split(",")) for system in systems]
    done = compare(data, *full)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert status == 2 or done.stderr.count("\n") == 1


def test_few_speakers_are_marked(data: Path, tmp_path: Path) -> None:
    names = [f"s{i:02d}-{j}" for i in range(10) for j in range(3)]
    for name in ("trials", "good", "poor"):
        kept = [row for row in (data / name).read_text().splitlines() if set(row.split()[:2]) <= set(names)]
        (tmp_path / name).write_text("".join(f"{row}\n" for row in kept))
    (tmp_path / "utt2spk").write_text((data / "utt2spk").read_text())
    done = compare(tmp_path, tmp_path / "good", tmp_path / "poor")
    assert done.stdout.endswith("60 draws of 10 speakers (fewer than 20: the intervals are a hint only)\n")


def test_without_speakers_there_is_nothing_to_draw(data: Path) -> None:
    assert imlkd("compare", data / "good", data / "poor", data / "trials").returncode == 2
