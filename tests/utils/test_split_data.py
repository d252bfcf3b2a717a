"""split_data.sh: who goes where, what goes along, and when the split is made anew."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Call = Callable[..., CompletedProcess[str]]
Content = Callable[[bool], dict[str, list[str]]]
Write = Callable[[Path, dict[str, list[str]]], Path]
Read = Callable[[Path], dict[str, list[str]]]
Validate = Callable[[Path], None]


def ids(rows: list[str]) -> list[str]:
    return [row.split()[0] for row in rows]


@pytest.mark.parametrize("option", [[], ["--per-utt"]], ids=["speakers", "per-utt"])
def test_parts(call: Call, data: Path, read: Read, validate: Validate, option: list[str]) -> None:
    result = call("split_data.sh", *option, data, 2)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    folder = data / ("split2utt" if option else "split2")
    assert sorted(p.name for p in folder.iterdir() if p.name[0] != ".") == ["1", "2"]
    whole, parts = read(data), [read(folder / n) for n in "12"]
    for part in ("1", "2"):
        validate(folder / part)
    by_utterance = ["utt2spk", "feats.scp", "vad.scp", "text", "utt2dur", "utt2num_frames"]
    by_utterance += ["segments"] if "segments" in whole else ["wav.scp", "reco2dur"]
    for name in by_utterance:  # put together again, in order
        assert parts[0][name] + parts[1][name] == whole[name]
    for name in ("wav.scp", "reco2dur", "spk2gender"):
        assert all(set(part[name]) <= set(whole[name]) for part in parts)
    assert ids(parts[0]["utt2spk"]) == ids(whole["utt2spk"])[:4]
    assert ids(parts[0]["spk2gender"]) == ["s1"] and ids(parts[1]["spk2gender"]) == ["s2", "s3"]


def test_only_the_recordings_that_a_part_needs(
    call: Call, content: Content, write: Write, read: Read, tmp_path: Path
) -> None:
    data = write(tmp_path / "d", content(True))
    assert call("split_data.sh", "--per-utt", data, 8).returncode == 0
    wavs = [ids(read(data / "split8utt" / str(n))["wav.scp"]) for n in range(1, 9)]
    assert wavs == [["s1-r0"], ["s1-r0"], ["s1-r1"], ["s1-r1"], ["s2-r0"], ["s2-r0"], ["s2-r1"], ["s3-r0"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["4"], "4 jobs for 3 speakers, use at most 3 jobs, or --per-utt"),
        (["--per-utt", "9"], "9 jobs for 8 utterances, use at most 8 jobs"),
        (["0"], "the number of jobs is a whole number from 1, not '0'"),
        (["x"], "the number of jobs is a whole number from 1, not 'x'"),
    ],
)
def test_impossible_numbers(call: Call, data: Path, arguments: list[str], message: str) -> None:
    *options, number = arguments
    before = sorted(data.iterdir())
    result = call("split_data.sh", *options, data, number)
    assert result.returncode == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1
    assert [p for p in sorted(data.iterdir()) if p.name != ".split.lock"] == before


def test_as_many_jobs_as_speakers(call: Call, data: Path, read: Read) -> None:
    assert call("split_data.sh", data, 3).returncode == 0
    assert [ids(read(data / "split3" / n)["spk2utt"]) for n in "123"] == [["s1"], ["s2"], ["s3"]]


def test_speakers_between_each_other(call: Call, write: Write, read: Read, validate: Validate, tmp_path: Path) -> None:
    """utt2spk that is not sorted by speaker: a speaker still stays in one part."""
    wavs = ["a 1", "b 2", "c 3", "d 4"]
    data = write(tmp_path, {"utt2spk": ["a y", "b x", "c y", "d x"], "spk2utt": ["x b d", "y a c"], "wav.scp": wavs})
    assert call("split_data.sh", data, 2).returncode == 0
    assert read(data / "split2" / "1") == {"utt2spk": ["b x", "d x"], "spk2utt": ["x b d"], "wav.scp": ["b 2", "d 4"]}


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {f: (f.stat().st_ino, f.stat().st_mtime_ns) for f in sorted(folder.rglob("*"))}


def later(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


def test_nothing_is_done_again(call: Call, data: Path) -> None:
    call("split_data.sh", data, 2)
    before = state(data / "split2")
    later(data / "spk2utt")  # follows from utt2spk
    assert call("split_data.sh", data, 2).returncode == 0
    assert state(data / "split2") == before


@pytest.mark.parametrize("change", ["touched", "new file", "file gone", "part gone", "marker gone"])
def test_made_anew(call: Call, data: Path, read: Read, change: str) -> None:
    call("split_data.sh", data, 2)
    before = state(data / "split2")
    if change == "touched":
        later(data / "wav.scp")
    elif change == "new file":
        (data / "utt2lang").write_text("".join(f"{line.split()[0]} en\n" for line in read(data)["utt2spk"]))
    elif change == "file gone":
        (data / "vad.scp").unlink()
    elif change == "part gone":
        (data / "split2" / "2" / "utt2spk").unlink()
    else:
        (data / "split2" / ".done").unlink()
    assert call("split_data.sh", data, 2).returncode == 0
    assert not set(state(data / "split2").values()) & set(before.values())
    for part in "12":
        names = set(read(data / "split2" / part))
        assert names == set(read(data))
    assert sorted(p.name for p in data.iterdir() if p.is_dir()) == ["split2"]


def test_bad_table_leaves_the_old_split(call: Call, data: Path) -> None:
    call("split_data.sh", data, 2)
    before = state(data / "split2")
    (data / "utt2dur").write_text("s2 1\ns1 1\n")
    result = call("split_data.sh", data, 2)
    assert result.returncode == 1 and "utt2dur:2: 's1' after 's2' is out of order" in result.stderr
    assert state(data / "split2") == before
    assert sorted(p.name for p in data.iterdir() if p.is_dir()) == ["split2"]


def test_names_relative_to_the_corpus_stay_valid(
    call: Call, content: Content, write: Write, read: Read, tmp_path: Path
) -> None:
    tables = content(False)
    tables["wav.scp"] = [row.replace("/audio", "audio") for row in tables["wav.scp"]]
    data = write(tmp_path / "corpus" / "train", tables)
    first = tmp_path / "corpus" / tables["wav.scp"][0].split()[1]
    first.parent.mkdir()
    first.touch()
    result = call("split_data.sh", data, 2, cwd=tmp_path)
    assert f"wav.scp: names are relative to {tmp_path}/corpus, written as absolute ones" in result.stdout
    assert read(data / "split2" / "1")["wav.scp"][0] == f"s1-r0-0 {first}"
    later(data / "wav.scp")
    assert call("split_data.sh", data, 2, cwd=tmp_path / "corpus").stdout == ""  # Kaldi's rule: from where we are
    assert read(data / "split2" / "1")["wav.scp"][0] == tables["wav.scp"][0]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), share=st.floats(0, 1))
def test_even_shares(
    call: Call, write: Write, read: Read, tmp_path_factory: pytest.TempPathFactory, sizes: list[int], share: float
) -> None:
    jobs = 1 + round(share * (len(sizes) - 1))
    rows = [f"s{s:02d}-{u} s{s:02d}" for s, size in enumerate(sizes) for u in range(size)]
    data = write(tmp_path_factory.mktemp("d"), {"utt2spk": rows, "wav.scp": [f"{r.split()[0]} x" for r in rows]})
    result = call("split_data.sh", data, jobs)
    assert result.returncode == 0, result.stderr
    parts = [read(data / f"split{jobs}" / str(n + 1))["utt2spk"] for n in range(jobs)]
    assert [row for part in parts for row in part] == rows
    speakers = [{row.split()[1] for row in part} for part in parts]
    assert sum(map(len, speakers)) == len(sizes) and all(speakers)
    # A cut is off by at most half a speaker, unless parts have to be left for the speakers that follow.
    assert max(map(len, parts)) <= len(rows) / jobs + max(sizes) + max(0, jobs - 1)


def test_two_at_once(data: Path, call: Call, read: Read) -> None:
    """Two stages that want the same split get it whole."""
    script = Path(__file__).resolve().parents[2] / "utils" / "split_data.sh"
    both = [subprocess.Popen([str(script), str(data), "2"]) for _ in range(4)]
    assert [p.wait(30) for p in both] == [0] * 4
    assert sum(len(read(data / "split2" / n)["utt2spk"]) for n in "12") == 8
    assert sorted(p.name for p in data.iterdir() if p.is_dir()) == ["split2"]
