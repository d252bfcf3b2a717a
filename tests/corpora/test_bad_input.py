"""Bad corpora through the command line: one line on stderr, status 1, and what was there before is still there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imlkd.cli.main import run

Corpus = Callable[..., Path]
LIST = "t1-r1 t1-r2 target\nt1-r1 t2-r1 nontarget\n"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Bench:
    """A good corpus below ``root``, and ``imlkd`` called in this process."""

    def __init__(
        self, root: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self.root, self.out, self._capsys, self._patch = root, root / "data", capsys, patch
        self.train = corpus(root / "a" / "train", segments=True)
        self.test = corpus(root / "b" / "test", ("t1", "t2"))
        self.trials = self.test / "trials"
        self.trials.write_text(LIST)
        self.audio = self.test.parent / "audio" / "t1-r2.flac"

    def prepare(self, *more: str) -> tuple[int, list[str]]:
        """Status and lines on stderr of ``imlkd data prepare``."""
        options = ["--train", self.train, "--test", self.test, "--trials", self.trials, "--out", self.out]
        return self.call("data", "prepare", *options, "--nj", "2", *more)

    def call(self, *arguments: object) -> tuple[int, list[str]]:
        self._patch.setattr(sys, "argv", ["imlkd", *map(str, arguments)])
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as left:
                run()
        finally:
            signal.signal(signal.SIGTERM, handler)
        return int(left.value.code or 0), self._capsys.readouterr().err.splitlines()

    def edit(self, path: Path, old: str | bytes, new: str | bytes) -> None:
        old, new = (text.encode() if isinstance(text, str) else text for text in (old, new))
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new, 1))

    def refused(self, *fragments: str) -> None:
        """Prepare fails with one line that holds ``fragments``; nothing appears, and nothing that was there changes."""
        self.out.mkdir()
        (self.out / "earlier").write_text("result of an earlier stage")
        sources = snapshot(self.root)
        status, lines = self.prepare()
        assert status == 1 and len(lines) == 1, lines
        assert lines[0].startswith("imlkd: error: ") and all(part in lines[0] for part in fragments), lines[0]
        assert snapshot(self.root) == sources and os.listdir(self.out) == ["earlier"]


@pytest.fixture
def bench(tmp_path: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, corpus, capsys, monkeypatch)


def test_the_good_corpus_passes(bench: Bench) -> None:
    assert bench.prepare() == (0, [])
    assert sorted(os.listdir(bench.out)) == ["manifests", "test", "train"]


def test_bad_audio(spoilt: Any, bench: Bench) -> None:
    spoilt.spoil(bench.audio)
    bench.refused("b/test/wav.scp: t1-r2: ", str(bench.audio), *spoilt.fragments)


TABLES: dict[str, tuple[Callable[[Bench], object], tuple[str, ...]]] = {
    "missing wav.scp": (lambda b: (b.train / "wav.scp").unlink(), ("a/train/wav.scp: no such file",)),
    "empty wav.scp": (lambda b: (b.train / "wav.scp").write_text(""), ("a/train/wav.scp: empty file",)),
    "CRLF": (lambda b: b.edit(b.train / "segments", "0.500\n", "0.500\r\n"), ("a/train/segments:1", "CRLF", "sed")),
    "not UTF-8": (lambda b: b.edit(b.test / "utt2spk", "t1-r1", b"t1\xff-r1"), ("b/test/utt2spk:1", "UTF-8")),
    "unsorted": (lambda b: b.edit(b.test / "wav.scp", "t1-r1", "t9-r1"), ("b/test/wav.scp:2", "t1-r2", "C order")),
    "duplicate": (lambda b: b.edit(b.test / "utt2spk", "t1-r2", "t1-r1"), ("b/test/utt2spk:2", "duplicate id t1-r1")),
    "utt2spk and spk2utt": (
        lambda b: b.edit(b.test / "spk2utt", "t1-r1 t1-r2", "t1-r2"),
        ("b/test/spk2utt: t1-r1 belongs to no speaker, in utt2spk to t1", "utt2spk_to_spk2utt.pl"),
    ),
    "segment behind the end": (
        lambda b: b.edit(b.train / "segments", "s2-r1 0.500 1.000", "s2-r1 0.500 1.200"),
        ("a/train/segments: s2-r1-b", "ends at 1.200 s, the recording at 1.0000 s", "mend the line"),
    ),
    "pipe": (
        lambda b: b.edit(b.test / "wav.scp", ".flac\n", ".flac |\n"),
        ("b/test/wav.scp: t1-r1: a pipe", "--allow-pipes true"),
    ),
    "white space in an id": (
        lambda b: b.edit(b.test / "utt2spk", "t1-r1", "t1 r1"),
        ("b/test/utt2spk:1", "expected 2 fields, found 3", "white space"),
    ),
    "unknown utterance": (
        lambda b: b.trials.write_text(LIST.replace("t2-r1", "t2-r1.wav")),
        ("b/test/trials", "t2-r1.wav", "likely mapping (file extension"),
    ),
    "label that is none": (lambda b: b.edit(b.trials, " nontarget", " no"), ("b/test/trials:2", "label 'no'")),
    "only targets": (lambda b: b.trials.write_text("t1-r1 t1-r2 target\n"), ("b/test/trials", "only targets")),
    "speaker in both": (
        lambda b: (
            [b.edit(b.test / name, "t1", "s2") for name in ("spk2utt", "spk2gender")]
            and (b.test / "utt2spk").write_text("t1-r1 s2\nt1-r2 s2\nt2-r1 t2\nt2-r2 t2\n")
        ),
        ("a/train", "b/test share 1 speakers, first: s2", "keep each in one"),
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_bad_tables(case: str, bench: Bench) -> None:
    spoil, fragments = TABLES[case]
    spoil(bench)
    bench.refused(*fragments)


def test_two_corpora_sharing_ids(bench: Bench, corpus: Corpus) -> None:
    other = corpus(bench.root / "c" / "other", ("t1", "t2"))
    (bench.root / "c" / "audio" / "t1-r1.flac").write_bytes(bench.audio.read_bytes())
    bench.test = Path(f"{bench.test},{other}")
    bench.refused("b/test and", "c/other share 1 recording ids for different audio, first: t1-r1: rename them")


def test_a_pipe_that_is_allowed(bench: Bench) -> None:
    text = (
        (bench.test / "wav.scp").read_text().replace(f"{bench.root}", f"cat {bench.root}").replace(".flac", ".flac |")
    )
    (bench.test / "wav.scp").write_text(text)
    assert bench.prepare("--allow-pipes") == (0, [])
    assert (bench.out / "test" / "wav.scp").read_text() == text


def test_missing_options(bench: Bench) -> None:
    for options, fragment in (
        ([], "--train or --train-cuts: give one"),
        (["--train", bench.train, "--train-cuts", "x.jsonl.gz"], "--train or --train-cuts: give one"),
        (["--train", bench.train, "--test", ""], "--test or --test-cuts: give at least one"),
        (["--train-cuts", bench.root / "gone.jsonl.gz", "--test", bench.test], "gone.jsonl.gz: no such file"),
        (["--train", bench.root / "gone", "--test", bench.test], "gone: no such data directory"),
    ):
        status, lines = bench.call("data", "prepare", "--out", bench.out, *options)
        assert status == 1 and len(lines) == 1 and fragment in lines[0], lines


def test_out_is_a_file(bench: Bench) -> None:
    bench.out.write_text("a plain file")
    status, lines = bench.prepare()
    assert status == 1 and len(lines) == 1 and f"{bench.out}: a plain file stands" in lines[0]
    assert bench.out.read_text() == "a plain file"


def test_a_list_of_all_bad_utterances(bench: Bench) -> None:
    (bench.train.parent / "audio" / "s1-r2.flac").unlink()
    status, lines = bench.prepare("--bad", str(bench.root / "bad"))
    assert status == 1 and f"2 of 12 utterances have bad audio (all in {bench.root}/bad): " in lines[0]
    assert (bench.root / "bad").read_text().startswith("s1-r2 ")


def test_other_commands(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    cuts, back = bench.root / "cuts.jsonl.gz", bench.root / "back"
    assert bench.call("data", "check", bench.train, bench.test) == (0, [])
    assert bench.call("data", "to-lhotse", bench.train, cuts) == (0, [])
    assert bench.call("data", "from-lhotse", cuts, back) == (0, [])
    assert (back / "segments").read_bytes() == (bench.train / "segments").read_bytes()
    status, lines = bench.call("data", "from-lhotse", cuts, back)
    assert status == 1 and lines == [f"imlkd: error: {back}: is there already: remove it, or choose another name"]
    with capsys.disabled():
        hashes = subprocess.run(
            [sys.executable, "-m", "imlkd.cli.main", "data", "hash", bench.train, back], capture_output=True, text=True
        )
    one, other = (line.split()[0] for line in hashes.stdout.splitlines())
    assert one == other and len(one) == 64
    bench.audio.unlink()
    status, lines = bench.call("data", "check", bench.train, bench.test, "--no-decode")
    assert status == 1 and len(lines) == 1 and "no such file" in lines[0]


def command(bench: Bench) -> list[str]:
    options = ["--train", bench.train, "--test", bench.test, "--trials", bench.trials, "--out", bench.out]
    return [sys.executable, "-m", "imlkd.cli.main", "data", "prepare", "--allow-pipes", *map(str, options)]


def test_a_full_disk(bench: Bench) -> None:
    """A file-size limit stands for the disk: the list is larger than it allows."""
    with open(bench.trials, "a") as stream:
        stream.writelines(f"t1-r{a} t2-r{b} nontarget\n" for a, b in ((1, 2), (2, 1), (2, 2)))
    (bench.train / "text").write_text(
        "".join(f"{line.split()[0]} {'word ' * 500}\n" for line in open(bench.train / "utt2spk"))
    )
    bench.out.mkdir()
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; exec "$@"', "-", *command(bench)], capture_output=True, text=True
    )
    assert limited.returncode == 1 and len(limited.stderr.splitlines()) == 1, limited.stderr
    assert "train/text: the file-size limit is reached" in limited.stderr
    assert os.listdir(bench.out) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(number: signal.Signals, bench: Bench) -> None:
    started = bench.root / "started"
    bench.edit(bench.test / "wav.scp", f"{bench.root}", f"touch {started}; sleep 60; cat {bench.root}")
    bench.edit(bench.test / "wav.scp", ".flac\n", ".flac |\n")
    bench.out.mkdir()
    process = subprocess.Popen(command(bench), stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not started.exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr.strip() == "imlkd: interrupted: run the same command again to go on"  # click ends the line of the ^C
    assert os.listdir(bench.out) == []
