"""Bad corpora through `./run.sh --corpus kaldi --stop-stage 0`: one line, nothing lost, nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.recipe.workspaces import Result, Workspace, contents, damage, leftovers, selected

RATE = 16000
LIST = "t1-a t1-b target\nt2-a t2-b target\nt1-a t2-a nontarget\nt1-b t2-b nontarget\n"


@dataclass(frozen=True)
class Corpus:
    """Training and test directory, trial list and audio below ``root``; what an earlier run made in ``data``."""

    root: Path

    @property
    def trials(self) -> Path:
        return self.root / "test/trials"

    def audio(self, name: str) -> Path:
        return self.root / f"audio/{name}.flac"

    def options(self, *more: object) -> list[object]:
        root = self.root
        own = ["--train", root / "train", "--test", root / "test", "--trials", self.trials]
        return ["--corpus", "kaldi", *own, "--data", root / "data", "--exp", root / "exp", "--nj", "1", *more]

    def edit(self, name: str, old: str, new: str | bytes) -> None:
        content = (self.root / name).read_bytes()
        assert old.encode() in content, f"{name} does not hold {old!r}"
        new = new.encode() if isinstance(new, str) else new
        (self.root / name).write_bytes(content.replace(old.encode(), new, 1))

    def sound(self, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> None:
        """Other audio behind the name t1-b; WAV inside, which readers go by."""
        with open(self.audio("t1-b"), "wb") as stream:
            soundfile.write(stream, samples, rate, format="WAV", subtype=subtype)


def noise(samples: int = RATE, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def make_corpus(root: Path) -> Corpus:
    (root / "audio").mkdir(parents=True)
    for name, speakers in (("train", ("s1", "s2")), ("test", ("t1", "t2"))):
        (root / name).mkdir()
        tables: dict[str, list[str]] = {"wav.scp": [], "utt2spk": [], "spk2utt": []}
        for speaker in speakers:
            utterances = [f"{speaker}-{letter}" for letter in "ab"]
            tables["spk2utt"].append(f"{speaker} {' '.join(utterances)}")
            for utterance in utterances:
                path = root / f"audio/{utterance}.flac"
                soundfile.write(path, noise(seed=sum(utterance.encode())), RATE)
                tables["wav.scp"].append(f"{utterance} {path}")
                tables["utt2spk"].append(f"{utterance} {speaker}")
        for table, lines in tables.items():
            (root / name / table).write_text("".join(f"{line}\n" for line in lines))
    (root / "test/trials").write_text(LIST)
    return Corpus(root)


def cut(corpus: Corpus, keep: float) -> None:
    path = corpus.audio("t1-b")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def with_segments(corpus: Corpus, end: str) -> None:
    lines = [f"{name}-x {name} 0.0 {end if name == 't1-b' else '0.9'}" for name in ("t1-a", "t1-b", "t2-a", "t2-b")]
    (corpus.root / "test/segments").write_text("".join(f"{line}\n" for line in lines))
    for table in ("utt2spk", "spk2utt", "trials"):
        path = corpus.root / "test" / table
        path.write_text(path.read_text().replace("-a", "-a-x").replace("-b", "-b-x"))


def share_ids(corpus: Corpus, old: str, new: str) -> None:
    """The same ids in the training and the test set, for other audio."""
    for table in ("wav.scp", "utt2spk", "spk2utt", "trials"):
        path = corpus.root / "test" / table
        path.write_text(path.read_text().replace(old, new).replace(f"audio/{new}", f"audio/{old}"))


# What is wrong -> how it gets so, and what the line has to name: file, line or id, remedy.
CASES: dict[str, tuple[Callable[[Corpus], object], tuple[str, ...]]] = {
    "empty wav.scp": (lambda c: (c.root / "train/wav.scp").write_text(""), ("train/wav.scp", "empty file")),
    "missing wav.scp": (lambda c: (c.root / "test/wav.scp").unlink(), ("test/wav.scp", "no such file")),
    "audio file gone": (lambda c: c.audio("t1-b").unlink(), ("t1-b", "no such file", "put the file back")),
    "truncated FLAC": (lambda c: cut(c, 0.6), ("t1-b", "cut off or damaged", "copy the file")),
    "zero-length audio": (lambda c: c.sound(noise(0)), ("t1-b", "zero-length", "make the file again")),
    "NaN in the audio": (
        lambda c: c.sound(np.append(noise(), np.nan), subtype="FLOAT"), ("t1-b", "NaN", "make the file again")
    ),
    "silence": (lambda c: c.sound(np.zeros(RATE)), ("t1-b", "silent", "remove the utterance")),
    "clipped to silence": (lambda c: c.sound(np.ones(RATE)), ("t1-b", "silent", "remove the utterance")),
    "stereo": (lambda c: c.sound(noise(2 * RATE).reshape(-1, 2)), ("t1-b", "2 channels", "remix 1")),
    "another rate": (lambda c: c.sound(noise(8000), 8000), ("t1-b", "8000 Hz", "16000 Hz", "-r 16000")),
    "CRLF": (lambda c: c.edit("test/utt2spk", "t1-b t1\n", "t1-b t1\r\n"), ("test/utt2spk:2", "CRLF", "sed")),
    "not UTF-8": (lambda c: c.edit("test/wav.scp", "t1-b", b"t1\xff-b"), ("test/wav.scp:2", "UTF-8", "iconv")),
    "unsorted ids": (lambda c: c.edit("test/utt2spk", "t1-a", "t9-a"), ("test/utt2spk:2", "t1-b", "C sort")),
    "duplicate ids": (
        lambda c: c.edit("test/utt2spk", "t1-b", "t1-a"), ("test/utt2spk:2", "duplicate id t1-a", "fix_data_dir.sh")
    ),
    "utt2spk against spk2utt": (
        lambda c: c.edit("train/spk2utt", "s1 s1-a s1-b", "s1 s1-b"), ("train/spk2utt", "s1-a", "utt2spk_to_spk2utt.pl")
    ),
    "segment past the end": (lambda c: with_segments(c, "1.2"), ("test/segments", "t1-b-x", "1.2 s", "mend the line")),
    "pipe": (
        lambda c: c.edit("test/wav.scp", "t1-b.flac\n", "t1-b.flac |\n"),
        ("test/wav.scp", "t1-b", "pipe", "--allow-pipes true"),
    ),
    "white space in an id": (
        lambda c: c.edit("test/utt2spk", "t1-b", "t1 b"), ("test/utt2spk:2", "expected 2 fields", "white space")
    ),
    "unknown utterances in trials": (
        lambda c: c.trials.write_text(LIST.replace("t1-a", "t1-a.flac")),
        ("test/trials", "1 of 3 enrolment ids", "first: t1-a.flac", "likely mapping", "t1-a.flac -> t1-a"),
    ),
    "no label": (lambda c: c.edit("test/trials", "t1-b target", "t1-b yes"), ("test/trials:1", "'yes'", "nontarget")),
    "only targets": (
        lambda c: c.trials.write_text("t1-a t1-b target\n"), ("test/trials", "only targets", "nontarget")
    ),
    "two corpora that share speakers": (
        lambda c: share_ids(c, "t1", "s1"), ("/train", "/test", "share 1 speakers", "s1", "rename")
    ),
    "two corpora that share utterances": (
        lambda c: share_ids(c, "t1-a", "s1-a"), ("/train", "/test", "s1-a", "rename")
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(code: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stage 0 makes of the good corpus."""
    corpus = make_corpus(tmp_path_factory.mktemp("good"))
    result = code.run(*corpus.options("--stop-stage", "0"))
    assert result.status == 0, result.err
    return corpus.root / "data"


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, code: Workspace, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[tuple[Corpus, dict[str, str], Result]]]]:
    """The cases that were asked for, two at a time: most of their seconds are Python's start."""
    folder = tmp_path_factory.mktemp("bad")

    def outcome(case: str, number: int) -> tuple[Corpus, dict[str, str], Result]:
        corpus = make_corpus(folder / f"corpus{number}")
        shutil.copytree(prepared, corpus.root / "data")
        CASES[case][0](corpus)
        before = contents(corpus.root)
        return corpus, before, code.run(*corpus.options("--stop-stage", "0"))

    names = selected(request, "case")
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(outcome, name, number) for number, name in enumerate(names)}


@pytest.mark.parametrize("case", CASES)
def test_bad_corpus(case: str, outcomes: dict[str, Future[tuple[Corpus, dict[str, str], Result]]]) -> None:
    corpus, before, result = outcomes[case].result()
    assert result.status == 1
    line = result.lines[-1]
    assert line.startswith("imlkd: error: "), result.err
    for fragment in CASES[case][1]:
        assert fragment in line
    assert "Traceback" not in result.out + result.err
    assert damage(before, contents(corpus.root)) == [] and leftovers(corpus.root) == []
