"""A training's curve as a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from imlkd.errors import UserError
from imlkd.reporting.curves import draw_curves, terms_of
from imlkd.training.curve import Curve


def curve(**values: float) -> Curve:
    return Curve(Path("c.jsonl"), [{"epoch": n, **values, "learning_rate": 0.1, "spread": 1.0} for n in (1, 2, 3)])


def test_terms_are_what_stands_before_the_rate() -> None:
    assert terms_of(curve(loss=2.0, aam=1.0, kd=1.0, dev_eer=0.1)) == ["loss", "aam", "kd", "dev_eer"]


def test_a_panel_a_term(tmp_path: Path) -> None:
    for terms, rows in ((1, 1), (4, 2)):
        path = tmp_path / f"{terms}.png"
        own = curve(**{f"t{n}": 1.0 for n in range(terms)})
        draw_curves(path, own, curve(t0=2.0))
        width, height = Image.open(path).size
        assert (width, height) == (400 * min(3, terms), 260 * rows)


def test_what_can_not_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="PNG"):
        draw_curves(tmp_path / "c.pdf", curve(loss=1.0), None)
    with pytest.raises(UserError, match="no epoch yet"):
        draw_curves(tmp_path / "c.png", Curve(Path("c.jsonl"), []), None)
