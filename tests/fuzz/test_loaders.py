"""Damaged files of every kind that is read from others: a result or one line, in 5 s and 1 GB, and nothing is run."""

import functools
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import Damage, damaged, damages
from tests.fuzz.loaders import LOADERS, can_be_damaged
from tests.fuzz.sandbox import Sandbox

FEW = 2000 // len(LOADERS) + 1  # 2,000 of all kinds together
MANY = int(os.environ.get("FUZZ_CASES", 100_000)) // len(LOADERS) + 1
each_kind = pytest.mark.parametrize("kind", LOADERS)


def fuzz(kind: str, cases: int) -> None:
    with Sandbox(kind) as sandbox:
        names = [name for name in sandbox.whole if can_be_damaged(name)]

        @functools.lru_cache(maxsize=256)
        def finding(name: str, content: bytes) -> str:
            return sandbox.finding({**sandbox.whole, name: content})

        @given(st.sampled_from(names), damages)
        @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def try_damage(name: str, damage: Damage) -> None:
            found = finding(name, damaged(sandbox.whole[name], damage))
            assert not found, f"{kind}, {name}: {found}"

        try_damage()


@each_kind
def test_damaged_files(kind: str) -> None:
    fuzz(kind, FEW)


@pytest.mark.slow
@each_kind
def test_many_damaged_files(kind: str) -> None:
    fuzz(kind, MANY)
