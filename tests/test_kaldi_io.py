"""Tables and arks: fuzzed, and against kaldi_native_io and kaldiio as independent readers and writers."""

import os
import pickle
import re
import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import kaldi_native_io
import kaldiio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imlkd.errors import UserError
from imlkd.kaldi_io import (
    ArkWriter,
    join_scps,
    read_array,
    read_lines,
    read_scp_arrays,
    read_table,
    sort_ids,
    write_table,
)

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)
WORDS = st.lists(IDS, min_size=1, max_size=3).map(" ".join)
FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)
VECTORS = arrays(np.float32, st.integers(0, 20), elements=FLOATS)
MATRICES = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=FLOATS)


# Tables


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


# Writing arks


def write_ark(folder: Path, entries: dict[str, np.ndarray], name: str = "x") -> Path:
    with ArkWriter(folder / f"{name}.ark", folder / f"{name}.scp") as writer:
        for key, value in entries.items():
            writer.write(key, value)
    return folder / f"{name}.scp"


def native(kind: str, rspecifier: str) -> dict[str, np.ndarray]:
    with getattr(kaldi_native_io, f"SequentialFloat{kind}Reader")(rspecifier) as reader:
        return {key: np.array(value, copy=True) for key, value in reader}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        found[key].dtype == np.float32
        and found[key].shape == expected[key].shape
        and (found[key] == expected[key]).all()
        for key in expected
    )


@FUZZ
@given(vectors=st.dictionaries(IDS, VECTORS, min_size=1, max_size=8))
def test_vectors_are_read_by_independent_readers(tmp_path: Path, vectors: dict[str, np.ndarray]) -> None:
    scp = write_ark(tmp_path, vectors)
    assert same(read_scp_arrays(scp), vectors)
    assert same(native("Vector", f"scp:{scp}"), vectors)
    assert same(native("Vector", f"ark:{tmp_path}/x.ark"), vectors)
    assert same({key: np.array(value) for key, value in kaldiio.load_scp(str(scp)).items()}, vectors)
    with kaldi_native_io.RandomAccessFloatVectorReader(f"scp,s,cs:{scp}") as reader:
        assert same({key: np.array(reader[key], copy=True) for key in sort_ids(vectors)}, vectors)


@FUZZ
@given(matrices=st.dictionaries(IDS, MATRICES, min_size=1, max_size=5))
def test_matrices_are_read_by_independent_readers(tmp_path: Path, matrices: dict[str, np.ndarray]) -> None:
    scp = write_ark(tmp_path, matrices)
    assert same(read_scp_arrays(scp), matrices)
    assert same(native("Matrix", f"scp:{scp}"), matrices)
    assert same(native("Matrix", f"ark:{tmp_path}/x.ark"), matrices)
    with kaldi_native_io.RandomAccessFloatMatrixReader(f"scp,s,cs:{scp}") as reader:
        assert same({key: np.array(reader[key], copy=True) for key in sort_ids(matrices)}, matrices)


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


# Reading arks


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


class Planted:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


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


# Joining


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
