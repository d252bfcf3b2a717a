"""Shares as users write them."""

from __future__ import annotations

from imlkd.errors import UserError


def share_of(text: str) -> float:
    """``0.1%`` or ``0.001`` -> 0.001.

    :raises UserError: for what is no share between 0 and 1.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UserError(f"--max-bad {text}: give a share below 1, as 0.1% or 0.001")
    return share
