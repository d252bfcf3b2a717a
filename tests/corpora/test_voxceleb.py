"""imlkd/corpora/voxceleb.py on a tree of VoxCeleb1's shape."""

from pathlib import Path

import pytest

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.trials import read_trials
from imlkd.corpora.voxceleb import find_wavs, kaldi_id, prepare_voxceleb1
from imlkd.errors import UserError

DEV = ["id10001/1zcIwhmdeo4/00001.wav", "id10001/1zcIwhmdeo4/00002.wav", "id10002/-fJ_x8q2D0A/00001.wav"]
TEST = ["id10270/x6uYqmx31kE/00001.wav", "id10270/GWXujl-xAVM/00017.wav", "id10271/1gtz-CUIygI/00001.wav"]
LIST = [f"1 {TEST[0]} {TEST[1]}", f"0 {TEST[0]} {TEST[2]}"]


def make_tree(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"audio")
    return root


def make_list(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    return make_list(tmp_path / "veri_test2.txt", LIST)


@pytest.mark.parametrize("layout", ["", "wav", "split", "split/wav"])
def test_speakers_of_the_list_are_the_test_set(tmp_path: Path, trials: Path, layout: str) -> None:
    root = tmp_path / "vox1"
    dev, test = (root / layout.replace("split", part) for part in ("dev", "test"))
    make_tree(dev, DEV)
    make_tree(test, TEST)
    said: list[str] = []
    made = prepare_voxceleb1(root, trials, tmp_path / "out", said.append)
    train_data, test_data = read_data_dir(made.train), read_data_dir(made.test)
    assert train_data.utterances == [
        "id10001-1zcIwhmdeo4-00001", "id10001-1zcIwhmdeo4-00002", "id10002--fJ_x8q2D0A-00001"
    ]
    assert list(test_data.spk2utt) == ["id10270", "id10271"]
    assert test_data.utt2spk["id10270-GWXujl-xAVM-00017"] == "id10270"
    assert test_data.wav["id10270-GWXujl-xAVM-00017"] == str(test / TEST[1])
    assert made.trials.read_text() == (
        "id10270-x6uYqmx31kE-00001 id10270-GWXujl-xAVM-00017 target\n"
        "id10270-x6uYqmx31kE-00001 id10271-1gtz-CUIygI-00001 nontarget\n"
    )
    assert read_trials(made.trials).layout == "kaldi"
    assert said[0].endswith("vox1_dev: 2 speakers, 3 utterances (the whole corpus has 1211 and 148642)")


def test_kaldi_lists_are_taken_too(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "vox1/wav", DEV + TEST)
    lines = ["id10270-x6uYqmx31kE-00001 id10270-GWXujl-xAVM-00017 target",
             "id10270-x6uYqmx31kE-00001 id10271-1gtz-CUIygI-00001 nontarget"]
    made = prepare_voxceleb1(root, make_list(tmp_path / "trials", lines), tmp_path / "out")
    assert made.trials.read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("id10270/x6uYqmx31kE/00001.wav", "id10270-x6uYqmx31kE-00001"),
        ("id10270-x6uYqmx31kE-00001", "id10270-x6uYqmx31kE-00001"),
        ("id10270/x6uYqmx31kE/00001.flac", "id10270/x6uYqmx31kE/00001.flac"),
    ],
)
def test_ids(name: str, expected: str) -> None:
    assert kaldi_id(name) == expected


def test_again_follows_the_tree(tmp_path: Path, trials: Path) -> None:
    root = make_tree(tmp_path / "vox1/wav", DEV + TEST)
    prepare_voxceleb1(root, trials, tmp_path / "out")
    (root / DEV[2]).unlink()
    made = prepare_voxceleb1(root, trials, tmp_path / "out")
    assert list(read_data_dir(made.train).spk2utt) == ["id10001"]


def test_an_utterance_of_the_list_that_is_not_there(tmp_path: Path, trials: Path) -> None:
    root = make_tree(tmp_path / "vox1/wav", DEV + TEST[:2])
    with pytest.raises(UserError) as caught:
        prepare_voxceleb1(root, trials, tmp_path / "out")
    assert "1 of 2 test ids are not in" in str(caught.value) and "id10271-1gtz-CUIygI-00001" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_list_of_all_speakers_leaves_none_to_train_on(tmp_path: Path, trials: Path) -> None:
    root = make_tree(tmp_path / "vox1/wav", TEST)
    with pytest.raises(UserError, match=r"names all 2 speakers of .*, none are left to train on: give the list of"):
        prepare_voxceleb1(root, trials, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_utterance_twice(tmp_path: Path, trials: Path) -> None:
    make_tree(tmp_path / "vox1/wav", DEV + TEST)
    make_tree(tmp_path / "vox1/dev/wav", DEV[:1])
    with pytest.raises(UserError, match=r"id10001-1zcIwhmdeo4-00001 is also .*: keep one of the two"):
        prepare_voxceleb1(tmp_path / "vox1", trials, tmp_path / "out")


def test_a_link_to_the_same_folders_counts_once(tmp_path: Path) -> None:
    make_tree(tmp_path / "vox1/wav", DEV)
    (tmp_path / "vox1/dev").symlink_to("wav")
    assert len(find_wavs(tmp_path / "vox1")) == len(DEV)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no such folder"),
        (["aac/id00012/21Uxsk56VDQ/00001.m4a"], "unpack VoxCeleb1 there"),
        (["wav/A.J._Buckley/1zcIwhmdeo4/00001.wav"], "holds no idNNNNN/VIDEO/NNNNN.wav"),
    ],
)
def test_no_such_tree(tmp_path: Path, trials: Path, names: list[str], message: str) -> None:
    make_tree(tmp_path / "vox1", names)
    with pytest.raises(UserError, match=message):
        prepare_voxceleb1(tmp_path / "vox1", trials, tmp_path / "out")


def test_what_a_copy_leaves_beside_the_files_is_no_audio(tmp_path: Path) -> None:
    make_tree(tmp_path / "vox1/wav", [*DEV, "id10001/1zcIwhmdeo4/._00001.wav"])
    assert len(find_wavs(tmp_path / "vox1")) == len(DEV)
