"""Every layout read, recognised and written; what is damaged is named."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.corpora.trials.enrolment import read_models
from imlkd.corpora.trials.id_mapping import IdMap
from imlkd.corpora.trials.layouts import LAYOUTS
from imlkd.corpora.trials.lists import Trials, open_trials, read_trials, write_trials
from imlkd.errors import UserError

PAIRS = [("a-1", "a-2"), ("a-1", "b-1"), ("b-1", "b-2")]
EXAMPLES = {
    "kaldi": "a-1 a-2 target\na-1 b-1 nontarget\nb-1 b-2 target\n",
    "voxceleb": "1 a-1 a-2\n0 a-1 b-1\n1 b-1 b-2\n",
    "speechbrain": "a-1 a-2 1 0.731245\na-1 b-1 0 -0.05\nb-1 b-2 1 1e-3\n",
    "nist": "modelid\tsegmentid\tside\ttargettype\na-1\ta-2\ta\ttarget\na-1\tb-1\ta\tnontarget\nb-1\tb-2\ta\ttarget\n",
    "csv": "enroll,test,label\na-1,a-2,target\na-1,b-1,nontarget\nb-1,b-2,target\n",
}


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "list"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("layout", "content"),
    [
        *EXAMPLES.items(),
        ("speechbrain", "a-1 a-2 1\na-1 b-1 0\nb-1 b-2 1\n"),
        ("nist", "segmentid modelid targettype\na-2 a-1 target\nb-1 a-1 nontarget\nb-2 b-1 target\n"),
        ("csv", "Label;Test;Enrolment\n1;a-2;a-1\n0;b-1;a-1\n1;b-2;b-1\n"),
        ("csv", 'test , enrol,note,is_target\na-2,a-1,"x, y",True\n"b-1",a-1,,FALSE\nb-2,b-1,z,true\n'),
        ("csv", "model\tsegment\tkey\na-1\ta-2\ttarget\na-1\tb-1\tnontarget\nb-1\tb-2\ttarget\n"),
        ("csv", "modelid,segmentid,targettype\na-1,a-2,target\na-1,b-1,nontarget\nb-1,b-2,target\n"),
    ],
)
def test_read_and_recognised(layout: str, content: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    trials, on_disk = read_trials(path), open_trials(path)
    assert (trials.layout, trials.pairs(), trials.is_target.tolist()) == (layout, PAIRS, [True, False, True])
    assert (on_disk.layout, on_disk.enroll, on_disk.test) == (layout, ["a-1", "b-1"], ["a-2", "b-1", "b-2"])
    assert (on_disk.targets, on_disk.nontargets, len(on_disk)) == (2, 1, 3)
    header = layout in ("nist", "csv")
    assert trials.place(2) == f"{path}:{3 + header}"
    parts = [part for size in (2,) for part in on_disk.blocks(size, first=1)]
    assert [part.pairs() for part in parts] == [PAIRS[1:3]] and parts[0].place(1) == trials.place(2)
    assert on_disk.describe() == (
        f"{path}: {layout} layout, 2 target and 1 nontarget trials, 2 enrolment and 3 test ids"
    )


def test_ids_that_look_like_labels_are_told_by_the_other_lines(tmp_path: Path) -> None:
    found = read_trials(write(tmp_path, "1 2 1\nx 2 0\n"))
    assert (found.layout, found.pairs()) == ("speechbrain", [("1", "2"), ("x", "2")])
    found = read_trials(write(tmp_path, "1 2 1\n0 2 x\n"))
    assert (found.layout, found.pairs()) == ("voxceleb", [("2", "1"), ("2", "x")])


IDS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=6)


@pytest.mark.parametrize("layout", list(LAYOUTS))
@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=30)
@given(pairs=st.lists(st.tuples(IDS, IDS), min_size=2, max_size=12, unique=True), data=st.data())
def test_written_and_read_back(layout: str, tmp_path: Path, pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    first = {"kaldi": {"1", "0"}, "speechbrain": {"1", "0"}, "voxceleb": set()}
    ambiguous = first.get(layout, set())
    pairs = [pair for pair in pairs if not ambiguous & {pair[0]}] or [("a", "b"), ("c", "d")]
    labels = [i % 2 == 0 for i in range(max(2, len(pairs)))]
    pairs = pairs if len(pairs) > 1 else [*pairs, ("zz1", "zz2")]
    enroll, test = zip(*pairs, strict=True)
    write_trials(tmp_path / "list", Trials(Path("x"), "kaldi", list(enroll), list(test), np.array(labels)), layout)
    again = read_trials(tmp_path / "list")
    assert (again.layout, again.pairs(), again.is_target.tolist()) == (layout, pairs, labels)


def test_unknown_layout_to_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'xml' is no layout"):
        write_trials(tmp_path / "list", Trials(Path("x"), "kaldi", ["a"], ["b"], np.array([True])), "xml")
    assert not (tmp_path / "list").exists()


@pytest.mark.parametrize("read", [read_trials, open_trials])
@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("a b 1 0.5\nc d 0\n", 2, "expected 4 columns (<enroll> <test> 1|0, and perhaps a score"),
        ("a b 1\nc d 2\n", 2, "label '2' is none of 1, 0: the layout is speechbrain"),
        ("enroll,test,label\na,b,target\na,c\n", 3, "expected 3 columns"),
        ("enroll,test,label\na,b,yes\n", 2, "label 'yes' is none of target, nontarget, 1, 0, true, false"),
        ("enroll,test,label\na,,target\n", 2, "id '' is empty or holds white space"),
        ("enroll,test,label\na,b c,target\n", 2, "id 'b c' is empty or holds white space"),
        ('enroll,test,label\na,"b,target\n', 2, "expected 3 columns"),
        ("enroll,test,label\na,b,target\na,c,nontarget\na,b,target\n", 4, "already on line 2: keep one"),
        ("enroll,test\na,b\n", 1, "no column with the label"),
        ("enroll,model,test,label\na,m,b,target\n", 1, "two columns for enroll, enroll and model"),
        ("a,b,target\nc,d,nontarget\n", 1, "no header with columns for enrolment, test and label"),
        ("modelid\tsegmentid\tside\na\tb\ta\n", 1, "no column with the label, as targettype"),
    ],
)
def test_bad_line_is_named(read, content: str, line: int, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line}: ") and message in str(caught.value)


@pytest.mark.parametrize("read", [read_trials, open_trials])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("enroll,test,label\n", "a header and no trial"),
        ("", "empty trial list"),
        ("a b 1 0.5\nc d 1 0.2\n", "only targets (2 trials)"),
        ("enroll,test,label\na,b,0\n", "only nontargets (1 trials)"),
    ],
)
def test_list_without_error_rates(read, content: str, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="list: ") as caught:
        read(write(tmp_path, content))
    assert message in str(caught.value)


def test_repeated_pair_is_found_in_any_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look for repetitions goes part by part when there are more pairs than memory is set aside for."""
    from imlkd.corpora.trials import lists as trials

    monkeypatch.setattr(trials, "_CODES", 64)
    monkeypatch.setattr(trials, "BLOCK", 16)
    lines = [f"e{i % 23} t{i} {'target' if i % 3 else 'nontarget'}\n" for i in range(500)]
    assert len(open_trials(write(tmp_path, "".join(lines)))) == 500
    for first, again in ((3, 499), (0, 70), (410, 411)):
        repeated = [*lines[:again], lines[first], *lines[again:]]
        with pytest.raises(UserError, match=f"list:{again + 1}: .* is already on line {first + 1}: keep one"):
            open_trials(write(tmp_path, "".join(repeated)))


def test_equal_ids_of_long_lists_are_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imlkd.corpora.trials import lists as trials

    monkeypatch.setattr(trials, "_MANY", 0)
    found = read_trials(write(tmp_path, EXAMPLES["kaldi"]))
    assert found.pairs() == PAIRS and found.enroll[0] is found.enroll[1] and found.enroll[2] is found.test[1]


READERS = {
    **{name: (text, read_trials) for name, text in EXAMPLES.items()},
    "on the disk": (EXAMPLES["kaldi"], open_trials),
    "model.lst": ("m1 a-1 a-2\nm2 b-1\n", read_models),
    "models": ("modelid\tsegmentid\tside\nm1\ta-1\ta\nm1\ta-2\ta\nm2\tb-1\ta\n", read_models),
    "id map": ("a-1 a/1\na-2 a/2\n", lambda path: IdMap(str(path))),
}


def fuzz(path: Path, original: bytes, read, examples: int) -> None:  # type: ignore[no-untyped-def]
    inserts = st.binary(max_size=6) | st.sampled_from([b"\n", b" ", b"\t", b',"'])

    @given(st.integers(0, len(original)), inserts, st.integers(0, 12))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def damage(place: int, inserted: bytes, removed: int) -> None:
        path.write_bytes(original[:place] + inserted + original[place + removed :])
        with contextlib.suppress(UserError):
            read(path)

    damage()


@pytest.mark.parametrize("name", list(READERS))
def test_any_damage_is_a_user_error_or_harmless(name: str, tmp_path: Path) -> None:
    content, read = READERS[name]
    fuzz(tmp_path / "list", content.encode(), read, 200)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(READERS))
def test_much_damage_is_a_user_error_or_harmless(name: str, tmp_path: Path) -> None:
    content, read = READERS[name]
    fuzz(tmp_path / "list", content.encode(), read, 20000)
