"""A training's curve as a picture, over the one that it was expected to follow."""

from __future__ import annotations

import itertools
from pathlib import Path

from imlkd.errors import UserError
from imlkd.files import atomic_path
from imlkd.training.curve import Curve


def draw_curves(path: Path, own: Curve, expected: Curve | None) -> None:
    """A PNG with a panel for each term of the loss, and for the EER on development speakers where it was measured.

    :raises UserError: when ``path`` does not end in ``.png``, or the training has no entry yet.
    """
    if not own.entries:
        raise UserError(f"{own.path}: holds no epoch yet: wait for the first")
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: a drawn curve is a PNG: let the name end in .png")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = terms_of(own)
    figure = Figure(figsize=(4.0 * min(3, len(names)), 2.6 * -(-len(names) // 3)), layout="constrained")
    panels = list(figure.subplots(-(-len(names) // 3), min(3, len(names)), squeeze=False).flat)
    for name, axes in zip(names, panels, strict=False):
        for curve, style, label in ((expected, "--", "expected"), (own, "-", "this one")):
            points = [(e["epoch"], e[name]) for e in curve.entries if name in e] if curve is not None else []
            if points:
                axes.plot(*zip(*points, strict=True), style, label=label)
        axes.set_title(name, fontsize="small")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    for axes in panels[len(names) :]:
        axes.remove()
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))  # type: ignore[no-untyped-call]


def terms_of(curve: Curve) -> list[str]:
    """The loss, its terms by name, and the EER on development speakers: what an entry has before its learning rate."""
    return [name for name in itertools.takewhile("learning_rate".__ne__, curve.entries[0]) if name != "epoch"]
