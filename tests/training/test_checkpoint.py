"""Checkpoints on disk: the newest are kept, a damaged one is passed over, the best weights are those that are named."""

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.training.checkpoint import BestWeights, CheckpointStore


def state(number: int) -> dict[str, object]:
    return {"weights": torch.full((3,), float(number)), "course": {"steps": number}}


def test_the_newest_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 2)
    assert store.newest() is None
    for steps in (5, 10, 15, 20):
        store.save(state(steps), steps)
    assert [int(path.name[:9]) for path in store.paths()] == [15, 20]
    found = CheckpointStore(tmp_path, 2).newest()
    assert found is not None and found[0]["course"] == {"steps": 20} and torch.equal(
        found[0]["weights"], torch.full((3,), 20.0)
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["flipped", "short", "empty", "foreign"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, kind: str) -> None:
    """A single flipped bit too, with which torch reads other weights and says nothing."""
    store = CheckpointStore(tmp_path, 3)
    for steps in (5, 10, 15):
        newest = store.save(state(steps), steps)
    content = bytearray(newest.read_bytes())
    place = random.Random(0).randrange(len(content))
    content[place] ^= 4
    changed = {"flipped": bytes(content), "short": bytes(content[: len(content) // 2]), "empty": b"", "foreign": b"PK"}
    newest.write_bytes(changed[kind])
    found = store.newest()
    assert found is not None and found[0]["course"] == {"steps": 10} and store.damaged == [newest]
    store.save(state(12), 12)  # what lies ahead of it is of no use any more
    assert [int(path.name[:9]) for path in store.paths()] == [5, 10, 12]


def test_all_damaged(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 2)
    paths = [store.save(state(steps), steps) for steps in (5, 10)]
    for path in paths:
        path.write_bytes(b"")
    assert store.newest() is None and store.damaged == paths[::-1]


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), min_size=1, max_size=8), count=st.integers(1, 3))
def test_the_best_weights(tmp_path_factory: pytest.TempPathFactory, values: list[float], count: int) -> None:
    folder = tmp_path_factory.mktemp("best")
    best = BestWeights(folder, count, 1)
    for epoch, value in enumerate(values, 1):
        best.rank(value, epoch)
        best.write(epoch, {"w": torch.tensor([float(epoch)]), "n": torch.tensor(epoch)}, best.kept)
    expected = [epoch for _, epoch in sorted((value, epoch) for epoch, value in enumerate(values, 1))[:count]]
    assert [epoch for _, epoch in best.kept] == expected
    there = {path.name for path in (folder / "checkpoints").iterdir()}
    assert there == {path.name for path in best.paths(best.kept)}
    mean = best.mean()
    assert mean["w"].item() == pytest.approx(sum(expected) / len(expected)) and mean["n"].item() == expected[0]


def test_weights_that_an_older_checkpoint_names_stay(tmp_path: Path) -> None:
    best = BestWeights(tmp_path, 1, 2)
    for epoch, value in ((1, 3.0), (2, 2.0), (3, 1.0)):
        best.rank(value, epoch)
        best.write(epoch, {"w": torch.tensor([float(epoch)])}, best.kept)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["epoch-000002.pt", "epoch-000003.pt"]


def test_no_best_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no epoch's weights are kept: set training.checkpoints.best=1"):
        BestWeights(tmp_path, 0, 1).mean()
