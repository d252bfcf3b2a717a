from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.corpora.kaldi_dir import (
    Segment,
    group_by_speaker,
    read_data_dir,
    round_to_sample,
    seconds_text,
    write_data_dir,
)
from imlkd.errors import UserError

Corpus = Callable[..., Path]


def test_reads_all_tables(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d", segments=True)
    (folder / "utt2lang").write_text("".join(f"{line.split()[0]} ar\n" for line in open(folder / "utt2spk")))
    (folder / "text").write_text(
        "".join(f"{line.split()[0]}{' hi you' * k}\n" for k, line in enumerate(open(folder / "utt2spk")))
    )
    data = read_data_dir(folder)
    assert data.utterances[:3] == ["s1-r1-a", "s1-r1-b", "s1-r2-a"]
    assert data.segments is not None and data.segments["s1-r1-b"] == Segment("s1-r1", "0.500", "1.000")
    assert data.spk2utt["s2"] == ["s2-r1-a", "s2-r1-b", "s2-r2-a", "s2-r2-b"]
    assert data.spk2gender == {"s1": "f", "s2": "m"}
    assert data.extra["utt2lang"]["s2-r1-a"] == "ar"
    assert data.extra["text"]["s1-r1-a"] == "" and data.extra["text"]["s1-r1-b"] == "hi you"


def test_a_missing_spk2utt_is_made(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d")
    expected = read_data_dir(folder).spk2utt
    (folder / "spk2utt").unlink()
    assert read_data_dir(folder).spk2utt == expected == {"s1": ["s1-r1", "s1-r2"], "s2": ["s2-r1", "s2-r2"]}


def edit(name: str, old: str, new: str, count: int = 1) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, count))

    return apply


def put(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda folder: (
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode()) and None
    )


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


BAD_TABLES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "no wav.scp": (drop("wav.scp"), ["d/wav.scp", "no such file", "needs it"]),
    "empty wav.scp": (put("wav.scp", ""), ["d/wav.scp", "empty file", "`recording path`"]),
    "no utt2spk": (drop("utt2spk"), ["d/utt2spk", "no such file"]),
    "CRLF": (edit("utt2spk", "s1\n", "s1\r\n"), ["d/utt2spk:1", "CRLF", "sed"]),
    "not UTF-8": (put("spk2gender", b"s1 m\ns\xe9 f\n"), ["d/spk2gender:2", "UTF-8", "iconv"]),
    "unsorted": (put("spk2gender", "s2 m\ns1 f\n"), ["d/spk2gender:2", "C order", "sort"]),
    "duplicate": (edit("utt2spk", "s1-r2-a s1\n", "s1-r1-b s1\n"), ["d/utt2spk:3", "duplicate id s1-r1-b"]),
    "disagreeing speaker": (
        edit("spk2utt", "s1 s1-r1-a ", "s1 "),
        ["d/spk2utt", "s1-r1-a", "no speaker", "utt2spk_to"],
    ),
    "unknown in spk2utt": (edit("spk2utt", "s1 s1-r1-a", "s1 s1-r0 s1-r1-a"), ["d/spk2utt", "s1-r0", "no speaker"]),
    "twice in spk2utt": (edit("spk2utt", "s1 s1-r1-a", "s1 s1-r1-a s1-r1-a"), ["d/spk2utt", "twice"]),
    "speakers unsorted": (
        edit("utt2spk", "s1-r1-a s1", "s1-r1-a s3"),
        ["d/utt2spk", "s1-r1-b", "s1 after s3", "begin"],
    ),
    "white space in an id": (
        edit("utt2spk", "s1-r1-a s1", "s1 r1-a s1"),
        ["d/utt2spk:1", "expected 2 fields", "white space"],
    ),
    "odd white space": (edit("wav.scp", "s2-r2 ", "s2\u00a0r2 "), ["d/wav.scp", "'s2\\xa0r2' holds white space"]),
    "white space in wav.scp": (edit("wav.scp", "s1-r1 ", "s1 r1 "), ["d/segments", "s1-r1", "white space"]),
    "unknown recording": (edit("wav.scp", "s1-r2 ", "s1-r9 "), ["d/segments", "1 of 4", "s1-r2", "fix_data_dir.sh"]),
    "unused recording": (edit("segments", " s1-r1 ", " s1-r2 ", count=2), ["d/wav.scp", "1 of 4", "s1-r1", "segments"]),
    "utterance without segment": (
        edit("segments", "s2-r2-b s2-r2 0.500 1.000\n", ""),
        ["d/utt2spk", "s2-r2-b", "segments"],
    ),
    "segment without utterance": (
        lambda folder: (folder / "segments").write_text((folder / "segments").read_text() + "s3 s2-r2 0 1\n") and None,
        ["d/segments", "s3", "utt2spk"],
    ),
    "end before start": (edit("segments", "0 0.500", "0.5 0.500"), ["d/segments", "s1-r1-a", "0.5 0.500", "mend"]),
    "negative start": (edit("segments", "0 0.500", "-1 0.500"), ["d/segments", "s1-r1-a", "-1"]),
    "time is no number": (edit("segments", "0 0.500", "0 nan"), ["d/segments", "s1-r1-a", "nan"]),
    "five columns": (edit("segments", "0 0.500", "0 0.500 A"), ["d/segments:1", "expected 4 fields, found 5"]),
    "gender": (edit("spk2gender", "s1 f", "s1 female"), ["d/spk2gender", "s1", "m or f", "female"]),
    "gender of a stranger": (edit("spk2gender", "s2 m", "s3 m"), ["d/spk2gender", "s3"]),
    "gender missing": (edit("spk2gender", "s2 m\n", ""), ["d/spk2gender", "s2", "1 of 2"]),
    "duration": (put("utt2dur", "s1-r1-a 0\n"), ["d/utt2dur"]),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables(case: str, corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d", segments=True)
    spoil, fragments = BAD_TABLES[case]
    spoil(folder)
    with pytest.raises(UserError) as caught:
        read_data_dir(folder)
    message = str(caught.value)
    assert "\n" not in message and all(fragment in message for fragment in fragments), message


def test_duration_must_be_positive(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d")
    (folder / "utt2dur").write_text("s1-r1 1\ns1-r2 1\ns2-r1 0.0\ns2-r2 1\n")
    with pytest.raises(UserError, match="utt2dur: s2-r1: expected seconds above 0, found '0.0'"):
        read_data_dir(folder)


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such data directory"):
        read_data_dir(tmp_path / "nowhere")


@pytest.mark.parametrize("segments", [False, True])
def test_write_gives_the_same_files_and_kaldi_accepts_them(corpus: Corpus, tmp_path: Path, segments: bool) -> None:
    folder, copy = corpus(tmp_path / "d", segments=segments), tmp_path / "copy"
    write_data_dir(read_data_dir(folder), copy)
    names = sorted(path.name for path in folder.iterdir())
    assert sorted(path.name for path in copy.iterdir()) == names
    for name in names:
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
    validate = Path(__file__).parents[2] / "utils" / "validate_data_dir.sh"
    if validate.exists():
        subprocess.run(["bash", validate, "--no-text", "--no-feats", copy], check=True, capture_output=True)


def test_write_replaces_as_a_whole_and_keeps_the_old_on_error(corpus: Corpus, tmp_path: Path) -> None:
    data, place = read_data_dir(corpus(tmp_path / "d", segments=True)), tmp_path / "place"
    write_data_dir(data, place)
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    with pytest.raises(UserError, match="spk2gender"):
        write_data_dir(replace(data, spk2gender={"s1": "x", "s2": "m"}), place)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    write_data_dir(replace(data, spk2gender=None), place)
    assert not (place / "spk2gender").exists() and (place / "segments").exists()
    assert sorted(os.listdir(tmp_path)) == ["audio", "d", "place"]


def test_write_into_a_file(corpus: Corpus, tmp_path: Path) -> None:
    data = read_data_dir(corpus(tmp_path / "d"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file"):
        write_data_dir(data, tmp_path / "file" / "place")
    assert (tmp_path / "file").read_text() == "mine"


@given(st.integers(0, 10**10), st.sampled_from([8000, 16000, 22050, 44100, 48000]))
def test_seconds_text_gives_the_sample_again(samples: int, rate: int) -> None:
    text = seconds_text(samples, rate)
    assert round_to_sample(text, rate) == samples
    assert len(text.split(".")[1]) >= 3


def test_rounding_is_exact() -> None:
    assert round_to_sample("0.00003125", 16000) == 1  # half a sample goes up
    assert round_to_sample("0.0000312", 16000) == 0
    assert round_to_sample("1.15", 100) == 115  # 1.15 * 100 is 114.99999999999999 in binary


def test_bounds_forgive_ten_milliseconds() -> None:
    assert Segment("r", "0", "1.010").bounds(16000, 16000) == (0, 16000)
    assert Segment("r", "0", "1.0101").bounds(16000, 16000) == (0, 16162)
    assert Segment("r", "0.25", "1").bounds(16000) == (4000, 16000)


@given(st.dictionaries(st.text("abz-_019", min_size=1, max_size=6), st.sampled_from(["a", "B", "-", "z9"])))
def test_group_by_speaker_is_the_inverse(utt2spk: dict[str, str]) -> None:
    grouped = group_by_speaker(utt2spk)
    assert {utterance: speaker for speaker, group in grouped.items() for utterance in group} == utt2spk
    assert list(grouped) == sorted(grouped) and all(group == sorted(group) for group in grouped.values())
