"""Damaged files of every kind that is read from others: a result or one line, in 5 s and 1 GB, and nothing is run."""

import functools
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import Damage, damaged, damages
from tests.fuzz.loaders import LOADERS, can_be_damaged
from tests.fuzz.sandbox import Sandbox

TWICE = 1.25  # of five draws one is a file that has been read already
FEW = int(TWICE * 2000) // len(LOADERS) + 1  # 2,000 files of all kinds together
MANY = int(TWICE * int(os.environ.get("FUZZ_CASES", 100_000))) // len(LOADERS) + 1
each_kind = pytest.mark.parametrize("kind", LOADERS)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        yield made


def fuzz(sandbox: Sandbox, kind: str, cases: int) -> None:
    whole = sandbox.whole(kind)
    names = [name for name in whole if can_be_damaged(name)]

    @functools.lru_cache(maxsize=256)  # a finding is looked at again and again while it is made smaller
    def finding(name: str, content: bytes) -> str:
        return sandbox.finding(kind, {**whole, name: content})

    @given(st.sampled_from(names), damages)
    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def try_damage(name: str, damage: Damage) -> None:
        found = finding(name, damaged(whole[name], damage))
        assert not found, f"{kind}, {name}: {found}"

    try_damage()
    print(f"{kind}: {sandbox.taken[kind]}")  # `-rP` shows it


@each_kind
def test_damaged_files(kind: str, sandbox: Sandbox) -> None:
    fuzz(sandbox, kind, FEW)


@pytest.mark.slow
@each_kind
def test_many_damaged_files(kind: str, sandbox: Sandbox) -> None:
    fuzz(sandbox, kind, MANY)
