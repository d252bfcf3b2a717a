"""Kaldi's files byte by byte, against kaldi_native_io, and damaged."""

import struct
from collections.abc import Callable
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.scoring.kaldi_plda import read_matrix, read_plda, read_vector, write_array, write_plda
from imlkd.scoring.plda import Plda

PLDA = Plda(np.array([0.5, -1.0]), np.array([[2.0, 0.25], [0.0, 1e-3]]), np.array([3.0, 1 / 3]))
BINARY = (
    b"\0B<Plda> "
    + b"DV \4" + struct.pack("<i2d", 2, 0.5, -1.0)
    + b"DM \4" + struct.pack("<i", 2) + b"\4" + struct.pack("<i4d", 2, 2.0, 0.25, 0.0, 1e-3)
    + b"DV \4" + struct.pack("<i2d", 2, 3.0, 1 / 3)
    + b"</Plda> "
)  # fmt: skip
MATRIX = b"\0BFM \4" + struct.pack("<i", 2) + b"\4" + struct.pack("<i6f", 3, 0.5, -1, 2, 0.25, 0, 3)  # transform.mat
VECTOR = b" [ 0.5 -1 3 ]\n"  # mean.vec
TEXT = "<Plda>  [ 0.5 -1 ]\n [\n  2 0.25 \n  0 0.001 ]\n [ 3 0.3333333333333333 ]\n</Plda> "


def same(one: Plda, other: Plda) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("mean", "transform", "psi"))


def test_binary_byte_by_byte(tmp_path: Path) -> None:
    write_plda(tmp_path / "plda", PLDA)
    assert (tmp_path / "plda").read_bytes() == BINARY
    assert same(read_plda(tmp_path / "plda"), PLDA)


def test_text_as_kaldi_writes_it(tmp_path: Path) -> None:
    (tmp_path / "plda").write_text(TEXT)
    assert same(read_plda(tmp_path / "plda"), PLDA)
    write_plda(tmp_path / "ours", PLDA, text=True)
    assert (tmp_path / "ours").read_text().split() == TEXT.replace("-1 ", "-1.0 ").replace(" 2 ", " 2.0 ").replace(
        " 0 ", " 0.0 ").replace(" 3 ", " 3.0 ").split()  # fmt: skip
    assert same(read_plda(tmp_path / "ours"), PLDA)


def test_each_part_is_an_object_of_kaldi(tmp_path: Path) -> None:
    for start, end, kind, expected in [
        (9, 33, kaldi_native_io.DoubleVector, PLDA.mean),
        (33, 78, kaldi_native_io.DoubleMatrix, PLDA.transform),
        (78, 102, kaldi_native_io.DoubleVector, PLDA.psi),
    ]:
        (tmp_path / "part").write_bytes(b"\0B" + BINARY[start:end])
        np.testing.assert_array_equal(kind.read(str(tmp_path / "part")).numpy(), expected)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("precision", ["Float", "Double"])
def test_transform_and_mean_that_kaldi_wrote(binary: bool, precision: str, tmp_path: Path) -> None:
    dtype = "f4" if precision == "Float" else "f8"
    matrix = np.random.default_rng(0).normal(size=(3, 4)).astype(dtype)
    place = str(tmp_path / "transform.mat")
    getattr(kaldi_native_io, f"{precision}Matrix")(matrix).write(place, binary=binary)
    np.testing.assert_allclose(read_matrix(place), matrix, rtol=0 if binary else 1e-5)
    getattr(kaldi_native_io, f"{precision}Vector")(matrix[0]).write(place, binary=binary)
    np.testing.assert_allclose(read_vector(place), matrix[0], rtol=0 if binary else 1e-5)


def test_kaldi_reads_transform_and_mean(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(3, 4))
    write_array(tmp_path / "transform.mat", matrix)
    np.testing.assert_allclose(kaldi_native_io.FloatMatrix.read(str(tmp_path / "transform.mat")).numpy(), matrix, 1e-6)
    write_array(tmp_path / "mean.vec", matrix[0])
    np.testing.assert_allclose(kaldi_native_io.FloatVector.read(str(tmp_path / "mean.vec")).numpy(), matrix[0], 1e-6)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "expected <Plda>"),
        (BINARY[:40], "cut off or damaged: its header says 2 x 2|cut off or damaged"),
        (BINARY[:-8], "expected </Plda>"),
        (BINARY + b"x", "more than was expected"),
        (BINARY.replace(b"DM", b"DV", 1), "expected a float or double matrix"),
        (BINARY.replace(struct.pack("<d", 3.0), struct.pack("<d", np.nan)), "NaN or infinite"),
        (BINARY.replace(struct.pack("<d", 3.0), struct.pack("<d", -3.0)), "a variance below 0"),
        (BINARY.replace(struct.pack("<d", 1e-3), struct.pack("<d", 0.0)), "cannot be inverted"),
        (BINARY.replace(b"\4" + struct.pack("<i", 2), b"\4" + struct.pack("<i", -2), 1), "its header says -2"),
        (TEXT.replace("0.25", "").encode(), "rows of different lengths"),
        (TEXT.replace("0.25", "a").encode(), "something that is no number"),
        (TEXT.replace("3 0.3333333333333333", "3").encode(), "have shapes"),
        (TEXT.split("]")[0].encode(), "expected numbers in"),
    ],
)
def test_damaged_files_name_file_and_place(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "plda").write_bytes(content)
    with pytest.raises(UserError, match=problem) as raised:
        read_plda(tmp_path / "plda")
    assert str(raised.value).startswith(f"{tmp_path}/plda: ")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file: fit the back-end first"):
        read_vector(tmp_path / "mean.vec")


def fuzz(path: Path, original: bytes, examples: int) -> None:
    path.write_bytes(original)
    assert [read for read in (read_plda, read_vector, read_matrix) if _reads(read, path)], "the whole file is read"

    @given(st.integers(0, len(original)), st.binary(max_size=6), st.integers(0, 12))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def damage(place: int, inserted: bytes, removed: int) -> None:
        path.write_bytes(original[:place] + inserted + original[place + removed :])
        for read in (read_plda, read_vector, read_matrix):
            _reads(read, path)

    damage()


def _reads(read: Callable[[Path], object], path: Path) -> bool:
    try:
        read(path)
    except UserError:
        return False
    return True


FORMATS = {"binary": BINARY, "text": TEXT.encode(), "matrix": MATRIX, "vector": VECTOR}


@pytest.mark.parametrize("original", FORMATS.values(), ids=FORMATS)
def test_any_damage_is_a_user_error_or_harmless(original: bytes, tmp_path: Path) -> None:
    fuzz(tmp_path / "plda", original, 200)


@pytest.mark.slow
@pytest.mark.parametrize("original", FORMATS.values(), ids=FORMATS)
def test_much_damage_is_a_user_error_or_harmless(original: bytes, tmp_path: Path) -> None:
    fuzz(tmp_path / "plda", original, 20000)
