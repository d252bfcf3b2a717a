import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError
from imlkd.scoring.calibration import Calibration, fit_calibration, trial_hash
from imlkd.scoring.logistic import cross_entropy
from imlkd.scoring.quality import Quality


def sample(seed: int = 0, speakers: int = 30, prefix: str = "s") -> tuple[Trials, np.ndarray]:
    """All pairs of two utterances a speaker, with scores of log-likelihood ratio (s - 0.3) * 20."""
    names = [f"{prefix}{s}-{u}" for s in range(speakers) for u in range(2)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    is_target = np.array([a.split("-")[0] == b.split("-")[0] for a, b in pairs])
    enroll, test = zip(*pairs, strict=True)
    generator = np.random.default_rng(seed)
    llr = generator.normal(np.where(is_target, 2.0, -2.0), 2.0)  # N(+-2, 4): its own log-likelihood ratio
    return Trials(Path("dev/trials"), "kaldi", list(enroll), list(test), is_target), llr / 20 + 0.3


def speakers_of(trials: Trials) -> list[str]:
    return [name.split("-")[0] for name in trials.enroll + trials.test]


def test_scores_become_log_likelihood_ratios() -> None:
    trials, scores = sample(speakers=300)
    calibration = fit_calibration(trials, scores, speakers_of(trials), 0.5)
    assert calibration.scale == pytest.approx(20, rel=0.2) and calibration.offset == pytest.approx(-6, rel=0.2)
    other, held_out = sample(1, prefix="t", speakers=200)
    before = cross_entropy(held_out, other.is_target)
    after = cross_entropy(calibration.apply(held_out, other.enroll, other.test), other.is_target)
    ideal = cross_entropy((held_out - 0.3) * 20, other.is_target)
    assert after < before and after == pytest.approx(ideal, abs=0.02)


def test_file_and_back(tmp_path: Path) -> None:
    trials, scores = sample()
    quality = Quality({"duration": {name: float(i % 7) for i, name in enumerate(trials.enroll + trials.test)}})
    calibration = fit_calibration(trials, scores, speakers_of(trials), quality=quality)
    calibration.write(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == calibration
    assert sorted(calibration.quality) == ["duration_max", "duration_min"]
    assert (calibration.targets, calibration.nontargets) == (30, 60 * 59 // 2 - 30)
    np.testing.assert_allclose(
        calibration.apply(scores, trials.enroll, trials.test, quality),
        calibration.scale * scores + calibration.offset + sum(
            calibration.quality[name] * values for name, values in quality.features(trials.enroll, trials.test).items()
        ),
    )  # fmt: skip


def test_duration_helps_where_scores_depend_on_it() -> None:
    trials, scores = sample(speakers=100)
    generator = np.random.default_rng(3)
    duration = {name: float(generator.normal()) for name in dict.fromkeys(trials.enroll + trials.test)}
    quality = Quality({"duration": duration})
    shifted = scores + 0.1 * quality.features(trials.enroll, trials.test)["duration_min"]
    plain = fit_calibration(trials, shifted, [], 0.5)
    better = fit_calibration(trials, shifted, [], 0.5, quality)
    gain = cross_entropy(plain.apply(shifted, trials.enroll, trials.test), trials.is_target) - cross_entropy(
        better.apply(shifted, trials.enroll, trials.test, quality), trials.is_target
    )
    assert gain > 0.02 and better.quality["duration_min"] == pytest.approx(-0.1 * better.scale, rel=0.1)


def test_the_test_list_itself_is_refused_in_any_order_and_spelling() -> None:
    trials, scores = sample()
    calibration = fit_calibration(trials, scores, speakers_of(trials))
    order = np.random.default_rng(0).permutation(len(trials))
    shuffled = Trials(
        Path("test/trials"), "voxceleb", [trials.test[i] for i in order], [trials.enroll[i] for i in order],
        ~trials.is_target[order],
    )  # fmt: skip
    with pytest.raises(UserError, match="c.json: was fitted on the trials of test/trials themselves"):
        calibration.refuse(shuffled, [], "c.json")


def test_shared_speakers_are_refused() -> None:
    trials, scores = sample()
    calibration = fit_calibration(trials, scores, speakers_of(trials))
    other, _ = sample(prefix="t")
    calibration.refuse(other, speakers_of(other), "c.json")
    with pytest.raises(UserError, match="fitted on 2 of the speakers of dev/trials, first: s1, s3"):
        calibration.refuse(other, ["t0", "s3", "s1"], "c.json")


def test_hash_tells_lists_apart() -> None:
    def hashed(enroll: list[str], test: list[str]) -> str:
        return trial_hash(Trials(Path("x"), "kaldi", enroll, test, np.zeros(len(enroll), dtype=np.bool_)))

    assert hashed(["a", "b"], ["c", "d"]) == hashed(["d", "a"], ["b", "c"])
    assert hashed(["a", "b"], ["c", "d"]) != hashed(["a", "b"], ["d", "c"])
    assert hashed(["a", "a"], ["b", "b"]) != hashed(["c", "c"], ["d", "d"])  # twice is not never


def test_scores_of_another_system_are_refused() -> None:
    calibration = Calibration(1.0, 0.0, score_range=(-1.0, 1.0))
    assert calibration.in_range(np.array([-1.0, 1.0, 1.1, -9.0])) == 2
    calibration.refuse_foreign(2, 4, "c.json")
    with pytest.raises(UserError, match="from -1 to 1, and 3 of 4 scores lie outside: fit it on scores of the same"):
        calibration.refuse_foreign(1, 4, "c.json")


def test_what_cannot_be_fitted() -> None:
    trials, scores = sample()
    with pytest.raises(UserError, match="told apart without an error"):
        fit_calibration(trials, trials.is_target + 0.1 * scores, [])
    with pytest.raises(UserError, match="scores are lower for targets than for nontargets"):
        fit_calibration(trials, -scores, [])
    with pytest.raises(UserError, match="all trials have the same score"):
        fit_calibration(trials, np.full(len(trials), 0.3), [])
    unit = Quality({"magnitude": {name: 1.0 + 1e-8 * (i % 9) for i, name in enumerate(trials.enroll + trials.test)}})
    with pytest.raises(UserError, match="all trials have the same magnitude: are the embeddings of length 1"):
        fit_calibration(trials, scores, [], quality=unit)


def test_measure_that_is_not_given() -> None:
    calibration = Calibration(1.0, 0.0, {"cohort_mean_min": 0.5})
    with pytest.raises(UserError, match="was fitted with cohort_mean_min: give the table with --cohort-stats-scp"):
        calibration.apply(np.zeros(1), ["a"], ["b"])


@pytest.mark.parametrize(
    "change",
    [{"scale": -1.0}, {"scale": "x"}, {"offset": None}, {"other": 1}, {"quality": {"age_min": 1.0}}, {"speakers": 3}],
)
def test_damaged_file(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    trials, scores = sample()
    values = json.loads(fit_calibration(trials, scores, ["s1"]).to_json())
    path.write_text(json.dumps(values | change))
    with pytest.raises(UserError, match="no calibration, or a damaged one"):
        Calibration.read(path)
    for text in ("", "[]", "{}", "null"):
        path.write_text(text)
        with pytest.raises(UserError, match="no calibration, or a damaged one"):
            Calibration.read(path)
    with pytest.raises(UserError, match="no such file"):
        Calibration.read(tmp_path / "none")


def fuzz(path: Path, examples: int) -> None:
    original = Calibration(2.0, -1.0, {"duration_min": 0.5}, speakers=("s1", "s2"), score_range=(-1.0, 1.0)).to_json()

    @given(st.integers(0, len(original)), st.text(max_size=6), st.integers(0, 12))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def damage(place: int, inserted: str, removed: int) -> None:
        text = original[:place] + inserted + original[place + removed :]
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(UserError):
            found = Calibration.read(path)
            assert np.isfinite(found.scale * 0.5 + found.offset)

    damage()


def test_any_damage_is_a_user_error_or_harmless(tmp_path: Path) -> None:
    fuzz(tmp_path / "calibration.json", 200)


@pytest.mark.slow
def test_much_damage_is_a_user_error_or_harmless(tmp_path: Path) -> None:
    fuzz(tmp_path / "calibration.json", 20000)
