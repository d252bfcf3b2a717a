"""DET curves: the points as a table, and several systems over each other as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.files import atomic_open, atomic_path
from imlkd.scoring.metrics import Floats, OperatingPoint, eer, min_dcf, roc_points

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
_DRAWN = 2000  # points of a curve; more cannot be told apart
Lists = tuple[Floats, Floats]  # target and nontarget scores


def probit(rates: npt.ArrayLike) -> Floats:
    """Normal deviates of rates, the axes of a DET plot (Martin et al., Eurospeech 1997); infinite at 0 and 1."""
    inverse = NormalDist().inv_cdf
    ends = {0.0: -np.inf, 1.0: np.inf}
    return np.array([ends[rate] if rate in ends else inverse(rate) for rate in np.asarray(rates, dtype=float).tolist()])


def write_points(path: Path | str, target: Floats, nontarget: Floats) -> None:
    """Every corner of the ROC as ``threshold false_alarm miss``, between tabs, with a header; the last rejects all."""
    points = roc_points(target, nontarget)
    with atomic_open(path) as stream:
        stream.write("threshold\tfalse_alarm\tmiss\n")
        stream.writelines(f"{t:.9g}\t{a:.9g}\t{m:.9g}\n" for m, a, t in zip(*points, strict=True))


def draw_det(path: Path | str, systems: Mapping[str, Lists], p_target: float = 0.01) -> None:
    """A PNG with the DET curves of ``systems`` by name; a dot marks each EER, a cross minDCF(``p_target``).

    :raises UserError: when ``path`` does not end in ``.png``.
    """
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: a DET plot is a PNG: let the name end in .png")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    plot_det(figure.add_subplot(), systems, p_target)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))  # type: ignore[no-untyped-call]


def plot_det(
    axes: Any, systems: Mapping[str, Lists], p_target: float = 0.01, points: int = _DRAWN, legend: bool = True
) -> None:
    """The same on matplotlib's ``axes``, with at most about ``points`` points a curve."""
    for name, (target, nontarget) in systems.items():
        miss, false_alarm, _ = _thinned(roc_points(target, nontarget), points)
        rate, best = eer(target, nontarget), min_dcf(target, nontarget, p_target)
        (line,) = axes.plot(probit(false_alarm), probit(miss), label=f"{name}: EER {100 * rate.value:.2f} %")
        axes.plot(probit([rate.value]), probit([rate.value]), "o", color=line.get_color())
        axes.plot(*_place(best, target, nontarget), "x", color=line.get_color())
    places, texts = probit(TICKS), [f"{100 * tick:g}" for tick in TICKS]
    axes.set_xticks(places, texts)
    axes.set_yticks(places, texts)
    axes.set_xlim(places[0], places[-1])
    axes.set_ylim(places[0], places[-1])
    axes.set_xlabel("false alarms (%)")
    axes.set_ylabel("misses (%)")
    axes.set_title(f"dot: EER, cross: minDCF({p_target:g})", fontsize="small")
    axes.grid(alpha=0.3)
    if legend:
        axes.legend(loc="upper right", fontsize="small")


def _thinned(points: tuple[Floats, Floats, Floats], most: int) -> tuple[Floats, ...]:
    step = max(1, len(points[0]) // most)
    return tuple(column[::step] for column in points)


def _place(best: OperatingPoint, target: Floats, nontarget: Floats) -> tuple[Floats, Floats]:
    """Where a threshold lies on the plot."""
    miss, false_alarm = float(np.mean(target < best.threshold)), float(np.mean(nontarget >= best.threshold))
    return probit([false_alarm]), probit([miss])
