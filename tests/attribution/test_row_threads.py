"""Parts of a batch in threads of their own give what the whole batch gives."""

import copy
import os
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from imlkd.attribution.gradients import TeacherFunction
from imlkd.attribution.quantities import TargetCosine
from imlkd.attribution.row_threads import RowThreads, joined
from tests.attribution.engine_models import features_of, model_of


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_parts_are_put_together_in_order(threads: int, rows: int) -> None:
    left, right = torch.randn(rows, 4), torch.randn(rows)
    used = []

    def work(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        used.append((threading.get_ident(), torch.get_num_threads(), len(one)))
        return one * other[:, None], other + 1

    found = joined(RowThreads().map(work, left, right))
    torch.testing.assert_close(found, (left * right[:, None], right + 1), rtol=0, atol=0)
    assert len(used) == min(threads, rows)
    assert sorted(size for _, _, size in used) == sorted(len(part) for part in left.tensor_split(min(threads, rows)))
    if len(used) > 1:  # each on one thread of torch, and the caller keeps its own
        assert {count for _, count, _ in used} == {1}
        assert threading.get_ident() not in {thread for thread, _, _ in used}
    assert torch.get_num_threads() == threads


def test_another_number_of_threads_is_followed() -> None:
    before, own = torch.get_num_threads(), RowThreads()
    try:
        for count in (2, 3, 1, 2):
            torch.set_num_threads(count)
            assert len(own.map(lambda one: one, torch.zeros(6, 1))) == count
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ["tdnn", "ecapa"])
def test_gradients_are_those_of_the_whole_batch(name: str, half: bool) -> None:
    model = copy.deepcopy(model_of(name)).float()
    points = torch.stack([features_of(model, 100, seed=i) for i in range(5)]).float()
    rows = (torch.tensor([100, 91, 100, 77, 100]), torch.tensor([0, 1, 2, 0, 1]))
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        function = TeacherFunction(model, TargetCosine())
        found.append((*function.gradient(points.clone(), *rows, half=half), function.values(points, *rows)))
    torch.set_num_threads(before)
    torch.testing.assert_close(found[0], found[1], rtol=3e-2 if half else 1e-4, atol=1e-3 if half else 1e-6)


def test_an_error_of_a_part_is_raised() -> None:
    def work(one: Tensor) -> Tensor:
        if float(one[0]) > 1:
            raise RuntimeError("not enough memory: you tried to allocate")
        return one

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="not enough memory"):
            RowThreads().map(work, torch.arange(4.0))
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    before, own = torch.get_num_threads(), RowThreads()
    torch.set_num_threads(2)
    try:
        assert len(own.map(lambda one: one + 1, torch.zeros(4))) == 2
        child = os.fork()
        if child == 0:
            os._exit(0 if len(own.map(lambda one: one + 1, torch.zeros(4))) == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)
