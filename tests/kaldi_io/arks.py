"""What tables and arks are drawn from, and how they are written and compared."""

from pathlib import Path

import kaldi_native_io
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imlkd.kaldi_io import ArkWriter

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)
WORDS = st.lists(IDS, min_size=1, max_size=3).map(" ".join)
FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)
VECTORS = arrays(np.float32, st.integers(0, 20), elements=FLOATS)
MATRICES = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=FLOATS)


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
