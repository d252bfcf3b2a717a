"""imlkd/corpora/voxceleb/sources.py: one corpus in each of its layouts, and what each of them may hold besides."""

from pathlib import Path

import pytest

from imlkd.corpora.voxceleb.names import PARTS, VOX1_DEV, VOX1_TEST, VOX2_DEV, VOX2_TEST
from imlkd.corpora.voxceleb.sources import Gathered, gather
from imlkd.errors import UserError
from tests.corpora.voxceleb_trees import DEV1, DEV2, TEST1, TEST2, kaldi, make_list, make_tree


def ids(gathered: Gathered) -> dict[str, list[str]]:
    return {part: sorted(names) for part, names in gathered.audio.items()}


EVERYTHING = {
    part: sorted(map(kaldi, names))
    for part, names in zip(PARTS, (DEV1, TEST1, DEV2, TEST2), strict=True)
}


def as_unpacked(root: Path) -> list[Path]:
    """vox1_dev_wav.zip and vox1_test_wav.zip hold wav/, vox2_dev_aac.zip dev/aac/, vox2_test_aac.zip test/aac/."""
    make_tree(root / "vox1/dev/wav", DEV1)
    make_tree(root / "vox1/test/wav", TEST1)
    make_tree(root / "vox2/dev/aac", DEV2, "m4a")
    make_tree(root / "vox2/test/aac", TEST2, "m4a")
    return [root / "vox1", root / "vox2"]


def in_one_folder(root: Path) -> list[Path]:
    make_tree(root / "all/wav", DEV1 + TEST1)
    make_tree(root / "all/dev/aac", DEV2, "m4a")
    make_tree(root / "all/test/aac", TEST2, "m4a")
    return [root / "all"]


def converted(root: Path) -> list[Path]:
    make_tree(root / "vox1_wav", DEV1 + TEST1)
    make_tree(root / "voxceleb 2/ﬂac/dev", DEV2, "FLAC")
    make_tree(root / "voxceleb 2/ﬂac/test", TEST2, "flac")
    return [root / "vox1_wav", root / "voxceleb 2/ﬂac/dev", root / "voxceleb 2/ﬂac/test"]


def kaldi_directories(root: Path) -> list[Path]:
    """Kaldi's own (pipes of ffmpeg), wespeaker's (slashes in ids) and SpeechBrain's ids."""
    tree = root / "audio"
    make_tree(tree / "dev/aac", DEV2, "m4a")
    make_tree(tree / "test/aac", TEST2, "m4a")
    make_tree(tree / "wav", DEV1 + TEST1)
    pipe = "ffmpeg -v 8 -i {} -f wav -acodec pcm_s16le -|"
    make_list(root / "train/wav.scp", [
        f"{kaldi(n)} {pipe.format(tree / part / 'aac' / f'{n}.m4a')}"
        for part, names in (("dev", DEV2), ("test", TEST2)) for n in names
    ])
    make_list(root / "vox1/wav.scp", [f"{n}.wav {tree / 'wav' / n}.wav" for n in DEV1])
    make_list(root / "test/wav.scp", [f"{n.replace('/', '--')} {tree / 'wav' / n}.wav" for n in TEST1])
    return [root / "train", root / "vox1", root / "test"]


def plain_lists(root: Path) -> list[Path]:
    """Paths alone, relative ones beside the list, ids or speakers in front (voxceleb_trainer's train_list.txt)."""
    make_tree(root / "wav", DEV1 + TEST1)
    make_tree(root / "with space/dev", DEV2, "wav")
    make_tree(root / "with space/test", TEST2, "wav")
    lines = [f"{root}/wav/{n}.wav" for n in DEV1] + [f"{n} {root}/wav/{n}.wav" for n in TEST1]
    lines += [f"{n[:7]} with space/dev/{n}.wav" for n in DEV2] + [f"with space/test/{n}.wav" for n in TEST2]
    return [make_list(root / "list.txt", lines)]


@pytest.mark.parametrize("layout", [as_unpacked, in_one_folder, converted, kaldi_directories, plain_lists])
def test_layouts(layout: object, tmp_path: Path) -> None:
    found = gather(layout(tmp_path))  # type: ignore[operator]
    assert ids(found) == EVERYTHING
    paths = [Path(path) for names in found.audio.values() for path in names.values()]
    assert all(path.is_absolute() and path.read_bytes() == b"audio" for path in paths)
    assert sum(row.used for row in found.rows) == 10 and not any(row.dropped for row in found.rows)


def test_the_table_of_test_speakers_tells_where_no_folder_does(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "aac", DEV2 + TEST2, "m4a")
    assert ids(gather([tree]))[VOX2_TEST] == []
    assert ids(gather([tree], frozenset({"id00017"})))[VOX2_TEST] == ["id00017-01dfn2spqyE-00001"]


def test_of_several_formats_the_fastest_is_used_whatever_the_order(tmp_path: Path) -> None:
    m4a = make_tree(tmp_path / "dev/aac", DEV2, "m4a")
    flac = make_tree(tmp_path / "flac", DEV2[:2], "flac")
    for sources in ([m4a, flac], [flac, m4a]):
        found = gather(sources)
        assert [Path(path).suffix for path in found.audio[VOX2_DEV].values()].count(".flac") == 2
        by_path = {row.path: row for row in found.rows}
        assert (by_path[m4a].found, by_path[m4a].used, by_path[flac].used) == (3, 1, 2)
        assert sum(by_path[m4a].dropped.values()) == 2


def test_what_lies_beside_is_counted_with_examples(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "vox1", DEV1)
    make_tree(root, ["id10001/1zcIwhmdeo4/._00001", "stray"])
    (root / "readme.txt").write_text("x")
    (root / "vox1_dev_wav_partab").write_text("PK")
    (root / "id10001/gone.wav").symlink_to("nowhere.wav")
    row = gather([root]).rows[0]
    assert row.used == 3 and row.found == 4
    assert dict(row.dropped) == {
        "hidden file or folder": 1, "no audio by its name": 1, "link to nothing": 1, "archive, not unpacked": 1,
        "no name of VoxCeleb's (idNNNNN/VIDEO/NNNNN)": 1,
    }  # fmt: skip
    assert row.examples["no audio by its name"] == [str(root / "readme.txt")]


def test_links_in_a_circle_and_twice(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "vox1/wav", DEV1).parent
    (root / "dev").symlink_to("wav")
    (root / "wav/id10001/back").symlink_to(root)
    found = gather([root])
    assert len(found.audio[VOX1_DEV]) == 3
    assert found.rows[0].dropped == {"folder seen already, through a link": 2}


def test_the_same_source_twice_and_two_files_of_one_utterance(tmp_path: Path) -> None:
    one = make_tree(tmp_path / "one", DEV1)
    make_tree(one, TEST1[:1])
    (tmp_path / "link").symlink_to(one)
    again = make_list(tmp_path / "list", [f"{tmp_path}/link/{name}.wav" for name in [*DEV1[:2], *TEST1[:1]]])
    assert gather([again, one]).rows[1].dropped == {"the same file once more": 3}
    other = make_tree(tmp_path / "other", DEV1[:1])
    with pytest.raises(UserError, match=r"id10001-1zcIwhmdeo4-00001 is also .*: keep one of the two"):
        gather([one, other])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["dev-clean/84/121123/84-121123-0000.flac"], "looks like LibriSpeech"),
        (["train-clean-100/19/198/19_198_000000_000000.wav"], "looks like LibriTTS"),
        (["wav48_silence_trimmed/p225/p225_001_mic1.flac"], "looks like VCTK"),
        (["data/id00800/singing-01-005.flac"], "looks like CN-Celeb"),
        (["noise/free-sound/noise-free-sound-0001.wav"], "looks like MUSAN"),
        (["simulated_rirs/smallroom/Room001/Room001-00001.wav"], "looks like RIRS_NOISES"),
        (["wav/A.J._Buckley/1zcIwhmdeo4/00001.wav"], "looks like VoxCeleb1 in its first edition"),
        (["vox1_dev_wav.zip", "vox2_test_aac.ZIP"], "looks like 2 archives that are not unpacked yet: mend"),
        (["z/vox2_dev_aac_partaa", "z/vox2_dev_aac_partab"], "2 archives that are not unpacked yet (join the parts "
         "first: `cat z/vox2_dev_aac_part* > z/vox2_dev_aac.zip`)"),
        (["wav/id10001/more/1zcIwhmdeo4/00001.wav"], "looks like VoxCeleb whose files lie otherwise than in idNNNNN/"),
        (["wav/id10001-1zcIwhmdeo4-00001.wav"], "VoxCeleb whose files lie otherwise than in idNNNNN/VIDEO/NNNNN (wav/"),
        (["dev/aac/id00012/21Uxsk56VDQ/00001"], "VoxCeleb whose files have lost their extension (dev/aac/id00012/"),
        (["data/train/utt2spk"], "looks like Kaldi data directories (data/train)"),
        (["some/where/a.wav"], "looks like audio of some other corpus (some/where/a.wav)"),
        (["readme.md"], "holds no VoxCeleb audio"),
    ],
)
def test_the_wrong_corpus_is_named(files: list[str], message: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        gather([tmp_path / "c"])
    assert message in str(caught.value)


def test_moved_audio(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "new home/wav", DEV1)
    lines = [f"{kaldi(n)} /old/corpora/wav/{n}.wav" for n in DEV1]
    source = make_list(tmp_path / "train/wav.scp", lines).parent
    with pytest.raises(UserError, match=r"none of the first 3 files is there .*--relocate OLD NEW"):
        gather([source])
    found = gather([source], relocate=("/old/corpora/", str(tmp_path / "new home")))
    assert found.audio[VOX1_DEV][kaldi(DEV1[0])] == f"{tree}/{DEV1[0]}.wav"
    with pytest.raises(UserError, match=r"no path begins with /old/corp/, the first is /old/corpora/wav"):
        gather([source], relocate=("/old/corp", "/new"))
    with pytest.raises(UserError, match=r"relocated to /nowhere/wav/.*, which is not there"):
        gather([source], relocate=("/old/corpora", "/nowhere"))


def test_durations_of_a_kaldi_directory_are_kept(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "wav", TEST1)
    source = make_list(tmp_path / "t/wav.scp", [f"{n}.wav {tree / n}.wav" for n in TEST1]).parent
    make_list(source / "utt2dur", [f"{n}.wav 4.0{i}" for i, n in enumerate(TEST1)])
    found = gather([source])
    assert found.durations[kaldi(TEST1[2])] == "4.02" and len(found.audio[VOX1_TEST]) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l", "", "empty file"),
        ("l", "\n", "l:1: empty line"),
        ("l", "a/id10001/x/1.wav\na/id10001/x/1.wav\n", "is there twice"),
        ("l", "a/id10001/x/1.wav\n", "no such file a/id10001/x/1.wav: looked in the working directory"),
        ("d/segments", "a b 0 1\n", "give this directory with --corpus kaldi"),
        ("d/shards_0001.tar", "x", "holds 1 shards: unpack them once with `imlkd corpus unpack"),
    ],
)
def test_refused_sources(name: str, content: str, message: str, tmp_path: Path) -> None:
    path = make_list(tmp_path / name, [])
    path.write_text(content)
    source = path if name == "l" else path.parent
    if name == "d/segments":
        make_list(source / "wav.scp", ["id10001-x-1 /a"])
    with pytest.raises(UserError) as caught:
        gather([source])
    assert message in str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder or list"):
        gather([tmp_path / "gone"])
