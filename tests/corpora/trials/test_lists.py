import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.corpora.trials.join import join_check
from imlkd.corpora.trials.lists import Trials, read_trials, write_trials
from imlkd.errors import UserError

GOOD = "a-1 b-1 nontarget\na-1 a-2 target\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "trials"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def trials_of(*pairs: tuple[str, str]) -> Trials:
    enroll, test = zip(*pairs, strict=True)
    return Trials(Path("trials"), "kaldi", list(enroll), list(test), np.zeros(len(pairs), dtype=np.bool_))


def test_kaldi_layout(tmp_path: Path) -> None:
    trials = read_trials(write(tmp_path, "a-1 b-1 nontarget\na-1\ta-2  target"))
    assert trials.layout == "kaldi"
    assert trials.pairs() == [("a-1", "b-1"), ("a-1", "a-2")]
    assert trials.is_target.tolist() == [False, True]
    assert trials.place(1) == f"{tmp_path}/trials:2"


def test_voxceleb_layout_is_recognised(tmp_path: Path) -> None:
    trials = read_trials(write(tmp_path, "1 id1/x/1.wav id1/y/1.wav\n0 id1/x/1.wav id2/z/1.wav\n"))
    assert trials.layout == "voxceleb"
    assert trials.pairs() == [("id1/x/1.wav", "id1/y/1.wav"), ("id1/x/1.wav", "id2/z/1.wav")]
    assert trials.is_target.tolist() == [True, False]


def test_enrolment_id_that_looks_like_a_label(tmp_path: Path) -> None:
    trials = read_trials(write(tmp_path, "1 2 target\n1 3 nontarget\n"))
    assert (trials.layout, trials.enroll) == ("kaldi", ["1", "1"])


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("a b target\na c\n", 2, "expected 3 columns"),
        ("a b target\na c nontarget 0.3\n", 2, "found 4"),
        ("a b target\n\na c nontarget\n", 2, "found 0"),
        ("a b target\na c impostor\n", 2, "label 'impostor' is none of target, nontarget"),
        ("a b target\na c Target\n", 2, "label 'Target'"),
        ("1 a b\n0 a c\n2 a d\n", 3, "label '2' is none of 1, 0"),
        ("a b target\r\na c nontarget\r\n", 1, "CRLF"),
        (b"a b target\na \xe9 nontarget\n", 2, "UTF-8"),
        ("a b target\na c nontarget\na b target\n", 3, "already on line 1: keep"),
        ("a b target\na c nontarget\na c target\n", 3, "already on line 2 with the other label"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, content: str | bytes, line: int, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_trials(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a b target\na c target\n", "only targets (2 trials)"),
        ("0 a b\n0 a c\n", "only nontargets (2 trials)"),
        ("", "empty trial list"),
    ],
)
def test_list_without_error_rates(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_trials(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such file"):
        read_trials(tmp_path / "nowhere")


def test_concatenated_ids_that_collide_are_two_trials(tmp_path: Path) -> None:
    assert len(read_trials(write(tmp_path, "ab c target\na bc nontarget\n"))) == 2


IDS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=6)


@given(pairs=st.lists(st.tuples(IDS, IDS), min_size=2, max_size=20, unique=True), data=st.data())
def test_written_list_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, pairs, data) -> None:  # type: ignore[no-untyped-def]
    some_labels = st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs))
    labels = data.draw(some_labels.filter(lambda drawn: 0 < sum(drawn) < len(drawn)))
    enroll, test = zip(*pairs, strict=True)
    path = tmp_path_factory.mktemp("trials") / "trials"
    write_trials(path, Trials(path, "voxceleb", list(enroll), list(test), np.array(labels)))
    again = read_trials(path)
    assert (again.layout, again.pairs(), again.is_target.tolist()) == ("kaldi", pairs, labels)


def test_join_check_accepts_a_full_set() -> None:
    join_check(trials_of(("a", "x"), ("b", "y")), ["a", "b", "x", "y", "z"])
    join_check(trials_of(("a", "x"), ("b", "y")), ["a", "b"], ["x", "y"])


def test_join_check_counts_both_sides_and_lists_five() -> None:
    trials = trials_of(("e1", "t1"), ("e2", "t2"), ("e2", "t3"), ("e3", "t4"), ("e4", "t4"), ("e5", "t5"))
    with pytest.raises(UserError) as caught:
        join_check(trials, ["e1", "zz"], ["t1", "t2"], source="x.scp")
    message = str(caught.value)
    assert message.startswith("trials: 4 of 5 enrolment ids and 3 of 5 test ids are not in x.scp; first: e2, e3, e4, ")
    assert "e4, e5, t3; " in message
    assert "\n" not in message


def test_join_check_looks_at_the_side_that_lacks_ids() -> None:
    with pytest.raises(UserError, match=r"0 of 1 enrolment ids and 1 of 1 test .* t/00001\.wav -> t-00001$"):
        join_check(trials_of(("e", "t/00001.wav")), ["e"], ["t-00001"])


@pytest.mark.skipif("SVMINI" not in os.environ, reason="SVMINI is not set: the real lists are not at hand")
@pytest.mark.parametrize(
    ("name", "targets", "nontargets"), [("test/trials", 7796, 11000), ("test/trials_libri", 796, 4000)]
)
def test_real_lists(name: str, targets: int, nontargets: int) -> None:
    trials = read_trials(Path(os.environ["SVMINI"]) / name)
    assert (int(trials.is_target.sum()), int((~trials.is_target).sum())) == (targets, nontargets)
