"""`imlkd data fix` against Kaldi's rules as utils/fix_data_dir.sh has them, on damage that is drawn."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.lhotse.cuts import read_cuts, to_cuts, write_cuts
from imlkd.corpora.repair import fix_data_dir, fix_manifest
from imlkd.errors import UserError
from imlkd.kaldi_io import write_table

ROOT = Path(__file__).parents[2]
DAMAGE = ("drop", "repeat", "swap", "stranger", "impossible", "blank")


@pytest.fixture
def whole(corpus: object, tmp_path: Path) -> Path:
    folder: Path = corpus(tmp_path / "d", ("s1", "s2", "s3"), segments=True)  # type: ignore[operator]
    names = read_data_dir(folder).utterances
    write_table(folder / "utt2dur", dict.fromkeys(names, "0.5"))
    write_table(folder / "feats.scp", {name: f"/a.ark:{index}" for index, name in enumerate(names)})
    write_table(folder / "reco2dur", dict.fromkeys(read_data_dir(folder).wav, "1.0"))
    return folder


def damage(path: Path, kind: str, at: int) -> None:
    lines = path.read_text().splitlines(keepends=True)
    at %= len(lines)
    if kind == "drop":
        del lines[at]
    elif kind == "repeat":
        lines.append(lines[at])
    elif kind == "swap":
        lines.insert(0, lines.pop(at))
    elif kind == "stranger":
        lines.append(lines[at].replace("s", "zz", 1))
    elif kind == "blank":
        lines.insert(at, "\n")
    elif path.name == "segments":
        name, recording, start, _ = lines[at].split()
        lines[at] = f"{name} {recording} {start} 0.0\n"
    elif path.name == "utt2dur":
        lines[at] = f"{lines[at].split()[0]} -1\n"
    path.write_text("".join(lines))


def tables_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(
    st.tuples(
        st.sampled_from(["wav.scp", "utt2spk", "segments", "utt2dur", "spk2gender", "feats.scp", "reco2dur"]),
        st.sampled_from(DAMAGE), st.integers(0, 11),
    ), max_size=6,
))  # fmt: skip
def test_mended_as_kaldi_mends(drawn: list[tuple[str, str, int]], whole: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")
        shutil.copytree(whole, ours)
        for name, kind, at in drawn:
            damage(ours / name, kind, at)
        shutil.copytree(ours, theirs)
        done = subprocess.run(["utils/fix_data_dir.sh", theirs], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            with pytest.raises(UserError):
                fix_data_dir(ours, lambda line: None)
            return
        said: list[str] = []
        kept = fix_data_dir(ours, said.append)
        assert tables_of(ours) == tables_of(theirs), (said, done.stdout)
        assert kept == len(read_data_dir(ours).utt2spk)
        assert fix_data_dir(ours, said.append) == kept and said[-1] == f"{ours}: nothing to change"


def test_old_files_are_kept_and_nothing_changes_on_an_error(whole: Path) -> None:
    before = (whole / "utt2dur").read_text()
    damage(whole / "utt2dur", "drop", 0)
    damaged = (whole / "utt2dur").read_text()
    said: list[str] = []
    assert fix_data_dir(whole, said.append) == 11
    assert said[0] == "utt2dur: no line for 1 utterances, which go: s1-r1-a"
    assert not (whole / ".backup/utt2dur").exists() and (whole / ".backup/utt2spk").is_file()
    (whole / "utt2dur").write_text(damaged + before.splitlines()[-1].replace("0.5", "0.6") + "\n")
    content = tables_of(whole)
    with pytest.raises(UserError, match=r"utt2dur:12: s3-r2-b stands there before with another value"):
        fix_data_dir(whole)
    assert tables_of(whole) == content


def test_a_manifest_is_mended(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    write_cuts(to_cuts(read_data_dir(whole)), path)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    silent = lines[2].replace('"speaker": "s1", ', "")
    spoilt = [*lines[:2], silent, *lines[3:], lines[0], "{"]
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in spoilt).encode()))
    said: list[str] = []
    assert fix_manifest(path, said.append) == 11
    assert said[0] == f"{path}: dropped 3: line 3, line 13 (s1-r1-a again), line 14"
    assert [cut.id for cut in read_cuts(path)] == [name for name in read_data_dir(whole).utt2spk if name != "s1-r2-a"]
    assert (tmp_path / "c.jsonl.gz.backup").is_file()
    path.write_bytes(gzip.compress(f"{lines[0]}\n{lines[0].replace('s1-r1.flac', 'x.flac')}\n".encode()))
    with pytest.raises(UserError, match="c.jsonl.gz:2: s1-r1-a stands there before as another cut"):
        fix_manifest(path)
