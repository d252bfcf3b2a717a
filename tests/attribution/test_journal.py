"""The journal of a job: what is whole comes back bit for bit, what is damaged is cut off, wherever the kill fell."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.attribution.journal import Journal, Record
from imlkd.errors import UserError


def records(count: int, first: int = 0) -> list[Record]:
    generator = np.random.default_rng(first)
    shapes = [(), (0,), (7,), (3, 5)]
    return [
        (f"utt-{first + i}", {f"a/{j}": np.float32(generator.normal(size=shape)) for j, shape in enumerate(shapes)})
        for i in range(count)
    ]


def same(found: list[Record], expected: list[Record]) -> bool:
    return [key for key, _ in found] == [key for key, _ in expected] and all(
        a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) and a[n].shape == b[n].shape for n in a)
        for (_, a), (_, b) in zip(found, expected, strict=True)
    )


def test_records_come_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / ".journal", "x")
    assert journal.keys == [] and list(journal.records()) == [] and not journal.path.exists()
    journal.append(records(2))
    journal.append([])
    journal.append(records(1, 2))
    again = Journal(journal.path, "x")
    assert again.keys == ["utt-0", "utt-1", "utt-2"] and again.cut_off == 0
    assert same(list(again.records()), records(2) + records(1, 2))
    assert next(again.records())[1]["a/2"].flags.writeable
    again.remove()
    again.remove()
    assert not journal.path.exists()


def test_a_journal_of_something_else_is_begun_anew(tmp_path: Path) -> None:
    Journal(tmp_path / "j", "x").append(records(3))
    other = Journal(tmp_path / "j", "y")
    assert other.keys == [] and list(other.records()) == []
    other.append(records(1, 5))
    assert same(list(Journal(tmp_path / "j", "y").records()), records(1, 5))


@pytest.mark.parametrize("content", [b"", b"something else", b"imlkd journal of x"])
def test_a_strange_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    journal = Journal(tmp_path / "j", "x")
    journal.append(records(2))
    assert same(list(Journal(tmp_path / "j", "x").records()), records(2))


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wherever_it_is_cut_or_damaged(tmp_path: Path, data: st.DataObject) -> None:
    """Cut at any byte, or any byte changed: the records before stay, nothing wrong is read, and writing goes on."""
    path = tmp_path / "j"
    path.unlink(missing_ok=True)
    journal, ends = Journal(path, "x"), []
    for record in records(4):
        journal.append([record])
        ends.append(path.stat().st_size)
    content = bytearray(path.read_bytes())
    header = len(journal.first_line)
    at = data.draw(st.integers(header, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    whole = sum(end <= at for end in ends)
    again = Journal(path, "x")
    assert same(list(again.records()), records(4)[:whole])
    assert again.cut_off == len(content) - ([header, *ends][whole])
    again.append(records(4)[whole:])
    assert same(list(Journal(path, "x").records()), records(4))


def test_a_full_disk(tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]) -> None:
    """What was whole stays and nothing half-written does: the same journal, or a new one, goes on."""
    journal = Journal(tmp_path / "j", "x")
    journal.append(records(1))
    before = (tmp_path / "j").read_bytes()
    with file_size_limit(len(before) + 50), pytest.raises(UserError, match="j: the file-size limit is reached"):
        journal.append(records(3, 1))
    assert (tmp_path / "j").read_bytes() == before and journal.keys == ["utt-0"]
    journal.append(records(3, 1))
    again = Journal(tmp_path / "j", "x")
    assert again.cut_off == 0 and same(list(again.records()), records(1) + records(3, 1))


def test_a_full_disk_at_the_first_chunk(
    tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    journal = Journal(tmp_path / "j", "x")
    with file_size_limit(50), pytest.raises(UserError, match="j: the file-size limit is reached"):
        journal.append(records(1))
    assert not journal.path.exists() and journal.keys == []
    journal.append(records(1))
    assert same(list(Journal(tmp_path / "j", "x").records()), records(1))
