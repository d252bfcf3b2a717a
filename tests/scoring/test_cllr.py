"""Oracles: lir, scikit-learn's isotonic regression for PAV, sums written out, lists worked out by hand."""

import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from imlkd.scoring.cllr import cllr, min_cllr

ROOT = Path(__file__).parents[2]
ORACLE_PYTHON = ROOT / ".venv-oracle/bin/python"
HAS_LIR = bool(list((ROOT / ".venv-oracle").glob("lib/python*/site-packages/lir")))

SCORES = st.one_of(
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=25),
    st.lists(st.floats(-9, 9), min_size=1, max_size=40),
)


def isotonic_min_cllr(target: list[float], nontarget: list[float]) -> float:
    labels = np.repeat([1.0, 0.0], [len(target), len(nontarget)])
    posterior = IsotonicRegression().fit_transform(np.concatenate([target, nontarget]), labels)
    with np.errstate(divide="ignore"):
        ratio = posterior / (1.0 - posterior) * len(nontarget) / len(target)
        of_target, of_nontarget = np.log2(1.0 + 1.0 / ratio[labels == 1.0]), np.log2(1.0 + ratio[labels == 0.0])
    return float(of_target.mean() + of_nontarget.mean()) / 2.0


@given(target=SCORES, nontarget=SCORES)
def test_min_cllr_against_isotonic_regression(target: list[float], nontarget: list[float]) -> None:
    # Scores nearer than 1e-9 are one for scikit-learn, so they are made equal for both.
    target, nontarget = [round(s, 6) for s in target], [round(s, 6) for s in nontarget]
    assert min_cllr(target, nontarget) == pytest.approx(isotonic_min_cllr(target, nontarget), abs=1e-9)


@given(target=SCORES, nontarget=SCORES)
def test_cllr_is_the_sum_written_out_and_never_below_its_least(target: list[float], nontarget: list[float]) -> None:
    of_target = sum(math.log2(1.0 + math.exp(-s)) for s in target) / len(target)
    of_nontarget = sum(math.log2(1.0 + math.exp(s)) for s in nontarget) / len(nontarget)
    assert cllr(target, nontarget) == pytest.approx((of_target + of_nontarget) / 2.0, abs=1e-12)
    assert min_cllr(target, nontarget) <= cllr(target, nontarget) + 1e-12


def test_by_hand() -> None:
    assert cllr([0.0], [0.0, 0.0]) == 1.0  # says nothing
    assert cllr([math.log(3.0)], [-math.log(3.0)]) == pytest.approx(math.log2(4.0 / 3.0))
    assert min_cllr([2, 3], [0, 1]) == 0.0  # separable
    assert min_cllr([0, 1], [2, 3]) == 1.0  # upside down: one block
    # Blocks {0}, {1 and 2}, {3}: half of the targets and half of the nontargets share a ratio of 1.
    assert min_cllr([1, 3], [0, 2]) == pytest.approx(0.5)


def test_large_ratios_do_not_overflow() -> None:
    assert cllr([-2000.0], [2000.0]) == pytest.approx(2000.0 / math.log(2.0))


@pytest.mark.parametrize("measure", [cllr, min_cllr])
@pytest.mark.parametrize(("target", "nontarget"), [([], [1]), ([1], []), ([math.nan], [1]), ([1], [math.inf])])
def test_unusable_scores_are_refused(measure, target, nontarget) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="scores"):
        measure(target, nontarget)


@pytest.mark.skipif(not HAS_LIR, reason="no .venv-oracle with lir: run bash tests/setup_oracle.sh")
def test_against_lir(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    given: dict[str, np.ndarray] = {}
    for case, (targets, nontargets, step) in enumerate([(40, 60, 0.0), (300, 50, 0.5), (7, 900, 0.1), (2, 1, 1.0)]):
        for name, count, mean in (("target", targets, 1.5), ("nontarget", nontargets, -1.0)):
            scores = generator.normal(mean, 2.0, count)
            given[f"{name}_{case}"] = np.round(scores / step) * step if step else scores  # with ties, and without
    np.savez(tmp_path / "in.npz", **given)
    command = [ORACLE_PYTHON, ROOT / "tests/scoring/lir_oracle.py", tmp_path / "in.npz", tmp_path / "out.npz"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with np.load(tmp_path / "out.npz") as theirs:
        for case in range(len(theirs["cllr"])):
            lists = given[f"target_{case}"], given[f"nontarget_{case}"]
            assert cllr(*lists) == pytest.approx(float(theirs["cllr"][case]), abs=1e-9)
            assert min_cllr(*lists) == pytest.approx(float(theirs["min_cllr"][case]), abs=1e-9)
