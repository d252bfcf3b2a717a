"""The picture of an explained recording: spectrogram, relevance, segments, deletion and insertion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib.figure import Figure

from imlkd.attribution.curves import FULL, FUSED
from imlkd.attribution.perturbation import FRACTIONS, MODES
from imlkd.attribution.wav_explanation import WavExplanation
from imlkd.features.fbank import FRAMES_PER_SECOND
from imlkd.files import atomic_open

INCHES = (11.0, 8.5)
DOTS_AN_INCH = 120
LINES: dict[str, dict[str, Any]] = {
    "relevance": {"color": "tab:red", "linestyle": "-", "marker": "o"},
    "energy": {"color": "tab:blue", "linestyle": "--", "marker": "s"},
    "random": {"color": "0.4", "linestyle": ":", "marker": None},
}


def save_picture(explained: WavExplanation, path: Path) -> None:
    """Write the picture as PNG, whole or not at all."""
    figure = Figure(figsize=INCHES, dpi=DOTS_AN_INCH, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.7, 1.0])
    heights = [3.0, 2.2, 0.4 + 0.3 * len(explained.segments)]
    for draw, axes in zip(OVER_TIME, parts[0].subplots(3, 1, sharex=True, height_ratios=heights), strict=True):
        draw(axes, explained)
    for axes, mode in zip(parts[1].subplots(1, 2, sharey=True), MODES, strict=True):
        _draw_mode(axes, explained, mode)
    figure.suptitle(_title(explained), fontsize=10)
    with atomic_open(path, "wb") as stream:
        figure.savefig(stream, format="png", metadata={"Software": None})


def _title(explained: WavExplanation) -> str:
    asked = explained.request
    return (
        f"{Path(explained.name).name}: {explained.quantity} to {asked.about}: {explained.value:.3f};"
        f" of the baseline ({asked.explained.baseline}) {explained.baseline_value:.3f}"
    )


def _draw_spectrogram(axes: Any, explained: WavExplanation) -> None:
    values = explained.features.T
    low, high = np.quantile(values, [0.02, 0.998])
    end = len(explained.features) / FRAMES_PER_SECOND
    axes.imshow(values, origin="lower", aspect="auto", cmap="gray_r", vmin=low, vmax=high,
                extent=(0, end, 0, len(values)), interpolation="nearest")
    axes.set_ylabel("band of the model's\nfront-end")


def _draw_relevance(axes: Any, explained: WavExplanation) -> None:
    """A strip a duration, white where no window lay, and its completeness beside it."""
    names = list(explained.curves)
    strips = np.array([np.where(c.covered, c.values, np.nan) for c in explained.curves.values()])
    end = strips.shape[1] / FRAMES_PER_SECOND
    axes.imshow(strips, aspect="auto", cmap="inferno_r", vmin=0, vmax=1,
                extent=(0, end, len(names), 0), interpolation="nearest")
    axes.hlines(range(1, len(names)), 0, end, color="white", linewidth=2)
    axes.set_yticks(np.arange(len(names)) + 0.5, [_duration(name) for name in names])
    axes.set_ylabel("relevance over")
    for row, name in enumerate(names):
        axes.annotate(_trust(explained, name), (1.005, 1 - (row + 0.5) / len(names)), xycoords="axes fraction",
                      va="center", fontsize=7)


def _duration(name: str) -> str:
    return name if name in (FULL, FUSED) else f"{int(name) / FRAMES_PER_SECOND:g} s"


def _trust(explained: WavExplanation, name: str) -> str:
    """How far the map adds up: the worst window's error and nodes."""
    found = explained.completeness.get(name)
    if found is None:
        return "mean of those above"
    mark = "" if found.converged else " (over tolerance)"
    windows = f"{found.windows} windows" if found.windows > 1 else "1 window"
    return f"error {found.error:.1%}{mark}\n{windows}, {found.nodes} nodes"


def _draw_segments(axes: Any, explained: WavExplanation) -> None:
    """A row of bars a kind of segment."""
    for row, spans in enumerate(explained.segments.values()):
        axes.broken_barh([(start, end - start) for start, end in spans], (row - 0.35, 0.7), color=f"C{2 + row}")
    axes.set_yticks(range(len(explained.segments)), list(explained.segments))
    axes.set_ylim(len(explained.segments) - 0.5, -0.5)
    axes.set_xlabel("seconds")


def _draw_mode(axes: Any, explained: WavExplanation, mode: str) -> None:
    percent = [100 * fraction for fraction in FRACTIONS]
    for name, tried in explained.tried.items():
        label = f"{name}, area {tried.areas[mode]:.3f}"
        axes.plot(percent, tried.curves[mode], label=label, markersize=3, **LINES[name])
        if tried.lowest[mode] != tried.highest[mode]:
            axes.fill_between(percent, tried.lowest[mode], tried.highest[mode], color="0.4", alpha=0.15, linewidth=0)
    better = "higher" if mode == MODES[0] else "lower"
    axes.set_title(f"{mode} by {_duration(explained.order)} relevance ({better} is better)", fontsize=9)
    axes.set_xlabel(f"frames {'shown' if mode == MODES[0] else 'hidden'}, %, those of the highest rank first")
    axes.set_ylabel(explained.quantity)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)


OVER_TIME = (_draw_spectrogram, _draw_relevance, _draw_segments)
