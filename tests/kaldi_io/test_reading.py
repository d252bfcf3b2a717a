"""Arks of others: those of kaldi_native_io and kaldiio, cut off, damaged, planted."""

import os
import pickle
import struct
import tracemalloc
from pathlib import Path

import kaldi_native_io
import kaldiio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imlkd.errors import UserError
from imlkd.kaldi_io import read_array, read_scp_arrays, read_table, sort_ids
from tests.fuzz.planted import Planted
from tests.kaldi_io.arks import FLOATS, FUZZ, IDS, same, write_ark


@FUZZ
@given(
    entries=st.dictionaries(
        IDS,
        arrays(np.float64, st.integers(1, 9), elements=FLOATS) | arrays(np.float64, (3, 2), elements=FLOATS),
        min_size=1,
        max_size=5,
    )
)
def test_doubles(tmp_path: Path, entries: dict[str, np.ndarray]) -> None:
    with kaldiio.WriteHelper(f"ark,scp:{tmp_path}/d.ark,{tmp_path}/d.scp") as writer:
        for key in sort_ids(entries):
            writer(key, entries[key])
    assert same(read_scp_arrays(tmp_path / "d.scp"), entries)


@pytest.mark.parametrize("kind", ["CompressedMatrix", "DoubleVector", "DoubleMatrix", "FloatVector", "FloatMatrix"])
@pytest.mark.parametrize("form", ["", ",t"])
def test_what_kaldi_native_io_writes(tmp_path: Path, kind: str, form: str) -> None:
    generator = np.random.default_rng(3)
    values = {f"u{i}": generator.normal(size=(7, 5) if "Matrix" in kind else 6).astype(np.float32) for i in range(4)}
    writer = getattr(kaldi_native_io, f"{kind}Writer")(f"ark,scp{form}:{tmp_path}/x.ark,{tmp_path}/x.scp")
    with writer:
        for key, value in values.items():
            if kind == "CompressedMatrix":
                writer.write(key, value, kaldi_native_io.CompressionMethod.kTwoByteAuto)
            else:
                writer.write(key, value.astype(np.float64) if "Double" in kind else value)
    found = read_scp_arrays(tmp_path / "x.scp")
    assert found.keys() == values.keys()
    for key, value in values.items():
        tolerance = 1e-4 if kind == "CompressedMatrix" else 1e-5 if form else 0.0
        np.testing.assert_allclose(found[key], value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", [None, 1, 2, 3, 5])
def test_what_kaldiio_writes_and_every_cut_of_it(tmp_path: Path, method: int | None) -> None:
    """Plain float and each compressed form: read alike, and refused when cut at any byte."""
    value = np.random.default_rng(0).random((12, 3)).astype(np.float32)
    ark, cut = tmp_path / "x.ark", tmp_path / "cut.ark"
    kaldiio.save_ark(str(ark), {"key": value}, scp=str(tmp_path / "x.scp"), compression_method=method)
    place = read_table(tmp_path / "x.scp")["key"]
    np.testing.assert_array_equal(read_array(place), kaldiio.load_mat(place))
    content = ark.read_bytes()
    for length in range(4, len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(UserError, match=rf"^{cut}:4: not a readable Kaldi object \(cut off.*\): make it again"):
            read_array(f"{cut}:4")


@pytest.mark.parametrize(
    "header",
    [
        b"\0BFV \4" + struct.pack("<i", 2**31 - 1),
        b"\0BDM \4" + struct.pack("<i", 2**31 - 1) + b"\4" + struct.pack("<i", 2**31 - 1),
        b"\0BCM2 " + struct.pack("<ffii", 0, 1, 2**31 - 1, 2**31 - 1),
        b"\0BCM " + struct.pack("<ffii", 0, 1, 1, 2**31 - 1),
        b"\0BFV \4" + struct.pack("<i", -1),
        b"\0BFM \4" + struct.pack("<i", -4) + b"\4" + struct.pack("<i", -4),
        b"\0BFM \5" + struct.pack("<i", 1) + b"\4" + struct.pack("<i", 1),
    ],
)
def test_a_damaged_header_takes_no_memory(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.ark"
    path.write_bytes(b"u " + header + bytes(64))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"^{path}:2: not a readable Kaldi object"):
            read_array(f"{path}:2")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("head", [b"PKL", b"NPY\x04\0\0\1\0", b"AUDIO\1\4", b"RIFF", b"fLaC", b"\0B\4", b"\0BPKL "])
def test_no_pickle_and_no_audio_is_taken_for_an_array(tmp_path: Path, head: bytes) -> None:
    pwned = tmp_path / "pwned"
    (tmp_path / "x.ark").write_bytes(b"u " + head + pickle.dumps(Planted(pwned)))
    with pytest.raises(UserError, match=r"neither a float vector or matrix nor text"):
        read_array(f"{tmp_path}/x.ark:2")
    assert not pwned.exists()


@pytest.mark.parametrize("content", [b"", b" ", b"[ 1 2", b"[ 1 x ]\n", b"1 2 three\n", b"a text", b"\0B", b"\0BFV "])
def test_no_arrays(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ark").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.ark: not a readable Kaldi object"):
        read_array(f"{tmp_path}/x.ark")


@pytest.mark.parametrize("name", ["touch pwned |", "| touch pwned", " ", "gone.ark:3", "gone.ark"])
def test_places_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match="expected PATH:OFFSET, pipes are not read|^gone.ark: no such ark: run the stage"
    ):
        read_array(name)
    assert os.listdir(tmp_path) == []


def test_an_offset_behind_the_end(tmp_path: Path) -> None:
    scp = write_ark(tmp_path, {"u": np.ones(3)})
    with pytest.raises(UserError, match=r"not a readable Kaldi object \(cut off: the file has 24 bytes\)"):
        read_array(read_table(scp)["u"] + "00")


def test_a_folder_with_brackets_and_colons(tmp_path: Path) -> None:
    folder = tmp_path / "a[0:1]:2"
    folder.mkdir()
    assert same(read_scp_arrays(write_ark(folder, {"u": np.ones(3)})), {"u": np.ones(3, np.float32)})


@pytest.mark.parametrize("part", ["[0:2]", "[3:3]", "[4]", "[:,1:2]", "[,0:0]", "[1:3,2:2]", "[:]", "[0:4,0:2]"])
def test_ranges_are_kaldis(tmp_path: Path, part: str) -> None:
    scp = write_ark(tmp_path, {"u": np.arange(15.0).reshape(5, 3)})
    place = read_table(scp)["u"] + part
    np.testing.assert_array_equal(read_array(place), kaldiio.load_mat(place))


@pytest.mark.parametrize("part", ["[0:5]", "[3:2]", "[0:1,0:1,0:1]", "[::2]", "[0:4,0:3]"])
def test_ranges_beyond_the_array(tmp_path: Path, part: str) -> None:
    scp = write_ark(tmp_path, {"u": np.arange(15.0).reshape(5, 3)})
    with pytest.raises(UserError, match="range|invalid literal"):
        read_array(read_table(scp)["u"] + part)
