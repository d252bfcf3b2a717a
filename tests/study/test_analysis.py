"""Measures of a made-up study against numbers by hand and against `imlkd compare` on one fold."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from imlkd.corpora.trials.lists import Trials
from imlkd.scoring.compare import compare_systems
from imlkd.scoring.metrics import Costs, eer
from imlkd.scoring.resampling import draw_speakers
from imlkd.study.analysis import Analysis, Slice, cautions, speaker_trials
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
    return Analysis.of(FOLDS, records, "tiny", draws=300)


def _records(**rows: float) -> Iterator[Record]:
    yield from (record(fold, row, 1, quality) for fold in FOLDS for row, quality in rows.items())


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
    (theirs,) = compare_systems(systems, Costs((0.01,)), 200, 1)  # type: ignore[arg-type]
    assert ours.relative == pytest.approx(theirs.eer.difference / theirs.eer.second)
    assert ours.p == pytest.approx(theirs.eer.p) and not ours.few_speakers


def test_interval_p_and_detectable_are_corrected_for_speakers_folds_and_corpora() -> None:
    """Student's t for 24 speakers in four groups, each drawn by itself, around the quantiles of the draws."""
    found = analysis(imlkd=(2.4, 1), none=(2.0, 1))
    (one,) = found.compare("imlkd", "full")
    first, second = (found._drawn(row, "full", 0, 0).draws for row in ("imlkd", "none"))
    gaps = (first - second) / second
    wide = (24 / 20) ** 0.5
    tail = norm.cdf(-student.ppf(0.975, 20) * wide)
    low, high = np.quantile(gaps, [tail, 1 - tail])
    assert [one.interval.low, one.interval.high] == pytest.approx([low, high], rel=0.01)
    raw = 2 * (min((gaps <= 0).sum(), (gaps >= 0).sum()) + 1) / (len(gaps) + 1)
    assert one.p == pytest.approx(2 * student.cdf(norm.ppf(raw / 2) / wide, 20), rel=0.01)
    reach = (student.ppf(0.975, 20) + student.ppf(0.8, 20)) * wide
    assert one.detectable == pytest.approx(reach * gaps.std(ddof=1), rel=0.01)
    assert not one.few_speakers


def test_speakers_of_two_corpora_are_not_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, list[list[int]]] = {}

    def noted(speakers: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
        counts = list(draw_speakers(speakers, draws, seed))
        seen.setdefault(seed, [count[speakers].tolist() for count in counts])
        return iter(counts)

    monkeypatch.setattr("imlkd.study.analysis.draw_speakers", noted)
    analysis(imlkd=(3.0, 2), none=(1.5, 1)).compare("imlkd", "full")
    assert len(seen) == 4  # two folds of two corpora, the same for both rows and all seeds
    assert len({str(draws) for draws in seen.values()}) == 4


def test_a_row_without_errors_has_no_relative_difference() -> None:
    found = analysis(imlkd=(3.0, 1), none=(1.5, 1), perfect=(100.0, 1))
    assert [one.row for one in found.compare("imlkd", "full")] == ["none"]


def test_few_speakers_are_marked() -> None:
    folds = [make_fold(1, 8), make_fold(2, 8)]
    records = [record(fold, row, 1, quality) for fold in folds for row, quality in (("imlkd", 1.5), ("none", 1.0))]
    (found,) = Analysis.of(folds, records, "tiny", 50).compare("imlkd", "full")
    assert found.few_speakers
    assert cautions([found]).startswith("Fewer than 20 speakers: intervals and p are a hint only.")


def test_too_few_draws_for_so_many_rows_are_marked() -> None:
    """Every draw on one side, of 300, corrected for 24 speakers in four groups, times two rows."""
    found = analysis(imlkd=(5.0, 1), none=(1.0, 1), none_again=(1.0, 1)).compare("imlkd", "full")
    least = 2 * student.cdf(norm.ppf(1 / 301) / (24 / 20) ** 0.5, 20)
    assert [one.p_holm for one in found] == pytest.approx([2 * least] * 2, rel=0.01)
    assert [one.least_p for one in found] == [one.p_holm for one in found]
    assert cautions(found) == ""
    rough = Analysis.of(FOLDS, list(_records(imlkd=5.0, none=1.0)), "tiny", 50).compare("imlkd", "full")
    assert cautions(rough) == f"So few draws give no p below {rough[0].p:.2g}: raise draws." and rough[0].p > 0.05
