"""Measures of a made-up study against numbers by hand and against `imlkd compare` on one fold."""

from pathlib import Path

import numpy as np
import pytest

from imlkd.corpora.trials import Trials
from imlkd.scoring.compare import compare_systems
from imlkd.scoring.metrics import Costs, eer
from imlkd.study.analysis import Analysis, Slice, speaker_trials
from imlkd.study.folds import Fold
from imlkd.study.record import Record, packed


def make_fold(number: int, speakers: int = 12) -> Fold:
    """Two utterances of two recordings and a third of the first one a speaker; half of the speakers in each corpus."""
    names = [f"f{number}s{i:02}" for i in range(speakers)]
    corpus = {name: "ab"[i % 2] for i, name in enumerate(names)}
    utterances = {f"{name}-{u}": name for name in names for u in range(3)}
    pairs = [(a, b) for a in utterances for b in utterances if a < b and corpus[utterances[a]] == corpus[utterances[b]]]
    same = np.array([utterances[a] == utterances[b] for a, b in pairs])
    trials = Trials(Path("x"), "kaldi", [a for a, _ in pairs], [b for _, b in pairs], same)
    recording = {name: f"{name[:-1]}{int(name[-1]) // 2}" for name in utterances}
    return Fold(number, trials, utterances, recording, {name: corpus[own] for name, own in utterances.items()})


def record(fold: Fold, row: str, seed: int, quality: float) -> Record:
    generator = np.random.default_rng([fold.number, seed, len(row)])
    scores = np.clip(0.1 * quality * fold.trials.is_target + 0.1 * generator.normal(size=len(fold.trials)), -1, 1)
    return Record("s", row, "tiny", fold.number, seed, "x", "x", "x", 1, 1.0, {"full": packed(scores)})


FOLDS = [make_fold(1), make_fold(2)]


def analysis(**rows: tuple[float, int]) -> Analysis:
    records = [
        record(fold, row.replace("_", "-"), seed, quality)
        for row, (quality, seeds) in rows.items()
        for seed in range(1, seeds + 1)
        for fold in FOLDS
    ]
    return Analysis.of(FOLDS, records, "tiny", draws=100)


def plain_eer(fold: Fold, scores: np.ndarray, mask: np.ndarray) -> float:
    target = fold.trials.is_target
    return eer(scores[mask & target], scores[mask & ~target]).value


def test_a_cell_is_the_mean_over_corpora_and_folds() -> None:
    found = analysis(none=(2.0, 2))
    assert found.corpora() == ["a", "b"]
    cell = found.cell("none", "full", "mean")
    assert cell is not None and len(cell.values) == 2
    expected = []
    for corpus in "ab":
        for fold in FOLDS:
            scores = found.records["none"][1][fold.number].score("full")
            mask = np.array([fold.corpus[one] == corpus for one in fold.trials.enroll])
            expected.append(plain_eer(fold, scores, mask))
    assert cell.values[0] == pytest.approx(np.mean(expected))
    assert cell.mean == pytest.approx(np.mean(cell.values))
    assert cell.spread == pytest.approx(np.std(cell.values, ddof=1))


def test_targets_within_and_across_recordings() -> None:
    fold = FOLDS[0]
    scores = np.arange(len(fold.trials), dtype=float)
    both, cross, same = (speaker_trials(fold, scores, Slice("full", "a", kind)) for kind in ("all", "cross", "same"))
    assert both is not None and cross is not None and same is not None
    assert len(both.target) == 6 * 3 and len(cross.target) == 6 * 2 and len(same.target) == 6
    assert len(both.nontarget) == len(cross.nontarget) == len(same.nontarget)


def test_a_seed_counts_when_all_folds_have_it() -> None:
    records = [record(FOLDS[0], "kd", 1, 2.0), record(FOLDS[1], "kd", 1, 2.0), record(FOLDS[0], "kd", 2, 2.0)]
    assert list(Analysis.of(FOLDS, records, "tiny", 10).records["kd"]) == [1]
    assert Analysis.of(FOLDS, records[1:], "tiny", 10).records == {}


def test_a_better_row_is_found_better() -> None:
    found = analysis(imlkd=(3.0, 2), none=(1.5, 2), none_again=(3.0, 2))
    by_row = {one.row: one for one in found.compare("imlkd", "full")}
    worse, alike = by_row["none"], by_row["none-again"]
    assert worse.relative < -0.2 and worse.interval.high < 0 and worse.p_holm < 0.05
    assert alike.interval.low < 0 < alike.interval.high and alike.p_holm > 0.2
    assert worse.p_holm >= worse.p and 0 < alike.detectable


def test_one_fold_of_one_corpus_is_what_compare_says() -> None:
    fold = make_fold(1, speakers=30)
    fold = Fold(1, fold.trials, fold.speaker, fold.recording, dict.fromkeys(fold.corpus, "a"))
    first, second = record(fold, "imlkd", 1, 2.5), record(fold, "none", 1, 2.0)
    (ours,) = Analysis.of([fold], [first, second], "tiny", 200).compare("imlkd", "full")
    systems = [[speaker_trials(fold, one.score("full"), Slice())] for one in (first, second)]
    (theirs,) = compare_systems(systems, Costs((0.01,)), 200, 1, "percentile")  # type: ignore[arg-type]
    assert ours.relative == pytest.approx(theirs.eer.difference / theirs.eer.second)
    assert ours.p == pytest.approx(theirs.eer.p)
