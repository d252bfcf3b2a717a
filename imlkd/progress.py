"""How far a long job is: a bar on a terminal, a line every tenth elsewhere, a small file for a queued job."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from imlkd.files import atomic_write_text, parse_json

SECONDS_BETWEEN_NOTES = 0.5


class Bar:
    """A tqdm bar when ``stream`` is a terminal, else one plain line at every tenth of the work."""

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self.label, self.total, self.stream = label, max(total, 1), stream or sys.stderr
        self.count, self._tenth, self._bar = 0, -1, None
        if self.stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, desc=label, file=self.stream, dynamic_ncols=True, leave=True)

    def set(self, count: int, total: int | None = None, note: str = "") -> None:
        """Show ``count`` of ``total`` with a short note (loss, rate)."""
        self.total = max(total or self.total, 1)
        self.count = count
        if self._bar is not None:
            self._bar.total = self.total
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.n = count
            self._bar.refresh()
        elif count * 10 // self.total > self._tenth:
            self._tenth = count * 10 // self.total
            print(f"{self.label}: {count}/{self.total} {note}".rstrip(), file=self.stream, flush=True)

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()


class Progress:
    """Count finished units. With ``path`` the state goes to a file that ``imlkd watch`` reads, else to a bar."""

    def __init__(self, label: str, total: int, path: Path | None = None) -> None:
        self.total, self.path, self.count, self._last = total, path, 0, 0.0
        self._bar = Bar(label, total) if path is None else None

    def __enter__(self) -> Progress:
        self._show("")
        return self

    def update(self, units: int = 1, note: str = "") -> None:
        """``units`` more are done."""
        self.count += units
        if time.monotonic() - self._last > SECONDS_BETWEEN_NOTES or self.count >= self.total:
            self._show(note)

    def _show(self, note: str) -> None:
        self._last = time.monotonic()
        if self._bar is not None:
            self._bar.set(self.count, note=note)
        elif self.path is not None:
            atomic_write_text(self.path, json.dumps({"count": self.count, "total": self.total, "note": note}))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def read_progress(paths: list[Path]) -> tuple[int, int, str]:
    """Sum over jobs: (count, total, the last note); files not there yet, or half gone, count as nothing."""
    count = total = 0
    note = ""
    for path in paths:
        try:
            state = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        count, total, note = count + state["count"], total + state["total"], state["note"] or note
    return count, total, note
