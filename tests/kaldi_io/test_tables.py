"""Tables of any bytes, sorted as `sort` does, and scps that are joined."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.kaldi_io import join_scps, read_lines, read_table, sort_ids, write_table
from tests.kaldi_io.arks import FUZZ, IDS, WORDS, native, write_ark


@FUZZ
@given(table=st.dictionaries(IDS, WORDS, min_size=1, max_size=20))
def test_a_table_comes_back_in_c_order(tmp_path: Path, table: dict[str, str]) -> None:
    write_table(tmp_path / "t", table)
    found = read_table(tmp_path / "t")
    assert found == table and list(found) == sorted(table, key=lambda key: key.encode())
    environment = os.environ | {"LC_ALL": "C"}
    assert subprocess.run(["sort", "-c", "-k1,1", tmp_path / "t"], env=environment, check=False).returncode == 0


@FUZZ
@given(content=st.binary(max_size=60) | st.text("ab \t\n\r12", max_size=40).map(str.encode))
def test_any_bytes_are_a_table_or_an_error_that_names_the_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    try:
        table = read_table(path)
    except UserError as error:
        assert re.match(rf"{re.escape(str(path))}(:\d+)?: .*\w", str(error)) and "\n" not in str(error)
        return
    lines = content.decode().split("\n")
    assert len(table) == len([line for line in lines if line])
    for line, (key, value) in zip(lines, table.items(), strict=False):
        assert not set(key) & set(" \t") and line[len(key)] in " \t"
        assert line.startswith(key) and line[len(key) :].strip() == value


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", None, "empty file: expected at least one line"),
        (b"a 1\n\nb 2\n", 2, "expected an id and a value, found ''"),
        (b"a\n", 1, "expected an id and a value, found 'a'"),
        (b"a \n", 1, "expected an id and a value"),
        (b" a 1\n", 1, "expected an id and a value, found ' a 1'"),
        (b"a 1\r\nb 2\r\n", 1, "line ends with CRLF: convert the file (`sed -i 's/\\r$//' "),
        (b"a 1\nb \xff\n", 2, "not UTF-8: convert the file"),
        (b"a 1\nb\0 2\n", 2, "holds a NUL byte"),
        (b"\xef\xbb\xbfa 1\n", 1, "begins with a byte order mark"),
        (b"a 1\na 2\n", 2, "duplicate id a: keep one"),
        (b"b 1\na 2\n", 2, "a is not in C order: sort the file (`LC_ALL=C sort`)"),
        (b"a 1\nB 2\n", 2, "B is not in C order"),
        (b"a1 1\na-1 2\n", 2, "a-1 is not in C order"),
    ],
)
def test_bad_tables(tmp_path: Path, content: bytes, line: int | None, message: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    place = f"{path}:{line}" if line else str(path)
    with pytest.raises(UserError, match="^" + re.escape(f"{place}: {message}")):
        read_table(path)


@pytest.mark.parametrize(("value", "fields"), [("s 1", 2), ("s", 3), ("a b c", 3)])
def test_field_counts(tmp_path: Path, value: str, fields: int) -> None:
    write_table(tmp_path / "t", {"u": value})
    count = 1 + len(value.split())
    assert read_table(tmp_path / "t", fields=count) == {"u": value}
    with pytest.raises(UserError, match=rf"t:1: expected {fields} fields, found {count} \(do ids hold white space\?\)"):
        read_table(tmp_path / "t", fields=fields)


def test_what_may_be_waived(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("b 1\na 2\n")
    assert read_table(tmp_path / "t", sorted_ids=False) == {"b": "1", "a": "2"}
    (tmp_path / "t").write_text("a\t1\t2\nb  3 \n")
    assert read_table(tmp_path / "t", fields=None) == {"a": "1\t2", "b": "3"}


def test_a_missing_table(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(UserError, match=f"^{path}: no such file"):
            list(read_lines(path))


def test_sorting_is_that_of_sort(tmp_path: Path) -> None:
    ids = ["a-1", "a_1", "a1", "A", "é", "z", "\U0001f600", "\ufffd", "a", "aa", "10", "9"]
    run = ["sort"]
    out = subprocess.run(
        run, input="\n".join(ids) + "\n", text=True, capture_output=True, env={"LC_ALL": "C"}, check=True
    )
    assert sort_ids(ids) == out.stdout.split()




def test_scps_of_jobs_are_joined_in_c_order(tmp_path: Path) -> None:
    parts = [write_ark(tmp_path, {key: np.full(2, i) for key in keys}, f"x.{i}") for i, keys in enumerate(["db", "ca"])]
    (tmp_path / "x.9.scp").write_text("")  # a job that had nothing to do
    assert join_scps([*parts, tmp_path / "x.9.scp"], tmp_path / "x.scp") == 4
    found = native("Vector", f"scp,s,cs:{tmp_path}/x.scp")
    assert {key: value[0] for key, value in found.items()} == {"a": 1, "b": 0, "c": 1, "d": 0}


def test_scps_that_cannot_be_joined(tmp_path: Path) -> None:
    first = write_ark(tmp_path, {"a": np.ones(1)}, "x.1")
    with pytest.raises(UserError, match=r"x\.1\.scp: a is already in another job's scp"):
        join_scps([first, first], tmp_path / "x.scp")
    with pytest.raises(UserError, match=r"x\.2\.scp: no such file"):
        join_scps([first, tmp_path / "x.2.scp"], tmp_path / "x.scp")
    (tmp_path / "empty").write_text("")
    with pytest.raises(UserError, match="none of the 1 jobs left an entry"):
        join_scps([tmp_path / "empty"], tmp_path / "x.scp")
    assert not (tmp_path / "x.scp").exists()
