"""A UserError is one printable line of bounded length, whatever a file says of itself."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.corpora.audio import AudioProblem
from imlkd.errors import UserError, naming


@given(st.text(max_size=9000))
def test_one_printable_line(text: str) -> None:
    said = str(UserError(f"x.scp:3: {text}: mend the line"))
    assert said.isprintable() and len(said) <= 3000
    assert said.startswith("x.scp:3: ") and (len(text) > 900 or said.endswith(": mend the line"))


def test_what_is_short_stays_as_it_is() -> None:
    text = f"{'/long' * 60}/wav.scp:3: expected an id and a value, found 'x': mend the line"
    assert str(UserError(text)) == text


def test_begin_and_end_are_kept() -> None:
    said = str(UserError(f"x.scp:3: {'[' * 100_000} and {'word ' * 3000}: mend the line"))
    assert said.startswith("x.scp:3: [[[") and said.endswith("word : mend the line") and "..." in said
    assert str(UserError("a\x1b[2Jb\nc")) == "a [2Jb c"


def test_the_file_at_fault_stands_in_front() -> None:
    with pytest.raises(UserError, match="^x.scp: u1: is all zero: extract it again$"), naming("x.scp"):
        raise UserError("u1: is all zero: extract it again")
    with pytest.raises(ValueError, match="^mine$"), naming("x.scp"):
        raise ValueError("mine")


def test_it_goes_from_process_to_process() -> None:
    for error in (UserError("a b"), UserError("x" * 5000)):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(AudioProblem("a", "b", "c")) == "a: b: c"
