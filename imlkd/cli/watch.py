"""`imlkd watch`: run parallel jobs and show how far they are; on failure say the job's own error."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("label")
@click.argument("log_dir", type=click.Path(path_type=Path))
@click.argument("name")
@click.argument("command", nargs=-1, required=True)
def watch(label: str, log_dir: Path, name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND (a line for run.pl, slurm.pl or queue.pl) and show progress under LABEL.

    Jobs log to LOG_DIR/NAME.*.log and count in LOG_DIR/NAME.*.progress.
    """
    from imlkd.files import make_dir
    from imlkd.progress import Bar, read_progress

    make_dir(log_dir)
    for stale in log_dir.glob(f"{name}.*.progress"):
        stale.unlink(missing_ok=True)
    started = time.time()
    bar = None
    with _patient(subprocess.Popen(command)) as child:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.3)
            count, total, note = read_progress(sorted(log_dir.glob(f"{name}.*.progress")))
            if total:
                bar = bar or Bar(label, total)
                bar.set(count, total, note)
            if child.returncode is not None:
                break
    if bar is not None:
        bar.close()
    if child.returncode:
        _explain_failure(sorted(log_dir.glob(f"{name}.*.log")), started)
        raise click.exceptions.Exit(child.returncode if child.returncode > 0 else 128 - child.returncode)


@contextlib.contextmanager
def _patient(child: subprocess.Popen[bytes]):  # type: ignore[no-untyped-def]
    """On an interrupt pass it on and wait, so that no job outlives the recipe."""
    try:
        yield child
    except BaseException:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise


def _explain_failure(logs: list[Path], started: float) -> None:
    """Repeat the jobs' one-line errors; a job that died without one is named with its log's last line."""
    said = False
    for log in logs:
        if log.stat().st_mtime < started - 1:
            continue
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        for line in dict.fromkeys(line for line in lines if line.startswith("imlkd: error:")):
            click.echo(line, err=True)
            said = True
    if not said and logs:
        click.echo(f"imlkd: error: a job ended without a message: see the end of {logs[0].parent}/*.log", err=True)
