"""imlkd/corpora/disk_table.py against ``read_table``, which reads everything."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.corpora import disk_table
from imlkd.corpora.disk_table import ByName, DiskIds, DiskTable, lines_along, values_along
from imlkd.errors import UserError
from imlkd.kaldi_io import read_table, sort_ids, write_table

IDS = st.text(st.sampled_from("ab-_0ü語"), min_size=1, max_size=5)
VALUES = st.text(st.sampled_from("xy /:é"), min_size=1, max_size=9).map(str.strip).filter(bool)
LOOSE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@LOOSE
@given(table=st.dictionaries(IDS, VALUES, min_size=1, max_size=25), other=IDS, lines=st.integers(1, 4))
def test_the_same_as_in_memory(
    table: dict[str, str], other: str, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "t", table)
    expected = read_table(tmp_path / "t")
    with monkeypatch.context() as patch:
        patch.setattr(disk_table, "_LINES", lines)
        patch.setattr(disk_table, "_BLOCK", 7)
        patch.setattr(disk_table, "_KEPT", lines)
        found = DiskTable(tmp_path / "t")
        assert list(found.lines()) == list(expected.items()) and len(found) == len(expected)
        assert {key: found[key] for key in expected} == expected
        assert (other in found) == (other in expected) and found.get(other) == expected.get(other)
        assert list(DiskIds(found)) == list(expected)


@LOOSE
@given(names=st.sets(IDS, min_size=1, max_size=25), kept=st.sets(st.integers(0, 24)), other=IDS)
def test_ids_and_numbers_of_a_part(names: set[str], kept: set[int], other: str, tmp_path: Path) -> None:
    everything = sort_ids(names)
    write_table(tmp_path / "t", dict.fromkeys(names, "x"))
    places = sorted(number for number in kept if number < len(names))
    expected = [everything[number] for number in places]
    ids = DiskIds(DiskTable(tmp_path / "t"), np.array(places, dtype=np.int32))
    assert list(ids) == expected and len(ids) == len(expected)
    assert [ids[number] for number in range(len(ids))] == ids[:] == expected
    numbers = ByName(ids, np.arange(len(expected)) * 3)
    assert dict(numbers) == {name: 3 * number for number, name in enumerate(expected)}
    assert (other in numbers) == (other in expected)
    for number, name in enumerate(expected):
        assert ids.index(name) == number and numbers[name] == 3 * number


@LOOSE
@given(table=st.dictionaries(IDS, VALUES, min_size=1, max_size=25), names=st.sets(IDS, max_size=25))
def test_two_sorted_tables_side_by_side(table: dict[str, str], names: set[str], tmp_path: Path) -> None:
    write_table(tmp_path / "t", table)
    wanted = sort_ids(names | set(list(table)[::2]))
    found = DiskTable(tmp_path / "t")
    assert list(values_along(found, wanted)) == [table.get(name) for name in wanted]
    lines = list(lines_along(found, wanted))
    assert [line is not None for line in lines] == [name in table for name in wanted]
    assert all(line is None or found.line(line[0]) == (name, line[1]) for name, line in zip(wanted, lines, strict=True))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone"):
        DiskTable(tmp_path / "gone")
    (tmp_path / "t").write_text("")
    with pytest.raises(UserError, match="t: empty file"):
        DiskTable(tmp_path / "t")
    (tmp_path / "t").write_text("a 1\nb\nc 3")
    with pytest.raises(UserError, match="t: expected an id and a value, found 'b': make the table again"):
        list(DiskTable(tmp_path / "t").lines())
    assert DiskTable(tmp_path / "t")["c"] == "3"  # a last line without its end


def test_it_reads_what_it_opened(tmp_path: Path) -> None:
    """A stage that runs meanwhile puts another file in its place."""
    write_table(tmp_path / "t", {"a": "1", "b": "2"})
    table = DiskTable(tmp_path / "t")
    write_table(tmp_path / "t", {"b": "3"})
    assert dict(table) == {"a": "1", "b": "2"}
