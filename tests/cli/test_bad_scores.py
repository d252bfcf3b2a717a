"""Bad input of scoring, typed: each ends in one line that says what is wrong, and leaves no file."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np
import pytest

Vectors = dict[str, np.ndarray]
DIM = 6


def imlkd(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imlkd.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def write_vectors(folder: Path, name: str, vectors: Vectors) -> None:
    """By kaldiio, which writes what our own writer refuses."""
    single = {key: value.astype(np.float32) for key, value in vectors.items()}
    kaldiio.save_ark(str(folder / f"{name}.ark"), single, scp=str(folder / f"{name}.scp"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five speakers with three utterances: x.scp, trials, scores; a cohort of four others; a PLDA, ``fitted``."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for name, speakers in (("x", "abcde"), ("cohort", "pqrs")):
        owner = {f"{speaker}-{i}": speaker for speaker in speakers for i in range(3)}
        write_vectors(folder, name, {key: generator.normal(size=DIM) + ord(key[0]) % 7 for key in owner})
        (folder / f"{name}.utt2spk").write_text("".join(f"{key} {value}\n" for key, value in owner.items()))
    pairs = list(itertools.combinations((f"{speaker}-{i}" for speaker in "abcde" for i in range(3)), 2))
    rows = [(one, other, "target" if one[0] == other[0] else "nontarget") for one, other in pairs]
    (folder / "trials").write_text("".join(f"{' '.join(row)}\n" for row in rows))
    (folder / "scores").write_text(
        "".join(f"{one} {other} {(same == 'target') + generator.normal():.4f}\n" for one, other, same in rows)
    )
    done = imlkd("plda", "fit", folder / "x.scp", folder / "x.utt2spk", folder / "fitted", "--lda-dim", 3)
    assert done.returncode == 0, done.stderr
    return folder


def one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and done.stderr.startswith("imlkd: error: ")
    assert not [part for part in parts if part not in done.stderr], done.stderr


def replaced(key: str, value: object) -> Callable[[Vectors], Vectors]:
    return lambda vectors: {**vectors, key: np.broadcast_to(np.asarray(value, dtype=np.float64), DIM)}


EMBEDDINGS: dict[str, tuple[Callable[[Vectors], Vectors], tuple[str, ...]]] = {
    "nan": (replaced("c-1", [1, np.nan, 0, 0, 0, 0]), ("c-1: embedding holds NaN or infinite values: extract it",)),
    "inf": (replaced("c-1", [1, 0, -np.inf, 0, 0, 0]), ("c-1: embedding holds NaN or infinite values: extract it",)),
    "zero": (replaced("c-1", 0.0), ("c-1: embedding ", "all zero", "extract it again")),
    "one of another dimension": (
        lambda vectors: {**vectors, "c-1": np.ones(4)},
        ("c-1: embedding has shape (4,)", "do all sets come from the same model?"),
    ),
}
WAYS: dict[str, tuple[str, ...]] = {
    "cosine": (),
    "as": ("--norm", "as", "--top-k", "5", "--cohort-scp", "cohort.scp", "--cohort-utt2spk", "cohort.utt2spk",
           "--utt2spk", "x.utt2spk"),
    "plda": ("--backend", "plda", "--plda", "fitted"),
}  # fmt: skip


def score(data: Path, out: Path, *more: object, trials: Path | None = None) -> subprocess.CompletedProcess[str]:
    """By default of x.scp on both sides; names of files in ``more`` are those of ``data``."""
    given = {"--enroll-scp": "x.scp", "--test-scp": "x.scp"}
    places = [data / one if isinstance(one, str) and (data / one).exists() else one for one in more]
    sides = [part for name, place in given.items() if name not in more for part in (name, data / place)]
    return imlkd("score", "--trials", trials or data / "trials", *sides, *places, "--out", out / "scores")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", EMBEDDINGS)
def test_an_unusable_embedding(case: str, way: str, data: Path, tmp_path: Path) -> None:
    change, parts = EMBEDDINGS[case]
    write_vectors(tmp_path, "bad", change(dict(kaldiio.load_scp(str(data / "x.scp")))))
    done = score(data, tmp_path, "--enroll-scp", tmp_path / "bad.scp", "--test-scp", tmp_path / "bad.scp", *WAYS[way])
    one_line(done, "bad.scp", *parts)
    assert not list(tmp_path.glob("*scores*"))


@pytest.mark.parametrize("way", WAYS)
def test_sides_of_different_dimensions(way: str, data: Path, tmp_path: Path) -> None:
    vectors = {key: value[:4] for key, value in kaldiio.load_scp(str(data / "x.scp")).items()}
    write_vectors(tmp_path, "narrow", vectors)
    one_line(score(data, tmp_path, "--test-scp", tmp_path / "narrow.scp", *WAYS[way]), "narrow.scp", "the same model?")
    assert not list(tmp_path.glob("*scores*"))


@pytest.mark.parametrize("way", WAYS)
def test_an_ark_that_is_cut_off_in_the_middle(way: str, data: Path, tmp_path: Path) -> None:
    write_vectors(tmp_path, "cut", dict(kaldiio.load_scp(str(data / "x.scp"))))
    content = (tmp_path / "cut.ark").read_bytes()
    (tmp_path / "cut.ark").write_bytes(content[: len(content) // 2])
    one_line(score(data, tmp_path, "--test-scp", tmp_path / "cut.scp", *WAYS[way]), "cut.ark:", "cut off", "make it")
    assert not list(tmp_path.glob("*scores*"))


LISTS = {
    "twice": (lambda lines: [*lines, lines[0]], "list:106: a-0 a-1 is already on line 1: keep one of the two"),
    "two labels": (lambda lines: [*lines, "a-0 a-1 nontarget\n"], "list:106: a-0 a-1 is already on line 1 with the"),
    "targets": (lambda lines: [one for one in lines if " target" in one], "list: a list with only targets (15 trials)"),
    "nontargets": (lambda lines: [one for one in lines if " non" in one], "list: a list with only nontargets (90 "),
}


@pytest.mark.parametrize("case", LISTS)
def test_trials(case: str, data: Path, tmp_path: Path) -> None:
    change, message = LISTS[case]
    path = tmp_path / "list"
    path.write_text("".join(change((data / "trials").read_text().splitlines(keepends=True))))
    one_line(score(data, tmp_path, trials=path), message)
    one_line(imlkd("evaluate", data / "scores", path), message)
    assert not list(tmp_path.glob("*scores*"))


SCORES = {
    "again": (lambda lines: [*lines, "a-0 a-1 7\n"], "bad:106: a-0 a-1 already has another score: score the list"),
    "2": (lambda lines: [one.rsplit(" ", 1)[0] + "\n" for one in lines], "bad:1: expected 3 columns", "found 2"),
    "4": (lambda lines: [one.replace("\n", " 7\n") for one in lines], "bad:1: expected 3 columns", "found 4"),
    "label": (lambda lines: [one.replace("\n", " target\n") for one in lines], "fourth a label 'target': cut it out"),
}


@pytest.mark.parametrize("case", SCORES)
def test_score_files(case: str, data: Path, tmp_path: Path) -> None:
    change, *parts = SCORES[case]
    bad = tmp_path / "bad"
    bad.write_text("".join(change((data / "scores").read_text().splitlines(keepends=True))))
    one_line(imlkd("evaluate", bad, data / "trials"), *parts)
    spoken = ("--utt2spk", data / "x.utt2spk")
    one_line(imlkd("compare", data / "scores", bad, data / "trials", *spoken), *parts)
    one_line(imlkd("calibrate", bad, data / "trials", *spoken, "--out", tmp_path / "c.json"), *parts)
    assert not (tmp_path / "c.json").exists()


def test_a_cohort_smaller_than_k_and_one_of_test_speakers(data: Path, tmp_path: Path) -> None:
    more = ["13" if one == "5" else one for one in WAYS["as"]]
    one_line(score(data, tmp_path, *more), "cohort.scp: has 12 members, fewer than the 13 of --top-k: take a larger")
    more = [one.replace("cohort", "x") if one.startswith("cohort") else one for one in WAYS["as"]]
    one_line(score(data, tmp_path, *more), "x.scp: the cohort shares 5 speakers with the trials, first: a, b, c, d, e")


@pytest.mark.parametrize("lda", [(), ("--lda-dim", "5")])
def test_a_plda_of_too_few_speakers(lda: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    """Five speakers span four dimensions; the embeddings have six."""
    done = imlkd("plda", "fit", data / "x.scp", data / "x.utt2spk", tmp_path / "plda", *lda)
    one_line(done, "x.scp: ", "5 speakers", "4 at most (--lda-dim 4)" if not lda else "at most 4 (--lda-dim)")
    assert not (tmp_path / "plda").exists()


def test_a_calibration_of_the_test_list(data: Path, tmp_path: Path) -> None:
    """Refused by the hash of its pairs, whatever their order and the list's name."""
    fitted = tmp_path / "c.json"
    done = imlkd("calibrate", data / "scores", data / "trials", "--utt2spk", data / "x.utt2spk", "--out", fitted)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "another"
    path.write_text("".join(reversed((data / "trials").read_text().splitlines(keepends=True))))
    done = score(data, tmp_path, "--calibration", fitted, "--utt2spk", "x.utt2spk", trials=path)
    one_line(done, f"{fitted}: was fitted on the trials of {path} themselves", "development trials of other speakers")
    assert not (tmp_path / "scores").exists()
