"""validate_data_dir.sh: each rule broken once; the answer is one line with file, line and remedy."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Call = Callable[..., CompletedProcess[str]]
Content = Callable[[bool], dict[str, list[str]]]
Write = Callable[[Path, dict[str, list[str]]], Path]

# Utterances of the directory: s1-r0-0 s1-r0-1 s1-r1-2 s1-r1-3 s2-r0-0 s2-r0-1 s2-r1-2 s3-r0-0


def test_valid(call: Call, data: Path) -> None:
    result = call("validate_data_dir.sh", data)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"validate_data_dir.sh: Successfully validated data-directory {data}\n"


def replace(old: bytes, new: bytes, count: int = 1) -> Callable[[bytes], bytes]:
    def edit(text: bytes) -> bytes:
        assert old in text
        return text.replace(old, new, count)

    return edit


def swap_lines(first: int, second: int) -> Callable[[bytes], bytes]:
    def edit(text: bytes) -> bytes:
        lines = text.splitlines(keepends=True)
        lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
        return b"".join(lines)

    return edit


def drop_line(number: int) -> Callable[[bytes], bytes]:
    def edit(text: bytes) -> bytes:
        lines = text.splitlines(keepends=True)
        del lines[number - 1]
        return b"".join(lines)

    return edit


def emptied(text: bytes) -> bytes:
    return b""


def cut_newline(text: bytes) -> bytes:
    return text[:-1]


def crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


def add(line: bytes) -> Callable[[bytes], bytes]:
    return lambda text: text + line + b"\n"


SORTED = "sort with LC_ALL=C or run utils/fix_data_dir.sh"
REPAIR = "add or take out lines, or run utils/fix_data_dir.sh"

# (segments?, file that is edited, edit, place, what is said, remedy)
FORM = [
    (0, "utt2spk", crlf, "utt2spk:1", "DOS line end (CRLF)", "sed -i"),
    (0, "wav.scp", replace(b"s1-r1-2.flac\n", b"s1-r1-2.flac\r\n"), "wav.scp:3", "DOS line end (CRLF)", "sed -i"),
    (0, "spk2utt", cut_newline, "spk2utt:3", "the last line has no newline", "echo >>"),
    (0, "utt2dur", cut_newline, "utt2dur:8", "the last line has no newline", "echo >>"),
    (0, "wav.scp", replace(b"/audio/s1-r0-1", b"/audio/\xe9"), "wav.scp:2", "not UTF-8", "iconv"),
    (0, "utt2spk", lambda t: b"\xef\xbb\xbf" + t, "utt2spk:1", "byte order mark", "save the file"),
    (0, "utt2spk", replace(b"s1-r0-1 s1", "s1-r0\u00a01 s1".encode()), "utt2spk:2", "character U+00A0", "blank"),
    (0, "text", replace(b"some words", "some\u3000words".encode()), "text:1", "white space character U+3000", "blank"),
    (0, "text", replace(b"some words", b"some \x01words"), "text:1", "control character 0x01", "delete"),
    (0, "wav.scp", replace(b"/audio/s1-r0-0", b"/aud\0io"), "wav.scp:1", "control character 0x00", "delete"),
    (0, "utt2spk", replace(b"\n", b"\n\n"), "utt2spk:2", "empty line", "take it out"),
    (0, "wav.scp", replace(b"\ns1-r0-1", b"\n s1-r0-1"), "wav.scp:2", "the line begins with white space", "take"),
    (0, "utt2spk", replace(b"s1-r0-1 s1", b"s1-r0 1 s1"), "utt2spk:2", "3 columns instead of 2", "white space"),
    (0, "utt2spk", replace(b"s1-r0-1 s1", b"s1-r0-1"), "utt2spk:2", "'s1-r0-1' stands alone", "value is missing"),
    (0, "spk2utt", replace(b"s3 s3-r0-0", b"s3"), "spk2utt:3", "'s3' stands alone", "value is missing"),
    (0, "wav.scp", replace(b"s2-r0-0 /audio/s2-r0-0.flac", b"s2-r0-0"), "wav.scp:5", "'s2-r0-0' stands alone", ""),
    (1, "segments", replace(b"0.0 0.95", b"0.0 0.95 A"), "segments:1", "5 columns instead of 4", "white space"),
    (1, "segments", replace(b"s1-r0 0.0 0.95", b"0.0 0.95"), "segments:1", "3 columns instead of 4", "white space"),
    (0, "utt2num_frames", replace(b"150", b"150 2"), "utt2num_frames:1", "3 columns instead of 2", "white space"),
    (0, "utt2spk", swap_lines(2, 3), "utt2spk:3", "'s1-r0-1' after 's1-r1-2' is out of order", SORTED),
    (1, "wav.scp", swap_lines(1, 2), "wav.scp:2", "'s1-r0' after 's1-r1' is out of order", SORTED),
    (0, "spk2utt", swap_lines(1, 3), "spk2utt:2", "'s2' after 's3' is out of order", SORTED),
    (0, "utt2dur", swap_lines(7, 8), "utt2dur:8", "'s2-r1-2' after 's3-r0-0' is out of order", SORTED),
    (0, "utt2spk", replace(b"s1-r0-1 s1", b"s1-r0-0 s1"), "utt2spk:2", "'s1-r0-0' stands here twice", "keep one"),
    (1, "wav.scp", add(b"s3-r0 /other.flac"), "wav.scp:6", "'s3-r0' stands here twice", "keep one"),
]
VALUES = [
    (0, "wav.scp", replace(b"/audio/s1-r0-1", b"~/audio/x"), "wav.scp:2", "'s1-r0-1': '~' is not exp", "full path"),
    (1, "segments", replace(b"1.0 1.95", b"1.95 1.95"), "segments:2", "'s1-r0-1': end 1.95 must be later than", ""),
    (1, "segments", replace(b"1.0 1.95", b"2.5 1.95"), "segments:2", "end 1.95 must be later than start 2.5", ""),
    (1, "segments", replace(b"1.0 1.95", b"10.5 9.5"), "segments:2", "end 9.5 must be later than start 10.5", ""),
    (1, "segments", replace(b"1.0 1.95", b"-1 1.95"), "segments:2", "start -1 is before the recording", ""),
    (1, "segments", replace(b"1.0 1.95", b"a 1.95"), "segments:2", "start 'a' and end '1.95' must be seconds", ""),
    (1, "segments", replace(b"1.0 1.95", b"0x0 1.95"), "segments:2", "must be seconds", ""),
    (1, "segments", replace(b"1.0 1.95", b"1.0 inf"), "segments:2", "must be seconds", ""),
    (0, "utt2dur", replace(b" 1.5", b" 0"), "utt2dur:1", "duration '0' must be a number of seconds above 0", ""),
    (0, "utt2dur", replace(b" 1.5", b" -1.5"), "utt2dur:1", "duration '-1.5' must", ""),
    (0, "utt2dur", replace(b" 1.5", b" nan"), "utt2dur:1", "duration 'nan' must", ""),
    (1, "reco2dur", replace(b" 9.75", b" 0.0"), "reco2dur:1", "duration '0.0' must", ""),
    (0, "utt2num_frames", replace(b" 150", b" 150.0"), "utt2num_frames:1", "frames '150.0' must be a whole", ""),
    (0, "utt2num_frames", replace(b" 150", b" 0"), "utt2num_frames:1", "frames '0' must be a whole", ""),
    (0, "spk2gender", replace(b" f", b" female"), "spk2gender:1", "gender 'female' must be m or f", ""),
    (0, "spk2gender", replace(b" f", b" F"), "spk2gender:1", "gender 'F' must be m or f", ""),
]
AGREEMENT = [
    (0, "utt2spk", replace(b"s2-r1-2 s2", b"s2-r1-2 s1"), "utt2spk:7", "'s1' after 's2': sorted by utt", "--no-spk-"),
    (0, "spk2utt", replace(b" s1-r1-2", b""), "utt2spk:3", "'s1-r1-2' is not in spk2utt", "make it anew"),
    (0, "spk2utt", replace(b"s3 s3-r0-0", b"s3 s3-r0-0 s3-x"), "spk2utt:3", "'s3-x' of speaker 's3' is not", "anew"),
    (0, "spk2utt", replace(b"s3 s3-r0-0", b"s3 s3-r0-0 s1-r0-0"), "spk2utt:3", "or has been here before", "anew"),
    (0, "spk2utt", replace(b" s2-r1-2\n", b"\n"), "utt2spk:7", "'s2-r1-2' is not in spk2utt", "make it anew"),
    (0, "utt2spk", replace(b"s3-r0-0 s3", b"s3-r0-0 s4"), "spk2utt:3", "of speaker 's3' has 's4' in utt2spk", "anew"),
    (0, "wav.scp", drop_line(5), "utt2spk:5", "'s2-r0-0' is not in wav.scp", REPAIR),
    (0, "wav.scp", add(b"s4-r0-0 /x.flac"), "wav.scp:9", "'s4-r0-0' is not in utt2spk", REPAIR),
    (0, "wav.scp", replace(b"s1-r0-1 /", b"s1-r0 1 /"), "wav.scp:2", "order (does the id hold white space?)", ""),
    (0, "wav.scp", replace(b"s1-r0-1 /", b"s1-r0-0 1 /"), "wav.scp:2", "twice (does the id hold white space?)", ""),
    (0, "feats.scp", drop_line(8), "utt2spk:8", "'s3-r0-0' is not in feats.scp", REPAIR),
    (0, "vad.scp", drop_line(1), "utt2spk:1", "'s1-r0-0' is not in vad.scp", REPAIR),
    (0, "text", drop_line(2), "utt2spk:2", "'s1-r0-1' is not in text", REPAIR),
    (0, "utt2dur", drop_line(2), "utt2spk:2", "'s1-r0-1' is not in utt2dur", REPAIR),
    (0, "utt2num_frames", add(b"s9 3"), "utt2num_frames:9", "'s9' is not in utt2spk", REPAIR),
    (0, "reco2dur", drop_line(2), "utt2spk:2", "'s1-r0-1' is not in reco2dur", REPAIR),
    (0, "spk2gender", drop_line(2), "spk2utt:2", "'s2' is not in spk2gender", REPAIR),
    (0, "spk2gender", add(b"s4 m"), "spk2gender:4", "'s4' is not in spk2utt", REPAIR),
    (1, "segments", drop_line(3), "utt2spk:3", "'s1-r1-2' is not in segments", REPAIR),
    (1, "segments", add(b"s4 s3-r0 1 2"), "segments:9", "'s4' is not in utt2spk", REPAIR),
    (1, "wav.scp", drop_line(2), "segments:3", "'s1-r1' is not in wav.scp", REPAIR),
    (1, "wav.scp", add(b"s4-r0 /x.flac"), "wav.scp:6", "'s4-r0' is not in segments", REPAIR),
    (1, "reco2dur", drop_line(1), "segments:1", "'s1-r0' is not in reco2dur", REPAIR),
]
EMPTY = [
    (0, "utt2spk", emptied, "utt2spk", "the file is empty", "fill it"),
    (0, "spk2utt", emptied, "spk2utt", "the file is empty", "fill it"),
    (0, "wav.scp", emptied, "wav.scp", "the file is empty", "fill it"),
    (0, "text", emptied, "text", "the file is empty", "or delete it"),
    (1, "segments", emptied, "segments", "the file is empty", "or delete it"),
]


@pytest.mark.parametrize(("segments", "name", "edit", "place", "what", "remedy"), FORM + VALUES + AGREEMENT + EMPTY)
def test_rule(
    call: Call,
    content: Content,
    write: Write,
    tmp_path: Path,
    segments: int,
    name: str,
    edit: Callable[[bytes], bytes],
    place: str,
    what: str,
    remedy: str,
) -> None:
    data = write(tmp_path, content(bool(segments)))
    before = (data / name).read_bytes()
    (data / name).write_bytes(edit(before))
    result = call("validate_data_dir.sh", data)
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"validate_data_dir.sh: {data}/{place}: ")
    assert what in result.stderr and remedy in result.stderr


@pytest.mark.parametrize(
    ("name", "flag"),
    [("utt2spk", None), ("spk2utt", None), ("wav.scp", "--no-wav"), ("feats.scp", "--no-feats"), ("text", "--no-text")],
)
def test_missing_file(call: Call, data: Path, name: str, flag: str | None) -> None:
    (data / name).unlink()
    result = call("validate_data_dir.sh", data)
    assert result.returncode == 1 and result.stderr.startswith(f"validate_data_dir.sh: {data}/{name}: no such file, ")
    assert flag is None or flag in result.stderr
    others = {"--no-wav", "--no-feats", "--no-text"} - {flag}
    assert call("validate_data_dir.sh", *others, data).returncode == 1
    if flag:
        assert call("validate_data_dir.sh", flag, data).returncode == 0


def test_missing_directory(call: Call, tmp_path: Path) -> None:
    result = call("validate_data_dir.sh", tmp_path / "none")
    assert result.returncode == 1 and "none: no such directory" in result.stderr


def test_a_file_that_is_there_is_checked_whatever_may_miss(call: Call, data: Path) -> None:
    (data / "text").write_text("s1-r0-0 words\n")
    result = call("validate_data_dir.sh", "--no-text", data)
    assert result.returncode == 1 and "not in text (7 ids: " in result.stderr


def test_many_missing_ids_are_counted_and_five_shown(call: Call, data: Path) -> None:
    (data / "feats.scp").write_text("s1-r0-1 x:1\n")
    result = call("validate_data_dir.sh", data)
    assert (
        "utt2spk:1: 's1-r0-0' is not in feats.scp (7 ids: s1-r0-0 s1-r1-2 s1-r1-3 s2-r0-0 s2-r0-1 ...)" in result.stderr
    )


def test_no_spk_sort(call: Call, write: Write, tmp_path: Path) -> None:
    data = write(
        tmp_path, {"utt2spk": ["a y", "b x", "c y"], "spk2utt": ["x b", "y a c"], "wav.scp": ["a 1", "b 2", "c 3"]}
    )
    options = ["--no-feats", "--no-text"]
    assert "utt2spk:2: speaker 'x' after 'y'" in call("validate_data_dir.sh", *options, data).stderr
    assert call("validate_data_dir.sh", *options, "--no-spk-sort", data).returncode == 0


def test_non_print(call: Call, data: Path) -> None:
    text = data / "text"
    text.write_bytes(text.read_bytes().replace(b"some", b"\xff\x01"))
    assert "text:1: not UTF-8" in call("validate_data_dir.sh", data).stderr
    assert call("validate_data_dir.sh", "--non-print", data).returncode == 0


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("wav.scp", "/audio/s1-r0", "/audio/with blank/s1-r0"),
        ("wav.scp", "/audio/s1-r0-0.flac", "flac -cds /audio/s1-r0-0.flac |"),
        ("wav.scp", "/audio/s1-r0", "/audio/naïve-日本/s1-r0"),
        ("utt2dur", " 1.5\n", "\t1.5\n"),
        ("utt2dur", " 1.5\n", " 1.5  \n"),
        ("utt2dur", " 1.5\n", " 15e-1\n"),
        ("text", " some words", ""),
        ("text", "some words", "größte 日本語"),
        ("spk2utt", "s1 s1-r0-0 s1-r0-1", "s1 s1-r0-1  s1-r0-0"),
    ],
)
def test_allowed(call: Call, content: Content, write: Write, tmp_path: Path, name: str, old: str, new: str) -> None:
    data = write(tmp_path, content(False))
    text = (data / name).read_text()
    assert old in text
    (data / name).write_text(text.replace(old, new, 1))
    result = call("validate_data_dir.sh", data)
    assert result.returncode == 0, result.stderr


def test_order_is_that_of_bytes(call: Call, write: Write, tmp_path: Path) -> None:
    """'-' before digits before capitals before '_' before small letters, under any locale."""
    utts = ["a-1", "a0", "aB", "a_1", "ab", "aé"]
    speaker = [f"{u} s" for u in utts]
    data = write(
        tmp_path, {"utt2spk": speaker, "spk2utt": [" ".join(["s", *utts])], "wav.scp": [f"{u} x" for u in utts]}
    )
    options = ["--no-feats", "--no-text"]
    assert call("validate_data_dir.sh", *options, data, LC_ALL="C.UTF-8").returncode == 0
    (data / "utt2spk").write_text("\n".join(sorted(speaker, key=str.casefold)) + "\n")
    assert call("validate_data_dir.sh", *options, data, LC_ALL="en_US.UTF-8").returncode == 1


def big(path: Path, speakers: int, each: int) -> None:
    utts = [[f"id{s:05d}-abcdefghijk-{u:05d}" for u in range(each)] for s in range(speakers)]
    rows = [(u, s) for s, names in enumerate(utts) for u in names]
    (path / "utt2spk").write_text("".join(f"{u} id{s:05d}\n" for u, s in rows))
    (path / "spk2utt").write_text("".join(f"id{s:05d} {' '.join(names)}\n" for s, names in enumerate(utts)))
    (path / "wav.scp").write_text("".join(f"{u} /data/vox/wav/{u.replace('-', '/')}.wav\n" for u, _ in rows))


@pytest.mark.parametrize(
    "speakers", [1000, pytest.param(20000, marks=pytest.mark.slow)], ids=["50k utterances", "1M utterances"]
)
def test_large_directories(call: Call, tmp_path: Path, speakers: int) -> None:
    big(tmp_path, speakers, 50)
    assert call("validate_data_dir.sh", "--no-text", "--no-feats", tmp_path).returncode == 0
