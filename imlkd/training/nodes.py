"""The machines of one training: named on the command line, or found in what Slurm tells its jobs."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from imlkd.errors import UserError


@dataclass(frozen=True)
class Nodes:
    """``count`` machines, of which this one is number ``rank``; they meet at ``address``, HOST:PORT of the first."""

    count: int = 1
    rank: int = 0
    address: str = ""


def nodes_of(count: int | None, rank: int | None, address: str, environment: Mapping[str, str]) -> Nodes:
    """What was asked for, completed from the environment of a Slurm job.

    :param count: None: those of the Slurm job, or this machine alone.
    :param rank: None: that of the Slurm step. Where both are missing `has_to_spread` says so.
    :raises UserError: for several machines and no way to know them, or more of them than the job has.
    """
    of_job = int(environment.get("SLURM_JOB_NUM_NODES", "1"))
    if "SLURM_JOB_ID" in environment and count is not None and count > of_job:
        raise UserError(f"--nodes {count}: this Slurm job has {of_job}: submit it with --nodes {count}")
    nodes = of_job if count is None else count
    if nodes == 1:
        return Nodes()
    if address:
        here = rank if rank is not None else int(environment.get("SLURM_NODEID", "0"))
        if not re.fullmatch(r"[^\s:]+:\d+|\[[0-9a-fA-F:]+\]:\d+", address):
            raise UserError(f"--at {address}: expected HOST:PORT, of the first machine")
        if here >= nodes:
            raise UserError(f"--rank {here}: {nodes} machines have the numbers 0 to {nodes - 1}")
        return Nodes(nodes, here, address)
    if "SLURM_JOB_ID" not in environment:
        raise UserError(
            f"--nodes {nodes}: no Slurm job: take --cmd slurm.pl, or start `imlkd launch --nodes {nodes} --rank R --at"
            " HOST:PORT ...` on each machine (docs/cluster.md)"
        )
    return Nodes(nodes)


def has_to_spread(nodes: Nodes) -> bool:
    """Whether this is the one process of a Slurm job that has to start the others."""
    return nodes.count > 1 and not nodes.address


def meeting_place(environment: Mapping[str, str]) -> str:
    """HOST:PORT on this node by which the others reach it: the address that Slurm itself uses, and a free port."""
    name = environment.get("SLURMD_NODENAME") or environment.get("SLURM_NODELIST") or socket.gethostname()
    said = subprocess.run(["scontrol", "show", "node", "--oneliner", name], capture_output=True, text=True, check=False)
    found = re.search(r"\bNodeAddr=(\S+)", said.stdout)
    return f"{found[1] if found else name}:{free_port()}"


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def spreading_words(nodes: Nodes) -> list[str]:
    """Slurm's command in front of one that runs once on each node of the job.

    ``--overlap``: trainings that run side by side share the nodes. ``--wait``: when one node's processes have ended,
    the others have a minute to find out.
    """
    count = str(nodes.count)
    return ["srun", "--nodes", count, "--ntasks", count, "--ntasks-per-node", "1", "--overlap", "--wait", "60"]


def all_answer(nodes: Nodes) -> bool:
    """Whether every node of the job runs a command."""
    probe = [*spreading_words(nodes), "--time", "1", "true"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=120, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
