"""imlkd/corpora/voxceleb/prepare.py: which sets come out, what is refused, what is said of what is missing."""

from pathlib import Path

import pytest

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.trials.lists import read_trials
from imlkd.corpora.voxceleb import prepare as voxceleb_prepare
from imlkd.corpora.voxceleb import table as voxceleb_table
from imlkd.corpora.voxceleb.names import PARTS, PUBLISHED, Size
from imlkd.corpora.voxceleb.prepare import VoxOptions, prepare_voxceleb
from imlkd.errors import UserError
from tests.corpora.voxceleb_trees import DEV1, DEV2, LIST_E, LIST_O, TEST1, TEST2, kaldi, make_list, make_tree

PART = VoxOptions(allow_partial=True)


@pytest.fixture
def vox1(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "vox1/wav", DEV1 + TEST1)


@pytest.fixture
def vox2(tmp_path: Path) -> Path:
    make_tree(tmp_path / "vox2/test", TEST2, "flac")
    return make_tree(tmp_path / "vox2/dev", DEV2, "flac").parent


@pytest.fixture
def vox1_o(tmp_path: Path) -> Path:
    return make_list(tmp_path / "veri_test2.txt", LIST_O)


@pytest.fixture
def vox1_e(tmp_path: Path) -> Path:
    return make_list(tmp_path / "list_test_all2.txt", LIST_E)


def test_vox1_alone(vox1: Path, vox1_o: Path, tmp_path: Path) -> None:
    said: list[str] = []
    sets = prepare_voxceleb([vox1], [vox1_o], tmp_path / "out", PART, say=said.append)
    assert (sets.train, sets.tests, sets.lists) == ("vox1_dev", ["vox1_test"], ["vox1_test/veri_test2"])
    train, test = (read_data_dir(tmp_path / "out" / name) for name in ("vox1_dev", "vox1_test"))
    assert train.utterances == sorted(map(kaldi, DEV1)) and test.utterances == sorted(map(kaldi, TEST1))
    assert train.wav[kaldi(DEV1[2])] == f"{vox1}/{DEV1[2]}.wav"
    assert read_trials(tmp_path / "out/vox1_test/veri_test2").pairs() == [
        (kaldi(TEST1[0]), kaldi(TEST1[1])), (kaldi(TEST1[0]), kaldi(TEST1[2]))
    ]
    assert any(line.startswith("teacher overlap not checked") for line in said)
    assert "1 training speakers have one utterance only (first: id10002)" in said
    table = (tmp_path / "out/voxceleb_sources.txt").read_text().splitlines()
    assert table[1].split() == ["folders", "6", "6", "0", str(vox1)]
    assert [line.split() for line in table if line.startswith("vox1")] == [
        ["vox1_dev", "2/1211", "2/21819", "3/148642", "3"], ["vox1_test", "2/40", "3/677", "3/4874", "3"]
    ]


def test_both_train_on_vox2_and_may_be_tested_on_all_of_vox1(
    vox1: Path, vox2: Path, vox1_o: Path, vox1_e: Path, tmp_path: Path
) -> None:
    sets = prepare_voxceleb([vox1, vox2], [vox1_o, vox1_e], tmp_path / "out", PART)
    assert (sets.train, sets.tests) == ("vox2_dev", ["vox1"])
    assert sets.lists == ["vox1/veri_test2", "vox1/list_test_all2"]
    assert read_data_dir(tmp_path / "out/vox2_dev").utterances == sorted(map(kaldi, DEV2))  # without its test part
    assert read_data_dir(tmp_path / "out/vox1").utterances == sorted(map(kaldi, DEV1 + TEST1))


@pytest.mark.parametrize("train", ["vox1_dev", "vox1_dev+vox2_dev"])
def test_lists_of_speakers_trained_on_are_refused(
    train: str, vox1: Path, vox2: Path, vox1_e: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        prepare_voxceleb([vox1, vox2], [vox1_e], tmp_path / "out", VoxOptions(train, allow_partial=True))
    assert f"2 of its 3 speakers are in the training set {train} (first: id10001, id10002)" in str(caught.value)
    assert not (tmp_path / "out/vox1").exists()


def test_the_teachers_speakers_count(vox1: Path, vox2: Path, vox1_o: Path, tmp_path: Path) -> None:
    said: list[str] = []
    options = VoxOptions(allow_partial=True, teacher_speakers=frozenset({"id10271", "spk7"}))
    with pytest.raises(UserError, match=r"1 of its 2 speakers are in the teacher's .* \(first: id10271\), 1 of 2"):
        prepare_voxceleb([vox1, vox2], [vox1_o], tmp_path / "out", options, say=said.append)
    fine = VoxOptions(allow_partial=True, teacher_speakers=frozenset({"id00012"}))
    prepare_voxceleb([vox1, vox2], [vox1_o], tmp_path / "out", fine, say=said.append)
    assert not any("not checked" in line for line in said)


def test_a_part_must_be_allowed_and_says_what_is_missing(vox1: Path, vox1_o: Path, tmp_path: Path) -> None:
    split = make_list(tmp_path / "iden_split.txt", [f"3 {n}.wav" for n in [*DEV1, "id10001/1zcIwhmdeo4/00003"]])
    (vox1 / f"{TEST1[2]}.wav").unlink()
    with pytest.raises(UserError, match=r"vox1_dev: 2 of 1211 speakers, 3 of 148642 utterances .*--allow-partial true"):
        prepare_voxceleb([vox1], [vox1_o], tmp_path / "out", expect=[split])
    missing = (tmp_path / "out/voxceleb_missing.txt").read_text().splitlines()
    assert missing[1:4] == ["id10001 1 3", "id10271 1 1", "id10003 all unknown"]  # speaker, missing, expected
    assert len(missing) == 1 + 2 + 1251 - 3 - 1  # three have audio, id10271 is counted by the list

    lists = [make_list(tmp_path / "l.txt", [*LIST_O, f"0 {TEST1[1]}.wav {DEV1[0]}.wav"])]
    with pytest.raises(UserError, match=r"are in the training set"):
        prepare_voxceleb([vox1], lists, tmp_path / "out", PART)
    make_tree(vox1, ["id10272/abcdefghijk/00001"])
    lists = [make_list(tmp_path / "l.txt", [*LIST_O, f"0 {TEST1[1]}.wav id10272/abcdefghijk/00001.wav"])]
    said: list[str] = []
    prepare_voxceleb([vox1], lists, tmp_path / "out", PART, say=said.append)
    assert "l: 1 of 3 trials are left out, their audio is not there" in said
    assert len(read_trials(tmp_path / "out/vox1_test/l")) == 2


def test_a_whole_corpus_needs_no_leave(
    vox1: Path, vox1_o: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dict(PUBLISHED) | {"vox1_dev": Size(2, 2, 3), "vox1_test": Size(2, 3, 3)}
    for module in (voxceleb_prepare, voxceleb_table):
        monkeypatch.setattr(module, "PUBLISHED", whole)
    prepare_voxceleb([vox1], [vox1_o], tmp_path / "out")
    lists = [make_list(tmp_path / "mine", [*LIST_O, f"0 {TEST1[1]}.wav id10272/abcdefghijk/00001.wav"])]
    with pytest.raises(UserError, match=r"1 of 3 test ids are not in the sources; first: id10272-abcdefghijk-00001"):
        prepare_voxceleb([vox1], lists, tmp_path / "out")


def test_m4a_must_be_converted_or_decoded(vox1: Path, vox1_o: Path, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "vox2/dev/aac", DEV2, "m4a")
    with pytest.raises(UserError, match=r"3 of 6 utterances are m4a: convert them once .*--decode-m4a true"):
        prepare_voxceleb([vox1, tree], [vox1_o], tmp_path / "out", PART)
    prepare_voxceleb([vox1, tree], [vox1_o], tmp_path / "out", VoxOptions(allow_partial=True, decode_m4a=True))
    assert read_data_dir(tmp_path / "out/vox2_dev").wav[kaldi(DEV2[0])] == f"{tree}/{DEV2[0]}.m4a"


def test_small_speakers(vox1: Path, vox1_o: Path, tmp_path: Path) -> None:
    said: list[str] = []
    options = VoxOptions(allow_partial=True, min_utterances=2)
    prepare_voxceleb([vox1], [vox1_o], tmp_path / "out", options, say=said.append)
    assert "1 training speakers with fewer than 2 utterances are left out" in said
    assert list(read_data_dir(tmp_path / "out/vox1_dev").spk2utt) == ["id10001"]
    with pytest.raises(UserError, match="--min-utterances 3: no training speaker has as many"):
        prepare_voxceleb([vox1], [vox1_o], tmp_path / "out", VoxOptions(allow_partial=True, min_utterances=3))


def test_tables_beside_the_audio_tell_gender_and_test_speakers(vox1: Path, vox1_o: Path, tmp_path: Path) -> None:
    flat = make_tree(tmp_path / "v2/aac", DEV2 + TEST2, "flac")
    make_list(vox1.parent / "vox1_meta.csv", ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet",
              *[f"{s}\tName_{s}\t{g}\tUK\t{p}" for s, g, p in [("id10001", "m", "dev"), ("id10002", "f", "dev"),
                ("id10270", "f", "test"), ("id10271", "m", "test")]]])  # fmt: skip
    make_list(flat.parent / "vox2_meta.csv", ["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set ", "id00012 ,n000012 ,f ,dev ",
              "id00017 ,n000017 ,m ,test ", "id09272 ,n009279 ,f ,dev "])  # fmt: skip
    prepare_voxceleb([vox1, flat], [vox1_o], tmp_path / "out", PART)
    train = read_data_dir(tmp_path / "out/vox2_dev")
    assert train.spk2gender == {"id00012": "f", "id09272": "f"}
    assert read_data_dir(tmp_path / "out/vox1_test").spk2gender == {"id10270": "f", "id10271": "m"}
    make_list(flat.parent / "vox2_meta.csv", ["id00012 f dev"])
    with pytest.raises(UserError, match=r"vox2_meta.csv:1: expected `idNNNNN name gender"):
        prepare_voxceleb([vox1, flat], [vox1_o], tmp_path / "out", PART)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (VoxOptions("vox2"), r"--train vox2: known are auto, vox1_dev"),
        (VoxOptions("vox2_dev"), r"none of the sources has audio of vox2_dev"),
    ],
)
def test_refused_options(options: VoxOptions, message: str, vox1: Path, vox1_o: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        prepare_voxceleb([vox1], [vox1_o], tmp_path / "out", options)
    with pytest.raises(UserError, match="no list of trials"):
        prepare_voxceleb([vox1], [], tmp_path / "out")


def test_again_follows_the_tree(vox1: Path, vox1_o: Path, tmp_path: Path) -> None:
    prepare_voxceleb([vox1], [vox1_o], tmp_path / "out", PART)
    (vox1 / f"{DEV1[2]}.wav").unlink()
    prepare_voxceleb([vox1], [vox1_o], tmp_path / "out", PART)
    assert list(read_data_dir(tmp_path / "out/vox1_dev").spk2utt) == ["id10001"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "vox1_dev", "vox1_test", "voxceleb.sets.yaml", "voxceleb_missing.txt", "voxceleb_sources.txt"
    ]


def test_parts_are_in_one_order() -> None:
    assert list(PUBLISHED) == list(PARTS)
