"""subset_data_dir.sh: each way to choose, and what goes along."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Call = Callable[..., CompletedProcess[str]]
Content = Callable[[bool], dict[str, list[str]]]
Write = Callable[[Path, dict[str, list[str]]], Path]
Read = Callable[[Path], dict[str, list[str]]]
Validate = Callable[[Path], None]
ALL = ["s1-r0-0", "s1-r0-1", "s1-r1-2", "s1-r1-3", "s2-r0-0", "s2-r0-1", "s2-r1-2", "s3-r0-0"]


def picked(read: Read, folder: Path) -> list[str]:
    return [row.split()[0] for row in read(folder)["utt2spk"]]


@pytest.mark.parametrize(
    ("options", "number", "expected"),
    [
        ([], 4, ALL[::2]),
        ([], 1, ALL[:1]),
        ([], 8, ALL),
        (["--first"], 3, ALL[:3]),
        (["--last"], 3, ALL[-3:]),
        (["--shortest"], 3, ["s1-r0-0", "s2-r0-0", "s3-r0-0"]),
        (["--shortest"], 4, ["s1-r0-0", "s1-r0-1", "s2-r0-0", "s3-r0-0"]),
        (["--per-spk"], 2, ["s1-r0-0", "s1-r1-2", "s2-r0-0", "s2-r0-1", "s3-r0-0"]),
        (["--per-spk"], 1, ["s1-r0-0", "s2-r0-0", "s3-r0-0"]),
        (["--per-spk"], 99, ALL),
        (["--speakers"], 8, ALL),
    ],
)
def test_ways(
    call: Call,
    data: Path,
    read: Read,
    validate: Validate,
    tmp_path: Path,
    options: list[str],
    number: int,
    expected: list[str],
) -> None:
    result = call("subset_data_dir.sh", *options, data, number, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert picked(read, tmp_path / "out") == expected
    assert f"{len(expected)} of 8 utterances" in result.stdout
    validate(tmp_path / "out")
    whole, part = read(data), read(tmp_path / "out")
    assert set(part) == set(whole)
    assert all(set(part[name]) <= set(whole[name]) for name in whole if name != "spk2utt")
    if "segments" in whole:
        assert {row.split()[0] for row in part["wav.scp"]} == {row.split()[1] for row in part["segments"]}


def test_speakers_are_whole_and_the_same_every_time(call: Call, write: Write, read: Read, tmp_path: Path) -> None:
    rows = [f"s{s:02d}-{u} s{s:02d}" for s in range(30) for u in range(4)]
    data = write(tmp_path / "d", {"utt2spk": rows, "wav.scp": [f"{r.split()[0]} x" for r in rows]})
    for name in ("one", "two"):
        assert call("subset_data_dir.sh", "--speakers", data, 38, tmp_path / name).returncode == 0
    assert read(tmp_path / "one") == read(tmp_path / "two")
    chosen = read(tmp_path / "one")
    assert len(chosen["utt2spk"]) == 40 and len(chosen["spk2utt"]) == 10
    assert chosen["utt2spk"] != rows[:40]  # drawn, not the first


@pytest.mark.parametrize("tables", [["utt2num_frames"], ["utt2dur"], ["segments"]])
def test_shortest_by_what_there_is(
    call: Call, content: Content, write: Write, read: Read, tmp_path: Path, tables: list[str]
) -> None:
    lengths = {utt: 9 - n for n, utt in enumerate(ALL)}
    rows = content("segments" in tables)
    data = write(tmp_path / "d", {k: v for k, v in rows.items() if k in ("utt2spk", "spk2utt", "wav.scp")})
    if tables == ["segments"]:
        write(data, {"segments": [f"{u} {u[:5]} 0.5 {0.5 + n}" for u, n in lengths.items()]})
    else:
        write(data, {tables[0]: [f"{u} {n}" for u, n in lengths.items()]})
    assert call("subset_data_dir.sh", "--shortest", data, 2, tmp_path / "out").returncode == 0
    assert picked(read, tmp_path / "out") == ALL[-2:]


def test_lists(call: Call, data: Path, read: Read, validate: Validate, tmp_path: Path) -> None:
    (tmp_path / "spk list").write_text("s3 m\ns1\nnobody\n")
    result = call("subset_data_dir.sh", "--spk-list", tmp_path / "spk list", data, tmp_path / "a")
    assert result.returncode == 0 and picked(read, tmp_path / "a") == [*ALL[:4], ALL[-1]]
    assert f"{tmp_path}/spk list: not among the speakers of {data}: 1 of 3: nobody" in result.stderr
    (tmp_path / "utts").write_text("s2-r0-1\ns1-r1-2 some words\n")
    result = call("subset_data_dir.sh", "--utt-list", tmp_path / "utts", data, tmp_path / "b")
    assert (result.returncode, result.stderr) == (0, "")
    assert picked(read, tmp_path / "b") == ["s1-r1-2", "s2-r0-1"]
    for name in "ab":
        validate(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{data}", "9", "{out}"], "9 utterances asked for, there are 8"),
        (["--speakers", "{data}", "9", "{out}"], "9 utterances asked for, there are 8"),
        (["{data}", "0", "{out}"], "the number of utterances is a whole number from 1, not '0'"),
        (["{data}", "1.5", "{out}"], "the number of utterances is a whole number from 1, not '1.5'"),
        (["--first", "--last", "{data}", "1", "{out}"], "--last: only one way to choose may be given"),
        (["--utt-list", "none", "{data}", "{out}"], "none: cannot be read"),
        (["--spk-list", "{data}/utt2spk", "{data}", "{out}"], "none of its ids is among the speakers"),
        (["--spk-list"], "--spk-list needs a file"),
        (["{data}", "1", "{data}/../train"], "source and destination are the same directory"),
        (["{data}/none", "1", "{out}"], "none: no such directory"),
    ],
)
def test_refused(call: Call, data: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    out = tmp_path / "out"
    before = {f: f.read_bytes() for f in data.iterdir()}
    result = call("subset_data_dir.sh", *[a.format(data=data, out=out) for a in arguments])
    assert result.returncode == 1 and message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists() and {f: f.read_bytes() for f in data.iterdir()} == before


def test_shortest_needs_lengths(call: Call, write: Write, tmp_path: Path) -> None:
    data = write(tmp_path / "d", {"utt2spk": ["a s"], "wav.scp": ["a x"]})
    assert (
        "--shortest needs utt2num_frames, utt2dur or segments"
        in call("subset_data_dir.sh", "--shortest", data, 1, tmp_path / "out").stderr
    )


def test_old_tables_go_and_other_files_stay(
    call: Call, data: Path, read: Read, validate: Validate, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert call("subset_data_dir.sh", data, 8, out).returncode == 0
    (out / "utt2lang").write_text("old en\n")
    (out / "notes").write_text("mine\n")
    (data / "vad.scp").unlink()
    (data / "trials").write_text("s1-r0-0 s1-r0-1 target\n")
    (data / "frame_shift").write_text("0.01\n")
    result = call("subset_data_dir.sh", data, 2, out)
    assert f"{data}: not carried over: trials" in result.stdout
    assert set(read(out)) == set(read(data)) - {"trials"} | {"notes"}
    assert read(out)["frame_shift"] == ["0.01"]
    assert sorted(p.name for p in out.iterdir() if p.name[0] == ".") == []
    validate(out)


def test_bad_source_leaves_the_destination(call: Call, data: Path, read: Read, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("subset_data_dir.sh", data, 2, out)
    before = read(out)
    (data / "vad.scp").write_text("b 1\na 1\n")
    result = call("subset_data_dir.sh", data, 3, out)
    assert result.returncode == 1 and "vad.scp:2: 'a' after 'b' is out of order" in result.stderr
    assert read(out) == before and [p for p in out.iterdir() if p.name[0] == "."] == []
