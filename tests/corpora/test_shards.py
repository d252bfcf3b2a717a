"""imlkd/corpora/shards.py: tar files as wespeaker and Lhotse Shar write them."""

import io
import tarfile
from pathlib import Path

import pytest

from imlkd.corpora.shards import unpack_shards
from imlkd.corpora.voxceleb.sources import gather
from imlkd.errors import UserError
from tests.corpora.voxceleb_trees import DEV1, TEST1, kaldi, make_list


def make_shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def wespeaker(names: list[str]) -> dict[str, bytes]:
    return {
        key: value
        for n in names
        for key, value in ((f"{n}.wav.spk", n[:7].encode()), (f"{n}.wav.wav", b"audio " + n.encode()))
    }


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    make_shard(tmp_path / "shards/shards_000000001.tar", wespeaker(DEV1))
    shar = {f"{kaldi(n)}.{kind}": b"audio " + n.encode() for n in TEST1 for kind in ("flac", "json")}
    make_shard(tmp_path / "shards/recording.000000.tar", shar)
    return tmp_path / "shards"


def test_a_tree_comes_out_and_an_interrupted_run_goes_on(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "audio"
    assert unpack_shards(shards, out, nj=2) == 6
    found = gather([out]).audio
    assert sorted(found["vox1_dev"]) == sorted(map(kaldi, DEV1)) and len(found["vox1_test"]) == 3
    assert (out / f"{DEV1[2]}.wav").read_bytes() == b"audio " + DEV1[2].encode()
    (out / f"{TEST1[1]}.flac").write_bytes(b"half")
    dates = (out / f"{DEV1[0]}.wav").stat().st_mtime_ns
    assert unpack_shards(make_list(tmp_path / "shard.list", [f"shards/{p.name}" for p in shards.iterdir()]), out) == 6
    assert (out / f"{TEST1[1]}.flac").read_bytes() == b"audio " + TEST1[1].encode()
    assert (out / f"{DEV1[0]}.wav").stat().st_mtime_ns == dates


def test_refused(shards: Path, tmp_path: Path) -> None:
    content = (shards / "shards_000000001.tar").read_bytes()
    (shards / "shards_000000001.tar").write_bytes(content[:1700])
    with pytest.raises(UserError, match=r"shards_000000001.tar: damaged or cut off .*: copy it again"):
        unpack_shards(shards, tmp_path / "a")
    make_shard(shards / "shards_000000001.tar", {"../../../evil.wav": b"x", "/etc/id10001/x/1.wav.txt": b"x"})
    with pytest.raises(UserError, match="holds no audio of VoxCeleb's"):
        unpack_shards(shards, tmp_path / "b")
    make_shard(shards / "shards_000000001.tar", wespeaker(DEV1))
    make_shard(shards / "shards_000000002.tar", wespeaker(DEV1[:1]))
    with pytest.raises(UserError, match="is also in"):
        unpack_shards(shards, tmp_path / "c")
    for source in (tmp_path / "empty", make_list(tmp_path / "l", ["gone.tar"])):
        source.parent.joinpath("empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="holds no .tar|gone.tar is not there"):
            unpack_shards(source, tmp_path / "d")


def test_no_member_leaves_the_folder(shards: Path, tmp_path: Path) -> None:
    make_shard(shards / "x.tar", {"../../id10003/../../up/00001.wav": b"x", **wespeaker(["id10003/abcdefghijk/00001"])})
    unpack_shards(shards, tmp_path / "in/side")
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(tmp_path / "in/side")]
    assert {p.parent for p in outside} == {shards}
