"""fix_data_dir.sh: what is cured, what is said about it, what is kept safe, and what has no cure."""

import random
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import kaldi_native_io
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Call = Callable[..., CompletedProcess[str]]
Content = Callable[[bool], dict[str, list[str]]]
Write = Callable[[Path, dict[str, list[str]]], Path]
Read = Callable[[Path], dict[str, list[str]]]
Validate = Callable[[Path], None]


def lines(call: Call, data: Path, *options: str) -> list[str]:
    result = call("fix_data_dir.sh", *options, data)
    assert result.returncode == 0, result.stderr
    prefix = f"fix_data_dir.sh: {data}: "
    assert all(line.startswith(prefix) for line in result.stdout.splitlines())
    return [line.removeprefix(prefix) for line in result.stdout.splitlines()]


def test_nothing_to_do(call: Call, data: Path, read: Read) -> None:
    before = {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in data.iterdir()}
    assert lines(call, data) == ["kept 8 utterances out of 8, 3 speakers out of 3", "nothing to change"]
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in data.iterdir()} == before


def test_what_is_left_out_everywhere(call: Call, content: Content, write: Write, read: Read, tmp_path: Path) -> None:
    tables = content(True)
    tables["feats.scp"] = [x for x in tables["feats.scp"] if not x.startswith("s1-r0-1 ")]
    tables["wav.scp"] = [x for x in tables["wav.scp"] if not x.startswith("s2-r1 ")]
    tables["spk2gender"] = [x for x in tables["spk2gender"] if not x.startswith("s3 ")]
    tables["vad.scp"].append("zz-1 x:1")
    data = write(tmp_path, tables)
    report = lines(call, data)
    assert report == [
        "1 without a line in feats.scp: s1-r0-1",
        "1 without a line in spk2gender: s3-r0-0",
        "1 without a line in wav.scp: s2-r1-2",
        "reco2dur: lines of no kept recording: 2: s2-r1 s3-r0",
        "vad.scp: lines of no kept utterance: 1: zz-1",
        "wav.scp: lines of no kept recording: 1: s3-r0",
        "dropped 3 utterances: s1-r0-1 s2-r1-2 s3-r0-0",
        "kept 5 utterances out of 8, 2 speakers out of 3",
        "changed feats.scp reco2dur segments spk2utt text utt2dur utt2num_frames utt2spk vad.scp wav.scp; "
        f"old files are kept in {data}/.backup",
    ]
    kept = ["s1-r0-0", "s1-r1-2", "s1-r1-3", "s2-r0-0", "s2-r0-1"]
    result = read(data)
    for name in ("utt2spk", "segments", "feats.scp", "vad.scp", "text", "utt2dur", "utt2num_frames"):
        assert [line.split()[0] for line in result[name]] == kept
    assert result["spk2utt"] == ["s1 s1-r0-0 s1-r1-2 s1-r1-3", "s2 s2-r0-0 s2-r0-1"]
    assert [line.split()[0] for line in result["wav.scp"]] == ["s1-r0", "s1-r1", "s2-r0"]
    backup = read(data / ".backup")
    assert backup == {name: tables[name] for name in backup}
    assert "spk2gender" not in backup  # it did not change


def test_five_ids_are_shown(call: Call, content: Content, write: Write, tmp_path: Path) -> None:
    tables = content(False)
    tables["text"] = tables["text"][-1:]
    report = lines(call, write(tmp_path, tables))
    assert "7 without a line in text: s1-r0-0 s1-r0-1 s1-r1-2 s1-r1-3 s2-r0-0 ..." in report
    assert "dropped 7 utterances: s1-r0-0 s1-r0-1 s1-r1-2 s1-r1-3 s2-r0-0 ..." in report


Edit = Callable[[bytes], bytes]
CURED: list[tuple[str, Edit, str]] = [
    ("utt2spk", lambda t: b"".join(reversed(t.splitlines(keepends=True))), ""),
    ("wav.scp", lambda t: b"".join(reversed(t.splitlines(keepends=True))), ""),
    ("wav.scp", lambda t: t + t, "wav.scp: repeated lines: 8, cleaned"),
    ("utt2dur", lambda t: t.replace(b"\n", b"\r\n"), "utt2dur: DOS line ends: 8, cleaned"),
    ("text", lambda t: t[:-1], "text: missing newline: 1, cleaned"),
    ("feats.scp", lambda t: b"\n" + t + b"  \n", "feats.scp: empty lines: 2, cleaned"),
    ("spk2utt", lambda t: b"s1 nonsense\n", ""),
    ("spk2utt", lambda t: b"", ""),
]


@pytest.mark.parametrize(("name", "edit", "note"), CURED)
def test_cured_without_loss(
    call: Call, content: Content, write: Write, validate: Validate, tmp_path: Path, name: str, edit: Edit, note: str
) -> None:
    data = write(tmp_path, content(False))
    good = {f.name: f.read_bytes() for f in data.iterdir()}
    (data / name).write_bytes(edit(good[name]))
    report = lines(call, data)
    assert report[-2:] == [
        "kept 8 utterances out of 8, 3 speakers out of 3",
        f"changed {name}; old files are kept in {data}/.backup",
    ]
    assert report[:-2] == ([note] if note else [])
    assert {f.name: f.read_bytes() for f in data.iterdir() if f.is_file()} == good
    assert (data / ".backup" / name).read_bytes() == edit(good[name])
    validate(data)


@pytest.mark.parametrize(
    ("name", "old", "new", "note"),
    [
        ("segments", " 1.0 1.95", " 1.95 1.0", "'s1-r0-1': end 1.0 must be later than start 1.95"),
        ("utt2dur", " 2.5", " 0", "'s1-r0-1': duration '0' must be a number of seconds above 0"),
        ("utt2num_frames", " 250", " -1", "'s1-r0-1': number of frames '-1' must be a whole number above 0"),
    ],
)
def test_impossible_values_are_dropped(
    call: Call, content: Content, write: Write, read: Read, tmp_path: Path, name: str, old: str, new: str, note: str
) -> None:
    data = write(tmp_path, content(True))
    (data / name).write_text((data / name).read_text().replace(old, new, 1))
    report = lines(call, data)
    assert f"{name}: impossible values: 1, the first {note}" in report
    assert "dropped 1 utterances: s1-r0-1" in report
    assert "s1-r0-1" not in (data / "utt2spk").read_text()


NO_CURE: list[tuple[str, Edit, str]] = [
    ("utt2spk", lambda t: t + b"s1-r0-0 s2\n", "utt2spk:9: 's1-r0-0' stands in line 1 with another value, delete the"),
    ("wav.scp", lambda t: b"s2-r0-0 /other.flac\n" + t, "wav.scp:6: 's2-r0-0' stands in line 1 with another value"),
    ("utt2spk", lambda t: t.replace(b"s1-r0-1 s1", b"s1-r0 1 s1"), "utt2spk:2: 3 columns instead of 2"),
    ("wav.scp", lambda t: t.replace(b"/audio/s1-r0-1", b"/\xe9"), "wav.scp:2: not UTF-8"),
    ("wav.scp", lambda t: t.replace(b"/audio/s1-r0-1", b"~/x"), "wav.scp:2: 's1-r0-1': '~' is not expanded"),
    ("spk2gender", lambda t: t.replace(b"s2 m", b"s2 male"), "spk2gender:2: 's2': gender 'male' must be m or f"),
    ("text", lambda t: b"other words\n", "no utterance is in every table, nothing was changed: 8 without a line"),
    ("utt2spk", lambda t: b"", "utt2spk: the file is empty"),
]


@pytest.mark.parametrize(("name", "edit", "message"), NO_CURE)
def test_no_cure_leaves_all_as_it_was(
    call: Call, content: Content, write: Write, tmp_path: Path, name: str, edit: Edit, message: str
) -> None:
    data = write(tmp_path, content(False))
    (data / name).write_bytes(edit((data / name).read_bytes()))
    before = {f: f.read_bytes() for f in data.iterdir()}
    result = call("fix_data_dir.sh", data)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and message in result.stderr
    assert {f: f.read_bytes() for f in data.iterdir()} == before


def test_missing_utt2spk_names_the_way_to_it(call: Call, data: Path) -> None:
    (data / "utt2spk").unlink()
    assert f"utils/spk2utt_to_utt2spk.pl {data}/spk2utt > {data}/utt2spk" in call("fix_data_dir.sh", data).stderr


def test_missing_spk2utt_is_made(call: Call, data: Path, validate: Validate) -> None:
    old = (data / "spk2utt").read_text()
    (data / "spk2utt").unlink()
    lines(call, data)
    assert (data / "spk2utt").read_text() == old
    validate(data)


def test_extra_files(call: Call, content: Content, write: Write, read: Read, tmp_path: Path) -> None:
    tables = content(False)
    tables["feats.scp"] = [x for x in tables["feats.scp"] if not x.startswith(("s1-r0-1 ", "s3"))]
    extra = {"snr": ["s2-r0-0 3", "s1-r0-1 4", "s1-r0-0 5", "s1-r0-0 6"], "age": ["s3 40", "s1 20"], "trials": ["s3 x"]}
    data = write(tmp_path, {**tables, **extra})
    lines(call, data, "--utt-extra-files", "snr", "--spk-extra-files", "age")
    result = read(data)
    assert result["snr"] == ["s1-r0-0 5", "s1-r0-0 6", "s2-r0-0 3"]
    assert result["age"] == ["s1 20"]
    assert result["trials"] == ["s3 x"]


def test_backup_keeps_what_was_replaced_last(call: Call, content: Content, write: Write, tmp_path: Path) -> None:
    """A second call that changes nothing must not put the repaired files over the saved ones."""
    data = write(tmp_path, content(False))
    broken = (data / "wav.scp").read_text() * 2
    (data / "wav.scp").write_text(broken)
    lines(call, data)
    lines(call, data)
    assert (data / ".backup" / "wav.scp").read_text() == broken


def strict_tokens(path: Path) -> dict[str, str]:
    """Kaldi's own table reader, told that the file is sorted: it ends the program or misses keys when it is not."""
    expected = [line.split()[0] for line in path.read_text().splitlines()]
    with kaldi_native_io.RandomAccessTokenReader(f"ark,t,s,cs:{path}") as reader:
        return {key: reader[key] for key in expected}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), segments=st.booleans())
def test_any_mess_becomes_valid(
    call: Call,
    content: Content,
    write: Write,
    read: Read,
    validate: Validate,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    segments: bool,
) -> None:
    """Lines lost, repeated, shuffled: the result is valid, holds only old lines, and all that every table knew."""
    draw = random.Random(seed)
    tables = content(segments)
    messy = {}
    for name, rows in tables.items():
        kept = [row for row in rows if draw.random() > 0.06]
        messy[name] = draw.sample(kept + draw.choices(kept, k=2), len(kept) + 2) if kept else rows
    data = write(tmp_path_factory.mktemp("mess"), messy)
    result = call("fix_data_dir.sh", data)
    known = {name: {row.split()[0] for row in rows} for name, rows in messy.items()}
    owner = dict(row.split() for row in messy["utt2spk"])
    recording = {row.split()[0]: row.split()[1] for row in messy.get("segments", [])}
    survivors = sorted(
        utt
        for utt in known["utt2spk"]
        if all(utt in known[n] for n in ("feats.scp", "vad.scp", "text", "utt2dur", "utt2num_frames"))
        and owner[utt] in known["spk2gender"]
        and (not segments or utt in recording)
        and all(recording.get(utt, utt) in known[n] for n in ("wav.scp", "reco2dur"))
    )
    if not survivors:
        assert result.returncode == 1 and "no utterance is in every table" in result.stderr
        return
    assert result.returncode == 0, result.stderr
    validate(data)
    assert list(strict_tokens(data / "utt2spk")) == survivors
    for name, rows in read(data).items():
        assert name == "spk2utt" or set(rows) <= set(messy[name])
