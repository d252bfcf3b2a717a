"""Damaged arks and scps end in one line; nothing else is raised, and no memory is taken for what is not there."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.kaldi_io import ArkWriter, read_scp_arrays


def fuzz(folder: Path, which: str, examples: int) -> None:
    with ArkWriter(folder / "x.ark", folder / "x.scp") as writer:
        writer.write("a", np.arange(4.0))
        writer.write("b", np.arange(6.0).reshape(2, 3))
    ark, scp = folder / "x.ark", folder / "x.scp"
    path = ark if which == "ark" else scp
    original = path.read_bytes()

    @given(st.integers(0, len(original)), st.binary(max_size=6), st.integers(0, 12))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def damage(place: int, inserted: bytes, removed: int) -> None:
        path.write_bytes(original[:place] + inserted + original[place + removed :])
        with contextlib.suppress(UserError):
            assert sum(array.size for array in read_scp_arrays(scp).values()) < 1000

    damage()


@pytest.mark.parametrize("which", ["ark", "scp"])
def test_any_damage_is_a_user_error_or_harmless(which: str, tmp_path: Path) -> None:
    fuzz(tmp_path, which, 200)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["ark", "scp"])
def test_much_damage_is_a_user_error_or_harmless(which: str, tmp_path: Path) -> None:
    fuzz(tmp_path, which, 20000)
