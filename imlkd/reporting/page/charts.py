"""Charts as SVG that stands in the page itself: ink and ground are the page's, light or dark, on screen or paper."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from markupsafe import Markup, escape

matplotlib.use("Agg")

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from imlkd.attribution.perturbation import FRACTIONS, MODES
from imlkd.reporting.det import plot_det
from imlkd.reporting.explanation import LINES
from imlkd.reporting.page.learning import Learning
from imlkd.reporting.page.scored import Gap
from imlkd.scoring.metrics import Floats, eer

_INK = "#010203"  # stands for the page's ink until the SVG is written
COLOURS = ("#3987c9", "#e0762f", "#2f9e63", "#b765cf", "#c79a1b", "#d4505f")  # to be told apart on light and dark
DASHES = ("-", "--", "-.", ":")
DET_POINTS = 400  # of a curve
BINS = 60
_LOOK: Any = {
    "svg.fonttype": "none", "text.parse_math": False, "font.family": "sans-serif", "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color",
                     "grid.color"), _INK),
    "axes.prop_cycle": cycler(color=COLOURS), "axes.spines.top": False, "axes.spines.right": False,
    "axes.facecolor": "none", "figure.facecolor": "none", "legend.frameon": False, "legend.fontsize": 8,
    "grid.alpha": 0.25, "axes.grid": True, "axes.linewidth": 0.6, "grid.linewidth": 0.5,
}  # fmt: skip


@contextlib.contextmanager
def _look(name: str) -> Iterator[None]:
    """``name`` makes the ids within a picture its own, and the same each time."""
    with matplotlib.rc_context({**_LOOK, "svg.hashsalt": name}):
        yield


def _svg(figure: Figure, name: str, title: str) -> Markup:
    """The drawing as markup to stand in a page; ``title`` is read out in its place."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # figure_1, axes_1 ... come in every picture
    label = escape(title)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def det_chart(name: str, systems: Mapping[str, tuple[Floats, Floats]], first: str) -> Markup:
    """DET curves over each other, ``first`` with the widest line."""
    with _look(f"det {name}"):
        figure = Figure(figsize=(5.6, 5.4), layout="constrained")
        axes = figure.add_subplot()
        plot_det(axes, systems, points=DET_POINTS, legend=False)  # it would lie on the curves
        for line in axes.get_lines():
            if str(line.get_label()).startswith(f"{first}: "):
                line.set_linewidth(2.6)
        figure.legend(loc="outside lower center", ncols=2)
        return _svg(figure, name, f"DET curves on {name}")


def histogram_chart(name: str, model: str, target: Floats, nontarget: Floats) -> Markup:
    """Densities of target and nontarget scores; a line at the threshold of the EER."""
    with _look(f"histogram {name} {model}"):
        figure = Figure(figsize=(5.6, 2.9), layout="constrained")
        axes = figure.add_subplot()
        edges = np.linspace(min(target.min(), nontarget.min()), max(target.max(), nontarget.max()), BINS + 1)
        if edges[0] == edges[-1]:
            edges = edges[0] + np.linspace(-0.5, 0.5, BINS + 1)
        for label, scores, colour in (("nontarget", nontarget, COLOURS[1]), ("target", target, COLOURS[0])):
            axes.hist(scores, bins=edges.tolist(), density=True, alpha=0.55, color=colour, edgecolor=colour,
                      label=f"{label} ({len(scores)})", histtype="stepfilled")  # fmt: skip
        threshold = eer(target, nontarget).threshold
        axes.axvline(threshold, color=_INK, linestyle="--", linewidth=1, label=f"threshold of the EER, {threshold:.3g}")
        axes.set_xlabel("score")
        axes.set_ylabel("density")
        axes.legend()
        return _svg(figure, name, f"scores of {model} on {name}")


def learning_chart(found: Learning) -> Markup:
    """The loss of each epoch with its terms, the expected loss dashed."""
    with _look(f"learning {found.model}"):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for index, (term, values) in enumerate(found.terms.items()):
            width = 2.2 if term == "loss" else 1.0
            axes.plot(found.epochs, values, DASHES[index // len(COLOURS) % 4], linewidth=width, label=term, marker=".")
        if found.expected:
            axes.plot(range(1, len(found.expected) + 1), found.expected, "--", color=_INK, label="loss, expected")
        if all(value > 0 for values in found.terms.values() for value in values):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" * (f"{value:e}"[0] in "25")))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean over the epoch")
        figure.legend(loc="outside lower center", ncols=4)
        return _svg(figure, found.model, f"training of {found.model}")


def gap_chart(name: str, gaps: Sequence[Gap]) -> Markup:
    """A bar a model, with its interval; 0: as without a teacher, 100 %: as the teacher."""
    with _look(f"gap {name}"):
        figure = Figure(figsize=(5.6, 0.9 + 0.38 * len(gaps)), layout="constrained")
        axes = figure.add_subplot()
        for row, gap in enumerate(gaps):
            closed = 100 * (gap.closed or 0.0)
            axes.barh(row, closed, height=0.55, color=COLOURS[row % len(COLOURS)])
            if gap.interval:
                axes.plot([100 * gap.interval.low, 100 * gap.interval.high], [row, row], color=_INK, linewidth=1.4)
        axes.axvline(0, color=_INK, linewidth=1)
        axes.axvline(100, color=_INK, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(gaps)), [gap.model for gap in gaps])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("% of the way from no teacher (0) to the teacher (100)")
        return _svg(figure, name, f"gap closed on {name}")


def perturbation_chart(title: str, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Markup:
    """Insertion and deletion: by mode and order a value a fraction."""
    with _look(f"perturbation {title}"):
        figure = Figure(figsize=(5.6, 2.8), layout="constrained")
        for axes, mode in zip(np.atleast_1d(figure.subplots(1, len(MODES), sharey=True)), MODES, strict=True):
            for order, values in curves[mode].items():
                look = dict(LINES.get(order, {}))
                look["color"] = {"relevance": COLOURS[1], "energy": COLOURS[0]}.get(order, _INK)
                axes.plot([100 * fraction for fraction in FRACTIONS], values, markersize=3, label=order, **look)
            better = "higher" if mode == MODES[0] else "lower"
            axes.set_title(f"{mode} ({better} is better)", fontsize=9)
            axes.set_xlabel(f"% of frames {'shown' if mode == MODES[0] else 'hidden'}")
        figure.axes[0].set_ylabel("cosine")
        figure.axes[0].legend()
        return _svg(figure, title, title)
