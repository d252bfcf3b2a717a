"""`imlkd launch`: one training in several processes of this machine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from imlkd.errors import PREEMPTED


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--nproc", type=click.IntRange(1), default=1, help="Processes.")
@click.argument("command", nargs=-1, required=True)
def launch(nproc: int, command: tuple[str, ...]) -> None:
    """Run `imlkd COMMAND` in several processes that train one model; a free port is found.

    SIGUSR1 and SIGTERM are passed on. Leaves with 75 when the training has saved its state on request.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=nproc, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        run_id=str(os.getpid()), max_restarts=0, monitor_interval=0.2,
    )  # fmt: skip
    signal.signal(signal.SIGUSR1, _pass_on)
    try:
        elastic_launch(config, sys.executable)("-u", "-m", "imlkd.cli.main", *command)
    except ChildFailedError as error:
        states = {failure.exitcode for failure in error.failures.values()}
        raise click.exceptions.Exit(PREEMPTED if PREEMPTED in states else 1) from None
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise click.exceptions.Exit(PREEMPTED) from None


def _pass_on(number: int, frame: FrameType | None) -> None:
    """To the processes of the training; each saves and leaves at the same step."""
    own = os.getpid()
    for child in Path(f"/proc/{own}/task/{own}/children").read_text().split():
        os.kill(int(child), number)
