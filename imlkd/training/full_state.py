"""The full state of a training: gathered for a checkpoint, and put back so that the next step is the one due."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from imlkd.training.device import training_device
from imlkd.training.identity import Identity
from imlkd.training.position import Position
from imlkd.training.processes import Processes
from imlkd.training.random_state import random_state, restore_random_state, seed_of


@dataclass
class Course:
    """What the loop remembers beside weights.

    :param seconds: of training so far.
    :param sums: of the loss and its terms over the steps of the epoch in hand.
    :param diagnosis: what the first step of the epoch said of its terms.
    :param said: subjects of warnings that have been given.
    :param best: (value, epoch) of the weights that are kept, best first.
    :param skipped: steps left out because loss or gradient were not finite.
    """

    position: Position = field(default_factory=Position)
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    diagnosis: dict[str, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    best: list[tuple[float, int]] = field(default_factory=list)
    skipped: int = 0


def gather_state(
    identity: Identity, course: Course, modules: Mapping[str, nn.Module], tools: Mapping[str, Any], processes: Processes
) -> dict[str, Any]:
    """All of it as tensors and plain values; every process calls this, the leading one writes.

    Most of it is not a copy: the next step changes it.

    :param tools: what else has a ``state_dict``: the optimiser, the scaler.
    """
    course_state = vars(course) | {"position": list(vars(course.position).values())}
    own = {"random": random_state(), "sums": course.sums}
    return {
        "identity": identity.plain(),
        "processes": processes.count,
        "device": training_device().type,
        "course": course_state,
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "tools": {name: tool.state_dict() for name, tool in tools.items()},
        "own": processes.gathered(own),
    }


def copied(value: Any) -> Any:
    """A state, or a part of it, that nothing changes any more: tensors (on the CPU), lists and dicts of its own."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        own = copy.copy(value)  # of its own kind, with the versions that modules note in it
        own.update((key, copied(item)) for key, item in value.items())
        return own
    if isinstance(value, list | tuple):
        return type(value)(map(copied, value))
    return value


def course_of(state: Mapping[str, Any], processes: Processes) -> Course:
    """The loop's own part of a state."""
    values = dict(state["course"])
    if state["processes"] == processes.count:
        values["sums"] = state["own"][processes.rank]["sums"]
    values["position"] = Position(*values["position"])
    values["best"] = [(value, epoch) for value, epoch in values["best"]]
    return Course(**values)


def put_back(
    state: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    tools: Mapping[str, Any],
    processes: Processes,
    seed: int,
) -> str:
    """Load weights, tools and random states into what is there; returns what is not as it was, or nothing.

    With another number of processes each begins its random numbers anew, from the seed and the steps done.
    """
    for name, module in modules.items():
        module.load_state_dict(state["modules"][name])
    for name, tool in tools.items():
        tool.load_state_dict(state["tools"][name])
    said = []
    before, now = state["device"], training_device().type
    if before != now:
        said.append(f"{before} before, {now} now: no longer the same to the bit")
    if state["processes"] == processes.count:
        restore_random_state(state["own"][processes.rank]["random"])
    else:
        torch.manual_seed(seed_of(seed, processes.rank, state["course"]["position"][2]))
        said.append(
            f"{state['processes']} processes before, {processes.count} now: goes on at the next epoch, no longer the"
            " same to the bit"
        )
    return "; ".join(said)
