"""The device of a process, chosen once; more GPUs than there are make one line."""

from __future__ import annotations

import pytest
import torch

from imlkd.errors import UserError
from imlkd.training.check import check_machines
from imlkd.training.device import GPUS, check_gpus, make_deterministic, training_device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine with two GPUs, as far as torch says; which one was made the current one."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


def test_the_cpu_where_nothing_is_said(gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GPUS, raising=False)
    assert training_device() == torch.device("cpu") and not gpus


def test_a_gpu_for_each_process(gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS, "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert training_device() == torch.device("cuda", 1) == gpus[-1]


def test_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv(GPUS, "1")
    with pytest.raises(UserError, match=r"^--ngpu 1: torch can use 0 GPUs of this machine"):
        training_device()
    check_gpus(0)


def test_machines_of_the_recipe(gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    check_machines("2", "1", "", "run.pl")
    check_machines("8", "1", "4", "slurm.pl --mem 4G")  # of whose machines nothing is known here
    for values, said in [
        (("3", "1", "", "utils/run.pl"), "--ngpu 3: torch can use 2 GPUs"),
        (("2", "4", "", "run.pl"), "--nproc 4 with --ngpu 2"),
        (("0", "0", "", "run.pl"), "--nproc 0: expected a whole number from 1"),
        (("x", "1", "", "run.pl"), "--ngpu x: expected"),
        (("0", "1", "2", "run.pl"), "--nodes 2: no Slurm job"),
    ]:
        with pytest.raises(UserError, match=f"^{said}"):
            check_machines(*values)


def test_same_result_each_time() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    make_deterministic(torch.device("cpu"))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(before)
