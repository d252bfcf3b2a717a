"""Embeddings by id as one matrix, after a look at each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from imlkd.errors import UserError
from imlkd.kaldi_io import FloatArray
from imlkd.scoring.metrics import Floats


def stack(vectors: Mapping[str, FloatArray], names: Iterable[str] | None = None) -> Floats:
    """(N, D) in double precision, of ``names`` (default: all, in the mapping's order).

    :raises UserError: naming the id, for NaN or infinite values, a zero vector, or another shape than the first's.
    """
    chosen = list(vectors if names is None else names)
    shape = vectors[chosen[0]].shape
    for name in chosen:
        if vectors[name].shape != shape or len(shape) != 1:
            raise UserError(
                f"{name}: embedding has shape {vectors[name].shape}, expected a vector like that of {chosen[0]}, "
                f"{shape}: do all sets come from the same model?"
            )
    matrix = np.stack([vectors[name] for name in chosen]).astype(np.float64)
    for usable, problem in (
        (np.isfinite(matrix).all(axis=1), "holds NaN or infinite values"),
        (matrix.any(axis=1), "is all zero"),
    ):
        if not usable.all():
            raise UserError(f"{chosen[int(np.argmin(usable))]}: embedding {problem}: extract it again")
    return matrix
