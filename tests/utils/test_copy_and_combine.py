"""copy_data_dir.sh and combine_data.sh: new ids, joining, and two corpora that say different things of one id."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Call = Callable[..., CompletedProcess[str]]
Content = Callable[[bool], dict[str, list[str]]]
Write = Callable[[Path, dict[str, list[str]]], Path]
Read = Callable[[Path], dict[str, list[str]]]
Validate = Callable[[Path], None]


def ids(rows: list[str]) -> list[str]:
    return [row.split()[0] for row in rows]


# ---------------------------------------------------------------------------------------------- copy


def test_plain_copy(call: Call, data: Path, read: Read, tmp_path: Path) -> None:
    result = call("copy_data_dir.sh", data, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert read(tmp_path / "out") == read(data)


def test_prefixes(call: Call, data: Path, read: Read, validate: Validate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call("copy_data_dir.sh", "--utt-prefix", "b-", "--spk-prefix", "b-", data, out).returncode == 0
    validate(out)
    old, new = read(data), read(out)
    by_utterance = {"utt2spk", "feats.scp", "vad.scp", "text", "utt2dur", "utt2num_frames", "segments"}
    for name in (by_utterance | ({"wav.scp", "reco2dur"} if "segments" not in old else set())) & set(old):
        assert ids(new[name]) == [f"b-{i}" for i in ids(old[name])]
    if "segments" in old:
        assert new["wav.scp"] == old["wav.scp"] and new["reco2dur"] == old["reco2dur"]
        assert [row.split()[1:] for row in new["segments"]] == [row.split()[1:] for row in old["segments"]]
    assert [row.split()[1] for row in new["utt2spk"]] == [f"b-{row.split()[1]}" for row in old["utt2spk"]]
    assert ids(new["spk2gender"]) == ["b-s1", "b-s2", "b-s3"]
    assert new["utt2uniq"] == [f"b-{i} {i}" for i in ids(old["utt2spk"])]
    assert "utt2uniq" not in old


def test_suffix_sorts_anew(call: Call, write: Write, read: Read, validate: Validate, tmp_path: Path) -> None:
    data = write(tmp_path / "d", {"utt2spk": ["a s", "a-b s"], "spk2utt": ["s a a-b"], "wav.scp": ["a 1", "a-b 2"]})
    assert call("copy_data_dir.sh", "--utt-suffix", "_x", data, tmp_path / "out").returncode == 0
    new = read(tmp_path / "out")
    assert new["wav.scp"] == ["a-b_x 2", "a_x 1"] and new["spk2utt"] == ["s a-b_x a_x"]
    validate(tmp_path / "out")


def test_spk_suffix(call: Call, data: Path, read: Read, validate: Validate, tmp_path: Path) -> None:
    assert call("copy_data_dir.sh", "--spk-suffix", "-m", data, tmp_path / "out").returncode == 0
    assert ids(read(tmp_path / "out")["spk2utt"]) == ["s1-m", "s2-m", "s3-m"]
    assert "utt2uniq" not in read(tmp_path / "out")
    validate(tmp_path / "out")


def test_copy_that_would_not_be_valid(call: Call, write: Write, read: Read, tmp_path: Path) -> None:
    tables = {"utt2spk": ["a y", "b x"], "spk2utt": ["x b", "y a"], "wav.scp": ["a 1", "b 2"]}
    data, out = write(tmp_path / "d", tables), tmp_path / "out"
    result = call("copy_data_dir.sh", data, out)
    assert result.returncode == 1 and not out.exists()
    assert f"copy_data_dir.sh: {out}/utt2spk:2: speaker 'x' after 'y'" in result.stderr
    assert call("copy_data_dir.sh", "--validate-opts", "--no-spk-sort --no-text", data, out).returncode == 0
    assert read(out) == tables


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--utt-prefix", "a b", "{data}", "{out}"], "--utt-prefix 'a b': an id holds no white space"),
        (["--validate-opts", "--no-such", "{data}", "{out}"], "validate_data_dir.sh has no option --no-such"),
        (["{data}", "{data}"], "source and destination are the same directory"),
        (["{out}", "{data}"], "no such directory"),
        (["--utt-prefix=x", "{data}", "{out}"], "an option is written with a space, --utt-prefix x"),
    ],
)
def test_copy_refused(call: Call, data: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    out = tmp_path / "out"
    result = call("copy_data_dir.sh", *[a.format(data=data, out=out) for a in arguments])
    assert result.returncode == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1
    assert not out.exists()


# ---------------------------------------------------------------------------------------------- combine


@pytest.fixture
def other(call: Call, data: Path, tmp_path: Path) -> Path:
    """The same corpus under other ids; with segments it shares the recordings."""
    assert (
        call("copy_data_dir.sh", "--utt-prefix", "b-", "--spk-prefix", "b-", data, tmp_path / "other").returncode == 0
    )
    return tmp_path / "other"


def test_combine(call: Call, data: Path, other: Path, read: Read, validate: Validate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call("combine_data.sh", out, data, other)
    assert result.returncode == 0, result.stderr
    validate(out)
    one, two, both = read(data), read(other), read(out)
    assert set(both) == set(two)
    for name in set(one) - {"spk2utt"}:
        assert both[name] == sorted(set(one[name] + two[name]))
    assert both["utt2uniq"] == sorted([f"{i} {i}" for i in ids(one["utt2spk"])] + two["utt2uniq"])
    assert "kept 16 utterances out of 16, 6 speakers out of 6" in result.stdout
    assert [p.name for p in out.iterdir() if p.name[0] == "."] == []


def test_a_table_that_one_lacks_is_left_out(call: Call, data: Path, other: Path, read: Read, tmp_path: Path) -> None:
    (other / "vad.scp").unlink()
    result = call("combine_data.sh", tmp_path / "out", data, other)
    assert result.returncode == 0 and "vad.scp" not in read(tmp_path / "out")
    assert f"combine_data.sh: vad.scp is left out, it is missing in: {other}" in result.stdout


def test_segments_for_the_one_without(
    call: Call, content: Content, write: Write, read: Read, validate: Validate, tmp_path: Path
) -> None:
    whole = {
        "utt2spk": ["t1-a t1", "t1-b t1"],
        "spk2utt": ["t1 t1-a t1-b"],
        "wav.scp": ["t1-a /a", "t1-b /b"],
        "utt2dur": ["t1-a 2.5", "t1-b 3"],
    }
    cut = {name: rows for name, rows in content(True).items() if name in (*whole, "segments")}
    one, two, out = write(tmp_path / "one", cut), write(tmp_path / "two", whole), tmp_path / "out"
    assert call("combine_data.sh", out, one, two).returncode == 0
    assert read(out)["segments"] == [*cut["segments"], "t1-a t1-a 0 2.5", "t1-b t1-b 0 3"]
    validate(out)
    (two / "utt2dur").unlink()
    result = call("combine_data.sh", tmp_path / "out2", one, two)
    assert result.returncode == 1 and f"{two}/utt2dur: no such file, needed to make segments" in result.stderr
    assert not (tmp_path / "out2").exists()


def test_the_same_utterances_twice_are_one(call: Call, data: Path, read: Read, tmp_path: Path) -> None:
    call("subset_data_dir.sh", "--first", data, 5, tmp_path / "a")
    call("subset_data_dir.sh", "--last", data, 5, tmp_path / "b")
    result = call("combine_data.sh", tmp_path / "out", tmp_path / "a", tmp_path / "b")
    assert result.returncode == 0, result.stderr
    assert read(tmp_path / "out") == read(data)
    assert "speakers of more than one source, taken as the same: 2: s1 s2" in result.stdout


CONFLICTS = [
    ("wav.scp", "/audio/s1-r0", "/else/s1-r0", False),
    ("utt2spk", "s1-r0-1 s1", "s1-r0-1 s0", False),
    ("segments", "s1-r0-1 s1-r0 1.0", "s1-r0-1 s1-r0 1.2", True),
    ("utt2dur", "s1-r0-1 2.5", "s1-r0-1 2.6", False),
    ("spk2gender", "s2 m", "s2 f", False),
]


@pytest.mark.parametrize(("name", "old", "new", "segments"), CONFLICTS)
def test_one_id_with_two_meanings(
    call: Call,
    content: Content,
    write: Write,
    read: Read,
    tmp_path: Path,
    name: str,
    old: str,
    new: str,
    segments: bool,
) -> None:
    tables = content(segments)
    one, out = write(tmp_path / "one", tables), write(tmp_path / "out", {"utt2spk": ["kept k"]})
    changed = [row.replace(old, new) for row in tables[name]]
    two = write(tmp_path / "two", {**tables, name: changed})
    differing = [a.split()[0] for a, b in zip(tables[name], changed, strict=True) if a != b]
    result = call("combine_data.sh", out, one, two)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    expected = (
        f"{two}/{name}: the lines of {len(differing)} ids differ from those in {one}/{name}: {' '.join(differing)}"
    )
    assert expected in result.stderr and "utils/copy_data_dir.sh --utt-prefix" in result.stderr
    assert read(out) == {"utt2spk": ["kept k"]}
    assert sorted(p.name for p in out.iterdir()) == ["utt2spk"]


def test_one_recording_with_two_meanings(call: Call, content: Content, write: Write, tmp_path: Path) -> None:
    tables = content(True)
    one = write(tmp_path / "one", tables)
    two = write(tmp_path / "two", {**tables, "wav.scp": [row.replace("/audio", "/else") for row in tables["wav.scp"]]})
    result = call("combine_data.sh", tmp_path / "out", one, two)
    assert result.returncode == 1
    assert f"the lines of 5 ids differ from those in {one}/wav.scp: s1-r0 s1-r1 s2-r0 s2-r1 s3-r0, " in result.stderr
    assert f"rename the recordings in {two}/wav.scp and {two}/segments" in result.stderr


def test_the_same_relative_names_in_two_corpora_differ(call: Call, write: Write, tmp_path: Path) -> None:
    for corpus in ("x", "y"):
        (tmp_path / corpus / "audio").mkdir(parents=True)
        (tmp_path / corpus / "audio" / "a.flac").touch()
        write(tmp_path / corpus / "train", {"utt2spk": ["a s"], "spk2utt": ["s a"], "wav.scp": ["a audio/a.flac"]})
    result = call("combine_data.sh", "out", tmp_path / "x" / "train", tmp_path / "y" / "train", cwd=tmp_path)
    assert result.returncode == 1 and "the lines of 1 ids differ" in result.stderr


def test_extra_files_and_skip_fix(call: Call, data: Path, other: Path, read: Read, tmp_path: Path) -> None:
    (data / "trials").write_text("s1-r0-1 s1-r0-0 target\ns1-r0-1 s2-r0-0 nontarget\n")
    (other / "trials").write_text("b-s1-r0-0 b-s1-r0-1 target\n")
    (data / "vad.scp").write_text("s1-r0-0 x:1\n")
    options = ["--extra-files", "trials", "--skip-fix", "true"]
    assert call("combine_data.sh", *options, tmp_path / "out", data, other).returncode == 0
    both = read(tmp_path / "out")
    assert both["trials"] == [
        "b-s1-r0-0 b-s1-r0-1 target",
        "s1-r0-1 s1-r0-0 target",
        "s1-r0-1 s2-r0-0 nontarget",
    ]
    assert len(both["utt2spk"]) == 16 and len(both["vad.scp"]) == 9
    assert call("combine_data.sh", tmp_path / "fixed", data, other).returncode == 0
    assert len(read(tmp_path / "fixed")["utt2spk"]) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--skip-fix", "yes", "{out}", "{data}"], "option --skip-fix takes true or false"),
        (["--extra-files", "none", "{out}", "{data}"], "/none: no such file, --extra-files needs it in every source"),
        (["--extra-files", "text", "{out}", "{data}"], "'text' is a table of every data directory"),
        (["{data}", "{data}"], "the destination is one of the sources"),
        (["{out}", "{data}", "{out}/none"], "no such directory"),
    ],
)
def test_combine_refused(call: Call, data: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    out = tmp_path / "out"
    result = call("combine_data.sh", *[a.format(data=data, out=out) for a in arguments])
    assert result.returncode == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1
    assert not out.exists()


def test_frame_shift(call: Call, data: Path, other: Path, read: Read, tmp_path: Path) -> None:
    (data / "frame_shift").write_text("0.01\n")
    assert call("combine_data.sh", tmp_path / "a", data, other).returncode == 0
    assert read(tmp_path / "a")["frame_shift"] == ["0.01"]
    (other / "frame_shift").write_text("0.0125\n")
    result = call("combine_data.sh", tmp_path / "b", data, other)
    assert result.returncode == 1 and "frame_shift differs between the sources" in result.stderr
