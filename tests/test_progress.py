"""Progress: a bar on a terminal, few plain lines elsewhere, a small file for a watched job."""

import io
import json
import os
import pty
import termios
from pathlib import Path

import pytest

from imlkd.progress import Bar, Progress, read_progress


def test_plain_lines_at_every_tenth() -> None:
    stream = io.StringIO()
    bar = Bar("work", 1000, stream)
    for count in range(1001):
        bar.set(count, note="loss 1" if count else "")
    bar.close()
    lines = stream.getvalue().splitlines()
    assert lines == [
        "work: 0/1000",
        *(f"work: {tenth}00/1000 loss 1" for tenth in range(1, 10)),
        "work: 1000/1000 loss 1",
    ]


def test_a_total_that_grows_with_the_jobs() -> None:
    stream = io.StringIO()
    bar = Bar("work", 10, stream)
    bar.set(10, 10)
    bar.set(12, 20)
    bar.set(20, 20)
    assert stream.getvalue().splitlines() == ["work: 10/10"]  # never a smaller share again
    Bar("nothing", 0, stream).set(0)
    assert stream.getvalue().endswith("nothing: 0/1\n")


def read_terminal(reader: int) -> str:
    """What has come so far, "" once the other side is closed: the kernel hands a terminal's text over in pieces."""
    try:
        return os.read(reader, 65536).decode()
    except OSError:  # how Linux says that nobody writes to this terminal any more
        return ""


def test_a_bar_on_a_terminal() -> None:
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 80))
    with os.fdopen(writer, "w") as stream:
        bar = Bar("work", 4, stream)
        bar.set(2, note="loss 0.5")
        bar.set(4)
        bar.close()
    shown = "".join(iter(lambda: read_terminal(reader), ""))
    os.close(reader)
    assert "work: 100%" in shown and "2/4" in shown and "loss 0.5" in shown and "\r" in shown


def test_a_file_for_the_watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log/job.1.progress"
    clock = iter([0.0, 0.1, 0.2, 5.0, 5.0, 5.1, 5.2])
    monkeypatch.setattr("imlkd.progress.time.monotonic", lambda: next(clock))
    with Progress("job", 4, path) as counted:
        assert json.loads(path.read_text()) == {"count": 0, "total": 4, "note": ""}
        counted.update(note="a")
        counted.update(note="b")
        assert json.loads(path.read_text())["count"] == 0  # too soon for another note
        counted.update(note="c")
        assert json.loads(path.read_text()) == {"count": 3, "total": 4, "note": "c"}
        counted.update(note="d")  # the last one is always told
    assert json.loads(path.read_text()) == {"count": 4, "total": 4, "note": "d"}


def test_without_a_file_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("work", 2) as counted:
        counted.update(2)
    assert capsys.readouterr().err.splitlines() == ["work: 0/2", "work: 2/2"]


def test_jobs_are_added_up_and_half_written_files_passed_over(tmp_path: Path) -> None:
    states = [{"count": 1, "total": 4, "note": "a"}, {"count": 2, "total": 5, "note": ""}]
    paths = [tmp_path / name for name in ("a", "b", "half", "gone")]
    for path, state in zip(paths, states, strict=False):
        path.write_text(json.dumps(state))
    paths[2].write_text('{"count": 1')
    assert read_progress(paths) == (3, 9, "a")
    assert read_progress([]) == (0, 0, "")
