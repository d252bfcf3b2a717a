"""Operating points and verdicts, by hand and by inversion."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.runtime.thresholds import Thresholds, operating_point
from imlkd.runtime.verdict import cosine, judge
from imlkd.scoring.calibration import Calibration

THRESHOLDS = Thresholds({"eer": 0.4, "0.01": 0.7, "0.001": math.inf}, "toy/trials")
CALIBRATION = Calibration(scale=8.0, offset=-3.0)


def test_points_of_the_list() -> None:
    point = operating_point("eer", THRESHOLDS, None)
    assert (point.threshold, point.source, point.prior) == (0.4, "equal error rate on toy/trials", None)
    for name in ("0.01", "1e-2", ".010"):
        found = operating_point(name, THRESHOLDS, None)
        assert (found.threshold, found.prior) == (0.7, 0.01)
    assert not operating_point("0.001", THRESHOLDS, None).accepts(1.0)
    assert operating_point("threshold=-0.25", THRESHOLDS, CALIBRATION).threshold == -0.25


@given(st.floats(0.001, 0.999))
def test_a_prior_with_a_calibration_is_bayes_threshold(prior: float) -> None:
    """At it both decisions cost the same: the posterior is one half."""
    point = operating_point(repr(prior), THRESHOLDS, CALIBRATION)
    verdict = judge(point.threshold, point, CALIBRATION, prior)
    assert verdict.posterior == pytest.approx(0.5) and verdict.llr == pytest.approx(math.log((1 - prior) / prior))
    assert judge(point.threshold + 0.01, point, CALIBRATION, prior).accepted
    assert not judge(point.threshold - 0.01, point, CALIBRATION, prior).accepted


@pytest.mark.parametrize(
    "name", ["", "err", "threshold=", "threshold=nan", "threshold=x", "0", "1", "-0.1", "nan", "0.02"]
)
def test_points_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match="--operating-point"):
        operating_point(name, THRESHOLDS, None)


def test_by_hand() -> None:
    point = operating_point("eer", THRESHOLDS, CALIBRATION)
    verdict = judge(0.5, point, CALIBRATION, 0.1)
    assert verdict.llr == pytest.approx(1.0) and verdict.accepted and verdict.margin == pytest.approx(0.1)
    odds = math.exp(1.0) * 0.1 / 0.9
    assert verdict.posterior == pytest.approx(odds / (1 + odds))
    assert (
        verdict.how_sure()
        == f"probability {100 * odds / (1 + odds):.2f} % that both are one speaker, for a prior of 0.1"
    )
    bare = judge(0.35, operating_point("eer", THRESHOLDS, None), None, 0.5)
    assert (bare.llr, bare.posterior, bare.accepted) == (None, None, False)
    assert bare.how_sure() == "0.0500 below the threshold; without a calibration that is no probability"
    nothing = judge(0.35, None, None, 0.5)
    assert nothing.accepted is None and "carries no threshold" in nothing.decision()
    assert nothing.to_dict()["decision"] is None


def test_durations_count_where_the_calibration_wants_them() -> None:
    wants = Calibration(scale=2.0, offset=1.0, quality={"duration_min": 0.5, "duration_max": -0.25})
    verdict = judge(0.5, None, wants, 0.5, (2.0, 8.0))
    assert verdict.llr == pytest.approx(2.0 + 0.5 * math.log(2.0) - 0.25 * math.log(8.0))
    cohort = Calibration(scale=2.0, offset=1.0, quality={"cohort_mean_min": 0.5})
    assert judge(0.5, None, cohort, 0.5).llr is None


def test_extremes_are_json() -> None:
    sure = judge(1.0, operating_point("0.001", THRESHOLDS, None), Calibration(scale=1e6, offset=0.0), 0.5)
    assert "over 99.99 %" in sure.how_sure()
    never = judge(-1.0, None, Calibration(scale=1e6, offset=0.0), 0.5)
    assert "under 0.01 %" in never.how_sure()
    for verdict in (sure, never):
        assert json.loads(json.dumps(verdict.to_dict(), allow_nan=False))["threshold"] is None


def test_cosine_in_double_precision() -> None:
    a, b = np.float32([3.0, 4.0]), np.float32([4.0, 3.0])
    assert cosine(a, b) == pytest.approx(24 / 25, abs=1e-15) and cosine(a, a) == 1.0
