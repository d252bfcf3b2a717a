"""One thing that was looked at, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["fits", "differs", "lacks", "fails"]


@dataclass(frozen=True)
class Finding:
    """A line of `imlkd doctor`.

    :param topic: what was looked at.
    :param state: ``fits``; ``differs``: works, but is not what was tested; ``lacks``: a part that is not needed by all
        is not there; ``fails``: what is there does not work.
    :param says: what was found, in words; ``remedy``: what to do, empty when nothing is to be done.
    :param values: the same as numbers and texts, for `--json`.
    """

    topic: str
    state: State
    says: str
    remedy: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "topic": self.topic, "state": self.state, "says": self.says, "remedy": self.remedy, **self.values,
        }  # fmt: skip

    def to_text(self) -> str:
        """One line."""
        return f"{self.state:8} {self.topic:12} {self.says}" + (f": {self.remedy}" if self.remedy else "")
