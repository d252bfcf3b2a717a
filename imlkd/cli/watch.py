"""`imlkd watch`: run parallel jobs and show how far they are; on failure say the job's own error."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import click

from imlkd.errors import PREEMPTED, UserError
from imlkd.files import make_dir


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("label")
@click.argument("log_dir", type=click.Path(path_type=Path))
@click.argument("name")
@click.argument("command", nargs=-1, required=True)
def watch(label: str, log_dir: Path, name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND (a line for run.pl, slurm.pl or queue.pl) and show progress under LABEL.

    Jobs log to LOG_DIR/NAME.*.log and count in LOG_DIR/NAME.*.progress.
    """
    from imlkd.progress import Bar, read_progress

    make_dir(log_dir)
    for pattern in (f"{name}.*.progress", f".{name}.*.progress.tmp*"):
        for stale in log_dir.glob(pattern):
            stale.unlink(missing_ok=True)
    started = time.time()
    with contextlib.ExitStack() as stack:
        bar: Bar | None = None
        child = stack.enter_context(_patient(command))
        while child.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.3)
            count, total, note = read_progress(sorted(log_dir.glob(f"{name}.*.progress")))
            if total:
                bar = bar or stack.enter_context(contextlib.closing(Bar(label, total)))
                bar.set(count, total, note)
    if child.returncode:
        if _was_preempted(log_dir, name, started):
            raise click.exceptions.Exit(PREEMPTED)
        _explain_failure(log_dir, name, started)
        raise click.exceptions.Exit(child.returncode if child.returncode > 0 else 128 - child.returncode)


@contextlib.contextmanager
def _patient(command: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """Start; on an interrupt pass it on and wait, so that no job outlives the recipe."""
    try:
        # The jobs hold run.sh's lock too: should they outlive it, no other run gets between them.
        child = subprocess.Popen(command, close_fds=False)
    except OSError as error:
        raise UserError(f"{command[0]}: does not start ({error.strerror}): check --cmd, or cmd.sh") from error
    try:
        yield child
    except BaseException:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(3)  # a Ctrl-C has reached the jobs as well: they put their things in order
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise


def _lines_of_jobs(log_dir: Path, name: str, started: float) -> dict[Path, list[str]]:
    logs = [log for log in sorted(log_dir.glob(f"{name}.*.log")) if log.stat().st_mtime >= started - 1]
    return {log: log.read_text(encoding="utf-8", errors="replace").splitlines() for log in logs}


def _was_preempted(log_dir: Path, name: str, started: float) -> bool:
    """Whether every job that has not ended well has saved its state on request; says so."""
    texts = _lines_of_jobs(log_dir, name, started).values()
    last = [next((line for line in reversed(lines) if line.startswith("# Ended (code ")), "") for lines in texts]
    if not all(line.startswith(("# Ended (code 0)", f"# Ended (code {PREEMPTED})")) for line in last):
        return False
    said = [line for lines in texts for line in lines if line.startswith("imlkd: preempted:")]
    if said:
        click.echo(said[-1], err=True)
    return bool(said)


def _explain_failure(log_dir: Path, name: str, started: float) -> None:
    """Repeat the one-line errors of the jobs; where there is none, name the log of one that did not end well."""
    texts = _lines_of_jobs(log_dir, name, started)
    words = ("imlkd: error:", "imlkd: interrupted:")
    said = [line for lines in texts.values() for line in lines if line.startswith(words)]
    for line in dict.fromkeys(said):
        click.echo(line, err=True)
    if not said:
        ill = [log for log, lines in texts.items() if not any(line.startswith("# Ended (code 0)") for line in lines)]
        place = ill[0] if ill else log_dir
        click.echo(f"imlkd: error: {place}: a job ended without a message: see the end of this log", err=True)
