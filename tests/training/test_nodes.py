"""Which machines train together: asked for, or told by Slurm; what can't be is said in one line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from imlkd.errors import UserError
from imlkd.training.nodes import Nodes, all_answer, free_port, has_to_spread, meeting_place, nodes_of

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "3"}


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_one_machine_without_slurm() -> None:
    assert nodes_of(None, None, "", {}) == Nodes() == nodes_of(1, None, "", JOB)
    assert not has_to_spread(Nodes())


def test_those_of_the_job() -> None:
    assert nodes_of(None, None, "", JOB) == Nodes(3) and has_to_spread(Nodes(3))
    assert nodes_of(2, None, "", JOB) == Nodes(2)
    inside = nodes_of(3, None, "n1:4000", JOB | {"SLURM_NODEID": "2"})
    assert inside == Nodes(3, 2, "n1:4000") and not has_to_spread(inside)


def test_named_one_by_one() -> None:
    assert nodes_of(2, 1, "10.0.0.1:29400", {}) == Nodes(2, 1, "10.0.0.1:29400")
    assert nodes_of(2, 0, "[fe80::1]:29400", {}).address == "[fe80::1]:29400"


@pytest.mark.parametrize(
    ("count", "rank", "address", "environment", "said"),
    [
        (2, None, "", {}, "--nodes 2: no Slurm job: take --cmd slurm.pl, or start `imlkd launch --nodes 2 --rank R"),
        (4, None, "", JOB, "--nodes 4: this Slurm job has 3"),
        (2, 2, "a:1", {}, "--rank 2: 2 machines have the numbers 0 to 1"),
        (2, 0, "a", {}, "--at a: expected HOST:PORT"),
    ],
)
def test_refusals(count: int, rank: int | None, address: str, environment: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match="^" + said.replace("`", ".").replace("[", ".")):
        nodes_of(count, rank, address, environment)


def test_the_port_is_free() -> None:
    with socket.socket() as taken:
        taken.bind(("", free_port()))


def test_the_place_is_the_address_that_slurm_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "scontrol", 'echo "NodeName=$4 Arch=x NodeAddr=10.1.2.3 NodeHostName=other"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    host, port = meeting_place({"SLURMD_NODENAME": "n1"}).split(":")
    assert host == "10.1.2.3" and 0 < int(port) < 65536
    program(tmp_path, "scontrol", "exit 1")
    assert meeting_place({"SLURMD_NODENAME": "n1"}).startswith("n1:")


def test_whether_all_nodes_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "srun", '[ "$1 $2" = "--nodes 2" ]')
    assert all_answer(Nodes(2)) and not all_answer(Nodes(3))
