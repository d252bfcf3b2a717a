"""Points against scikit-learn's curves, pictures as pictures."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from imlkd.errors import UserError
from imlkd.reporting.det import draw_det, probit, write_points
from imlkd.scoring.metrics import roc_points

SCORES = st.lists(st.integers(-4, 4).map(float) | st.floats(-9, 9), min_size=1, max_size=30)


@settings(deadline=None)
@given(target=SCORES, nontarget=SCORES)
def test_points_are_scikit_learns(target: list[float], nontarget: list[float]) -> None:
    miss, false_alarm, thresholds = roc_points(target, nontarget)
    labels, scores = np.repeat([1, 0], [len(target), len(nontarget)]), np.array([*target, *nontarget])
    alarms, hits, theirs = roc_curve(labels, scores, drop_intermediate=False)
    order = alarms, 1.0 - hits, theirs
    assert set(zip(np.round(false_alarm, 12), np.round(miss, 12), thresholds, strict=True)) <= set(
        zip(np.round(order[0], 12), np.round(order[1], 12), order[2], strict=True)
    )
    assert (miss[0], false_alarm[0], miss[-1], false_alarm[-1], thresholds[-1]) == (0.0, 1.0, 1.0, 0.0, np.inf)
    area = float(np.trapezoid(1.0 - miss[::-1], false_alarm[::-1]))
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)  # so no corner is missing


def test_axes_are_normal_deviates() -> None:
    rates = np.array([0.0, 0.01, 0.5, 0.99, 1.0])
    np.testing.assert_allclose(probit(rates), norm.ppf(rates), atol=1e-12)


def test_table_of_points_by_hand(tmp_path: Path) -> None:
    write_points(tmp_path / "points.tsv", np.array([1.0, 3.0]), np.array([0.0, 2.0]))
    rows = (tmp_path / "points.tsv").read_text().splitlines()
    assert rows == ["threshold\tfalse_alarm\tmiss", "0\t1\t0", "1\t0.5\t0", "2\t0.5\t0.5", "3\t0\t0.5", "inf\t0\t1"]


def test_picture_of_several_systems(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    systems = {
        name: (generator.normal(mean, 1.0, 3000), generator.normal(0.0, 1.0, 9000))
        for name, mean in (("good", 3.0), ("bad", 1.5))
    }
    for name, chosen in (("one", {"good": systems["good"]}), ("both", systems)):
        draw_det(tmp_path / f"{name}.png", chosen)
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "both.png") as both:
        assert one.size == both.size and min(both.size) >= 600
        colours = [len(set(image.convert("RGB").getdata())) for image in (one, both)]
    assert colours[1] > colours[0]
    perfect = {"perfect": (np.array([2.0, 3.0]), np.array([0.0, 1.0]))}  # rates of 0 lie beyond any axis
    draw_det(tmp_path / "perfect.png", perfect)
    with pytest.raises(UserError, match=r"det.pdf: a DET plot is a PNG"):
        draw_det(tmp_path / "det.pdf", systems)
