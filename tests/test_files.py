"""Files that are whole or not there."""

import errno
import hashlib
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.files import (
    REMEDY,
    atomic_open,
    atomic_path,
    atomic_write_text,
    make_dir,
    os_errors,
    parse_json,
    parse_yaml,
    process_lives,
    remove_leftovers,
    sha256_file,
    temporary_name,
)

Limit = Callable[[int], AbstractContextManager[None]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_text_is_written_as_utf8(tmp_path: Path, text: str) -> None:
    atomic_write_text(tmp_path / "deep/er/file", text)
    with open(tmp_path / "deep/er/file", encoding="utf-8", newline="") as stream:
        assert stream.read() == text
    assert os.listdir(tmp_path / "deep/er") == ["file"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), UserError("x: y")])
def test_an_error_leaves_the_old_content_and_nothing_beside(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_open(path) as stream:
        stream.write("half of the new")
        stream.flush()
        assert temporary_name(path).read_text() == "half of the new"
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_open(path, "wb") as stream:
        stream.write(b"\xff\0" * 1000)
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"\xff\0" * 1000


def test_full_disk_names_the_file_and_keeps_the_old_one(tmp_path: Path, file_size_limit: Limit) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with file_size_limit(1000), pytest.raises(UserError, match=f"^{path}: the file-size limit is reached: raise it"):
        atomic_write_text(path, "x" * 1001)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
    with file_size_limit(1000):
        atomic_write_text(path, "x" * 1000)
    assert path.stat().st_size == 1000


@pytest.mark.parametrize("number", sorted(REMEDY))
def test_each_os_error_becomes_one_line_with_a_remedy(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file"
    for error in (OSError(number, "x"), OSError(number, "x", str(temporary_name(path)))):
        with pytest.raises(UserError) as caught, os_errors(path):
            raise error
        assert str(caught.value) == f"{path}: {REMEDY[number]}"
    with pytest.raises(UserError, match="^/another: "), os_errors(path):
        raise OSError(number, "x", "/another")


def test_other_os_errors_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="io") as caught, os_errors(tmp_path):
        raise OSError(errno.EIO, "io")
    assert not isinstance(caught.value, UserError)


def test_a_plain_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("precious")
    for path in (tmp_path / "exp", tmp_path / "exp/model"):
        with pytest.raises(UserError, match=f"^{path}: .*plain file.*: move it away or choose another folder"):
            make_dir(path)
    with pytest.raises(UserError, match="plain file"):
        atomic_write_text(tmp_path / "exp/model/final.pt", "")
    assert (tmp_path / "exp").read_text() == "precious"


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    with pytest.raises(UserError, match="a folder stands where a file is needed"):
        atomic_write_text(tmp_path / "name", "x")
    assert os.listdir(tmp_path) == ["name"]


def test_atomic_path_for_writers_that_want_a_name(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a/b") as temporary:
        temporary.write_bytes(b"x")
    assert (tmp_path / "a/b").read_bytes() == b"x" and os.listdir(tmp_path / "a") == ["b"]


def test_sha256(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "x").write_bytes(content)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError, match=f"^{tmp_path / 'y'}: no such file"):
        sha256_file(tmp_path / "y")
    with pytest.raises(UserError, match="a folder stands where a file"):
        sha256_file(tmp_path)


def test_leftovers_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    keep = [f".live.txt.tmp{os.getpid()}", "final.pt", ".done", f"shown.tmp{dead.pid}", ".x.tmp", ".x.tmpnumber"]
    remove = [f".final.pt.tmp{dead.pid}", f"deep/.feats.1.ark.tmp{dead.pid}", f".c.jsonl.gz.tmp{dead.pid}.jsonl.gz"]
    (tmp_path / "deep").mkdir()
    for name in [*keep, *remove]:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(keep)
    remove_leftovers(tmp_path / "gone")


def test_which_processes_live() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    assert process_lives(os.getpid()) and process_lives(1)
    assert not process_lives(dead.pid) and not process_lives(10**30)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "{", "9" * 5000, "1e5x"])
def test_json_and_yaml_that_cannot_be_read_are_value_errors(text: str) -> None:
    """Too deep for the parsers' recursion, too long for a number, or none."""
    with pytest.raises(ValueError):
        parse_json(text)
    if text not in ("1e5x",):
        with pytest.raises(ValueError):
            parse_yaml(text)


def test_json_and_yaml_that_can_be_read() -> None:
    assert parse_json('{"a": [1, null]}') == parse_yaml("a: [1, null]") == {"a": [1, None]}
    with pytest.raises(ValueError, match="could not determine a constructor for the tag"):
        parse_yaml("!!python/name:os.system")
