"""The table of methods, read from the code: name, what it needs, and the first line of its module."""

from __future__ import annotations

import sys

from imlkd.distillation.method import Needs
from imlkd.distillation.objective import METHODS

SAID = {
    "labels": "labels in its terms",
    "teacher_logits": "same classes",
    "teacher_embedding": "teacher's embeddings",
    "teacher_stages": "teacher runs beside",
    "relevance": "relevance",
    "input_gradient": "double backward",
    "adapters": "a tdnn student, which gets adapters",
}


def rows() -> list[dict[str, str]]:
    """One a method: ``name``, ``needs``, ``what`` (with the source), ``config`` (the dataclass of its YAML file)."""
    found = []
    for name, (method, config) in METHODS.items():
        module = sys.modules[method.__module__]
        first = (module.__doc__ or "").splitlines()[0]
        what = first.partition(": ")[2].removesuffix(".")
        found.append({"name": name, "needs": said(method.needs), "what": what, "config": config.__name__})
    return found


def said(needs: Needs) -> str:
    """In words, "nothing" for nothing."""
    return ", ".join(text for key, text in SAID.items() if getattr(needs, key)) or "nothing"
