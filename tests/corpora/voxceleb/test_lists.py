"""imlkd/corpora/voxceleb/lists.py: which list a file is, and whether it is whole."""

import hashlib
from itertools import islice, product
from pathlib import Path

import pytest

from imlkd.corpora.voxceleb import lists as voxceleb_lists
from imlkd.corpora.voxceleb.lists import PUBLISHED_LISTS, Published, read_list, refuse_trained_on
from imlkd.errors import UserError
from tests.corpora.voxceleb_trees import DEV1, LIST_E, LIST_O, TEST1, make_list

SPEAKERS = [f"id{number}" for number in range(10270, 10310)]


def write_counts(path: Path, targets: int, nontargets: int) -> Path:
    """A list of as many trials over the 40 test speakers, none twice."""
    same = ((f"{s}/video{v:06}/00001.wav", f"{s}/video{v:06}/00002.wav") for v in range(100000) for s in SPEAKERS)
    numbers = range(1, 200)
    others = (
        (f"{a}/video{v:06}/{n:05}.wav", f"{b}/video{v:06}/{m:05}.wav")
        for v, n, m, (a, b) in product(range(9), numbers, numbers, zip(SPEAKERS, SPEAKERS[1:], strict=False))
    )
    with open(path, "w") as stream:
        stream.writelines(f"1 {a} {b}\n" for a, b in islice(same, targets))
        stream.writelines(f"0 {a} {b}\n" for a, b in islice(others, nontargets))
    return path


def test_published_counts() -> None:
    """The sums that VoxCeleb's page gives, against the two halves that are kept."""
    sums = {name: one.targets + one.nontargets for name, one in PUBLISHED_LISTS.items()}
    assert sums == {
        "vox1_O": 37611, "vox1_E": 579818, "vox1_H": 550894,
        "vox1_O_original": 37720, "vox1_E_original": 581480, "vox1_H_original": 552536,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["vox1_O", "vox1_O_original"])
def test_a_list_is_told_by_its_counts(name: str, tmp_path: Path) -> None:
    known = PUBLISHED_LISTS[name]
    one = read_list(write_counts(tmp_path / "any name.txt", known.targets, known.nontargets))
    assert (one.name, one.is_published, one.same_file) == (name, True, False)
    total = known.targets + known.nontargets
    words = one.describe()
    assert f"{name}: {total} trials ({known.targets} target, {known.nontargets} nontarget)" in words
    assert "40 speakers; the published counts; another MD5" in words


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vox1_E", "vox1_H", "vox1_E_original", "vox1_H_original"])
def test_the_large_lists_too(name: str, tmp_path: Path) -> None:
    known = PUBLISHED_LISTS[name]
    one = read_list(write_counts(tmp_path / known.file, known.targets, known.nontargets))
    assert (one.name, one.is_published, len(one.trials)) == (name, True, known.targets + known.nontargets)


def test_a_cut_off_copy_of_a_published_list(tmp_path: Path) -> None:
    known = PUBLISHED_LISTS["vox1_O"]
    path = write_counts(tmp_path / known.file, known.targets, known.nontargets - 1)
    with pytest.raises(UserError, match=r"veri_test2.txt: 37610 trials, the published .* has 37611: copy"):
        read_list(path)
    assert read_list(path.rename(tmp_path / "mine.txt")).name == "mine"


def test_the_published_bytes_are_known_by_their_md5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_list(tmp_path / "list.txt", LIST_O)
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(voxceleb_lists, "PUBLISHED_LISTS", {"vox1_O": Published("list.txt", 1, 1, digest)})
    assert "MD5 of the published file" in read_list(path).describe()
    path.write_text(path.read_text() + " ".join(["0", TEST1[1] + ".wav", TEST1[2] + ".wav\n"]))
    assert "none of the published lists" in read_list(path.rename(tmp_path / "other")).describe()


@pytest.mark.parametrize(
    "lines",
    [LIST_O, [line.replace("/", "-").replace(".wav", "") for line in LIST_O],
     [f"{a} {b} {'non' * (x == '0')}target" for x, a, b in map(str.split, LIST_O)],
     [line.replace("/", "--").replace(".wav", "") for line in LIST_O]],
)  # fmt: skip
def test_layouts_and_spellings(lines: list[str], tmp_path: Path) -> None:
    one = read_list(make_list(tmp_path / "l", lines))
    assert one.trials.enroll == ["id10270-x6uYqmx31kE-00001"] * 2
    assert one.trials.test == ["id10270-GWXujl-xAVM-00017", "id10271-1gtz-CUIygI-00001"]
    assert one.speakers == {"id10270", "id10271"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1 s1-a s1-b", "0 s1-a s2-b"], "l:1: s1-a is no utterance of VoxCeleb's"),
        ([LIST_O[0], f"1 {TEST1[0]}.wav {TEST1[2]}.wav", LIST_E[1]], "l:2: .* is called target, its speakers"),
    ],
)
def test_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_list(make_list(tmp_path / "l", lines))


def test_the_overlap_is_counted(tmp_path: Path) -> None:
    lists = [read_list(make_list(tmp_path / "E.txt", LIST_E))]
    refuse_trained_on(lists, {"the training set": {"id00012", "id09999"}})
    with pytest.raises(UserError) as caught:
        refuse_trained_on(lists, {"the teacher's training": {"id10002", "id10003"}})
    words = "E: 1 of its 3 speakers are in the teacher's training (first: id10002), 1 of 2 trials have"
    assert words in str(caught.value)
    with pytest.raises(UserError, match=r"2 of its 3 speakers are in vox1_dev \(first: id10001, id10002\), 2 of 2"):
        refuse_trained_on(lists, {"vox1_dev": {name[:7] for name in DEV1}})
