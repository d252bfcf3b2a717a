"""Arks that are written: read by kaldi_native_io and kaldiio, whole or not there."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import kaldi_native_io
import kaldiio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.kaldi_io import ArkWriter, read_scp_arrays, read_table, sort_ids
from tests.kaldi_io.arks import FUZZ, IDS, MATRICES, VECTORS, native, same, write_ark


@pytest.mark.parametrize("kind", ["Vector", "Matrix"])
@FUZZ
@given(data=st.data())
def test_arks_are_read_by_independent_readers(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    values = {"Vector": VECTORS, "Matrix": MATRICES}[kind]
    entries = data.draw(st.dictionaries(IDS, values, min_size=1, max_size=6))
    scp = write_ark(tmp_path, entries)
    assert same(read_scp_arrays(scp), entries)
    assert same(native(kind, f"scp:{scp}"), entries)
    assert same(native(kind, f"ark:{tmp_path}/x.ark"), entries)
    assert same({key: np.array(value) for key, value in kaldiio.load_scp(str(scp)).items()}, entries)
    with getattr(kaldi_native_io, f"RandomAccessFloat{kind}Reader")(f"scp,s,cs:{scp}") as reader:
        assert same({key: np.array(reader[key], copy=True) for key in sort_ids(entries)}, entries)


@FUZZ
@given(entries=st.dictionaries(IDS, VECTORS | MATRICES, min_size=1, max_size=8))
def test_the_bytes_are_kaldiios(tmp_path: Path, entries: dict[str, np.ndarray]) -> None:
    write_ark(tmp_path, entries)
    kaldiio.save_ark(str(tmp_path / "k.ark"), entries)
    assert (tmp_path / "x.ark").read_bytes() == (tmp_path / "k.ark").read_bytes()


def test_the_scp_is_absolute_and_sorted_whatever_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ArkWriter("deep/x.ark", "x.scp") as writer:
        for key in ("b", "a-2", "a1", "a-10"):
            writer.write(key, [1.0])
    table = read_table("x.scp", fields=2)
    assert list(table) == ["a-10", "a-2", "a1", "b"]
    assert table["b"] == f"{tmp_path}/deep/x.ark:2"  # behind `b `, on the object


def test_other_numbers_become_float32(tmp_path: Path) -> None:
    entries = {"double": np.arange(3.0), "list": [1, 2], "strided": np.arange(12.0).reshape(3, 4).T[::2]}
    found = read_scp_arrays(write_ark(tmp_path, entries))  # type: ignore[arg-type]
    assert all(value.dtype == np.float32 and (value == np.asarray(entries[key])).all() for key, value in found.items())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_no_numbers_are_refused_and_nothing_is_left(tmp_path: Path, bad: float) -> None:
    with pytest.raises(UserError, match="^u2: holds NaN or infinite values: not written to .*x.ark"):
        write_ark(tmp_path, {"u1": np.ones(3), "u2": np.array([0.0, bad])})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("key", ["", "a b", "a\tb", "a\n", "twice"])
def test_keys_that_no_table_could_hold(tmp_path: Path, key: str) -> None:
    with (
        pytest.raises(ValueError, match="no key of an ark"),
        ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer,
    ):
        writer.write("twice", [1.0])
        writer.write(key, [1.0])
    assert os.listdir(tmp_path) == []


def test_three_dimensions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a vector or a matrix"):
        write_ark(tmp_path, {"u": np.zeros((1, 2, 3))})


@pytest.mark.parametrize("limit", [0, 100, 2000, 4000])
def test_a_full_disk_leaves_the_old_files(
    tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]], limit: int
) -> None:
    """The ark is of 3.3 kB (fails at 0 to 2000 bytes), its scp is longer than 4000."""
    scp = write_ark(tmp_path, {"old": np.ones(3, np.float32)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    entries = {f"utterance-with-quite-a-long-name-{i:02d}": np.zeros(1) for i in range(60)}
    with file_size_limit(limit), pytest.raises(UserError, match=r"x\.(ark|scp): the file-size limit is reached"):
        write_ark(tmp_path, entries)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert list(read_scp_arrays(scp)) == ["old"]


def test_a_place_where_no_ark_can_be_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with pytest.raises(UserError, match="plain file"), ArkWriter(tmp_path / "plain/x.ark", tmp_path / "x.scp"):
        pass
    assert os.listdir(tmp_path) == ["plain"]
