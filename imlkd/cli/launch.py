"""`imlkd launch`: one training in several processes, on this machine or on several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from imlkd.errors import PREEMPTED, UserError

if TYPE_CHECKING:
    from imlkd.training.nodes import Nodes

FAILED = 101  # of one node: above PREEMPTED, as srun leaves with the highest status of its tasks
MEETING_SECONDS = 900  # that the first node waits for the others


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--nproc", type=click.IntRange(1), default=1, help="Processes on each machine.")
@click.option("--ngpu", type=click.IntRange(0), default=0, help="GPUs of each machine, a process each, 0: CPU.")
@click.option("--nodes", type=click.IntRange(1), help="Machines (default: those of the Slurm job, or this one).")
@click.option("--rank", type=click.IntRange(0), help="Number of this machine, from 0 (default: Slurm's).")
@click.option("--at", "address", default="", envvar="IMLKD_AT", help="HOST:PORT of machine 0 (default: found).")
@click.argument("command", nargs=-1, required=True)
def launch(
    nproc: int, ngpu: int, nodes: int | None, rank: int | None, address: str, command: tuple[str, ...]
) -> None:
    """Run `imlkd COMMAND` in several processes that train one model; a free port is found.

    In a Slurm job of several nodes it starts itself on each of them. SIGUSR1 and SIGTERM are passed on. Leaves with 75
    when the training has saved its state on request, or has lost a node: the same command goes on.
    """
    from imlkd.training.device import GPUS, check_gpus
    from imlkd.training.nodes import has_to_spread, nodes_of

    machines = nodes_of(nodes, rank, address, os.environ)
    if ngpu and nproc not in (1, ngpu):
        raise UserError(f"--nproc {nproc} with --ngpu {ngpu}: a GPU has one process: leave --nproc out")
    signal.signal(signal.SIGUSR1, _pass_on)
    if has_to_spread(machines):
        sizes = ("--nproc", str(nproc), "--ngpu", str(ngpu))
        raise click.exceptions.Exit(_spread(machines, [*sizes, "--nodes", str(machines.count)], command))
    if ngpu:
        check_gpus(ngpu)
        os.environ[GPUS] = str(ngpu)
    status = _run_here(machines, ngpu or nproc, command)
    if status:
        failed = FAILED if machines.count > 1 and status == 1 else status
        raise click.exceptions.Exit(failed)


def _run_here(machines: Nodes, processes: int, command: tuple[str, ...]) -> int:
    """torchrun's launcher, by its API; the status that stands for all of its processes."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    several = machines.count > 1
    config = LaunchConfig(
        min_nodes=machines.count, max_nodes=machines.count, nproc_per_node=processes, max_restarts=0,
        monitor_interval=0.2, run_id=machines.address if several else str(os.getpid()),
        rdzv_backend="static" if several else "c10d", rdzv_endpoint=machines.address or "localhost:0",
        rdzv_configs={"rank": machines.rank, "timeout": MEETING_SECONDS} if several else {},
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-u", "-m", "imlkd.cli.main", *command)
    except ChildFailedError as error:
        return _status_of({failure.exitcode for failure in error.failures.values()})
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        return PREEMPTED
    return 0


def _status_of(states: set[int]) -> int:
    """An error of one process counts for all; those that were ended because of it do not."""
    own = states - {-signal.SIGTERM}
    return PREEMPTED if PREEMPTED in own and len(own) == 1 else 1


def _spread(machines: Nodes, options: list[str], command: tuple[str, ...]) -> int:
    """Start this command on every node of the Slurm job; its status, 75 where a node no longer answers."""
    from imlkd.training.nodes import all_answer, meeting_place, spreading_words

    signal.signal(signal.SIGTERM, _ask_to_leave)  # srun would end the training for it
    own = [sys.executable, "-u", "-m", "imlkd.cli.main", "launch", *options, "--at", meeting_place(os.environ)]
    status = subprocess.run([*spreading_words(machines), *own, *command], check=False).returncode
    if status in (0, PREEMPTED):
        return status
    if not all_answer(machines):
        click.echo("imlkd: preempted: a node of this job no longer answers: the same command goes on", err=True)
        return PREEMPTED
    return 1


def _ask_to_leave(number: int, frame: FrameType | None) -> None:
    _pass_on(signal.SIGUSR1, frame)


def _pass_on(number: int, frame: FrameType | None) -> None:
    """To the processes of the training; each saves and leaves at the same step."""
    own = os.getpid()
    for child in Path(f"/proc/{own}/task/{own}/children").read_text().split():
        os.kill(int(child), number)
