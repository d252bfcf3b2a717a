import numpy as np
import pytest

from imlkd.errors import UserError
from imlkd.scoring.vectors import stack

VECTORS = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([3.0, 4.0], np.float32)}


def test_in_the_order_that_is_asked_for() -> None:
    assert stack(VECTORS).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert stack(VECTORS, ["b", "a", "b"]).tolist() == [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("vector", "problem"),
    [
        ([np.nan, 1.0], "bad: embedding holds NaN or infinite values"),
        ([1.0, -np.inf], "bad: embedding holds NaN or infinite values"),
        ([0.0, 0.0], "bad: embedding is all zero"),
        ([1.0], r"bad: embedding has shape \(1,\), expected a vector like that of a, \(2,\): do all sets"),
        ([[1.0, 1.0]], r"bad: embedding has shape \(1, 2\)"),
    ],
)
def test_unusable_ones_are_named(vector: list[float], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        stack({**VECTORS, "bad": np.array(vector, np.float32)})
    stack({**VECTORS, "bad": np.array(vector, np.float32)}, ["a", "b"])
