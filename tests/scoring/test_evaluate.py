import json
import math
from pathlib import Path

import numpy as np
import pytest

from imlkd.corpora.trials.lists import read_trials
from imlkd.errors import UserError
from imlkd.scoring.evaluate import (
    P_TARGETS,
    Evaluation,
    evaluate,
    read_scores,
    write_eer_input,
)
from imlkd.scoring.metrics import eer, eer_kaldi, eer_rocch, min_dcf


class Case:
    """30 speakers with three utterances each, all pairs of utterances of neighbouring speakers, noisy scores."""

    def __init__(self, folder: Path, speakers: int = 30) -> None:
        generator = np.random.default_rng(0)
        self.folder = folder
        self.rows: list[tuple[str, str, bool, float]] = []
        utterances = [(f"s{i:02d}", f"s{i:02d}-u{j}") for i in range(speakers) for j in range(3)]
        for first, (speaker, one) in enumerate(utterances):
            for other_speaker, other in utterances[first + 1 : first + 9]:
                target = speaker == other_speaker
                self.rows.append((one, other, target, round(generator.normal(2.0 * target, 1.0), 3)))
        self.trials = folder / "trials"
        self.trials.write_text("".join(f"{a} {b} {'target' if t else 'nontarget'}\n" for a, b, t, _ in self.rows))
        self.utt2spk = folder / "utt2spk"
        self.utt2spk.write_text("".join(f"{utterance} {speaker}\n" for speaker, utterance in utterances))
        self.scores = self.write("scores", [f"{a} {b} {s}" for a, b, _, s in self.rows])

    def write(self, name: str, lines: list[str]) -> Path:
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        return self.folder / name

    def lines(self) -> list[str]:
        return self.scores.read_text().splitlines()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_measures_are_those_of_the_lists(case: Case) -> None:
    target = [score for *_, is_target, score in case.rows if is_target]
    nontarget = [score for *_, is_target, score in case.rows if not is_target]
    result = evaluate(case.scores, case.trials, [case.utt2spk], draws=100)
    assert (result.targets, result.nontargets, result.speakers) == (len(target), len(nontarget), 30)
    assert (result.eer.value, result.eer.threshold) == eer(target, nontarget)
    assert (result.eer_kaldi.value, result.eer_kaldi.threshold) == eer_kaldi(target, nontarget)
    assert result.eer_rocch == eer_rocch(target, nontarget)
    assert tuple(result.min_dcf) == P_TARGETS
    for p_target, measure in result.min_dcf.items():
        assert (measure.value, measure.threshold) == min_dcf(target, nontarget, p_target)
        assert measure.interval is not None
    assert result.eer.interval is not None
    assert result.eer.interval.low < result.eer.value < result.eer.interval.high
    assert (result.draws, result.few_speakers) == (100, False)


def test_scores_in_another_order(case: Case) -> None:
    shuffled = case.write("shuffled", case.lines()[::-1])
    assert evaluate(shuffled, case.trials, [case.utt2spk], 50) == evaluate(case.scores, case.trials, [case.utt2spk], 50)


def test_repeated_score_of_the_same_value_is_no_contradiction(case: Case) -> None:
    repeated = case.write("repeated", [*case.lines(), case.lines()[0]])
    assert evaluate(repeated, case.trials) == evaluate(case.scores, case.trials)


@pytest.mark.parametrize(("utt2spk", "draws"), [(False, 1000), (True, 0)])
def test_no_interval_without_speakers_or_draws(case: Case, utt2spk: bool, draws: int) -> None:
    result = evaluate(case.scores, case.trials, [case.utt2spk] if utt2spk else [], draws)
    assert (result.eer.interval, result.draws) == (None, 0)


def test_few_speakers_carry_the_mark(tmp_path: Path) -> None:
    case = Case(tmp_path, speakers=19)
    assert evaluate(case.scores, case.trials, [case.utt2spk], 50).few_speakers


def test_enrolment_by_speaker_id(case: Case) -> None:
    by_speaker = case.write("by_speaker", ["s00 s01-u0 nontarget", "s00 s00-u1 target", "s02 s02-u0 target"])
    scores = case.write("speaker_scores", ["s00 s01-u0 0.1", "s00 s00-u1 0.7", "s02 s02-u0 0.6"])
    result = evaluate(scores, by_speaker, [case.utt2spk], 50)
    assert (result.speakers, result.eer.value) == (3, 0.0)


def test_two_utt2spk_files(case: Case) -> None:
    lines = case.utt2spk.read_text().splitlines()
    parts = [case.write("part1", lines[:40]), case.write("part2", lines[30:])]
    assert evaluate(case.scores, case.trials, parts, 50) == evaluate(case.scores, case.trials, [case.utt2spk], 50)
    with pytest.raises(UserError, match="part3: s00-u0 is other here and s00 in another"):
        evaluate(case.scores, case.trials, [case.utt2spk, case.write("part3", ["s00-u0 other"])])


BAD_LINES = [
    ("{a} {b}", "expected 3 columns .* found 2"),
    ("{a} {b} 0.5 target", "found 4, the fourth a label 'target': cut it out"),
    ("{a} {b} 0.5 0.6", "found 4"),
    ("{a} {b} high", "'high' is no number"),
    ("{a} {b} nan", "score is nan"),
    ("{a} {b} -inf", "score is -inf"),
    ("{a} nobody 0.5", "{a} nobody is no trial of"),
    ("{b} {a} 0.5", "{b} {a} is no trial of"),
    ("{a} {b} 0.5\r", "CRLF"),
    ("", "found 0"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_LINES)
def test_bad_score_line_is_named(case: Case, bad: str, message: str) -> None:
    lines = case.lines()
    a, b, _ = lines[4].split()
    scores = case.write("bad", [*lines[:4], bad.format(a=a, b=b), *lines[5:]])
    with pytest.raises(UserError, match=message.format(a=a, b=b)) as caught:
        evaluate(scores, case.trials)
    assert str(caught.value).startswith(f"{scores}:5: ")
    assert "\n" not in str(caught.value)


def test_contradicting_scores(case: Case) -> None:
    a, b, value = case.lines()[2].split()
    scores = case.write("twice", [*case.lines(), f"{a} {b} {float(value) + 1}"])
    with pytest.raises(UserError, match=f"twice:{len(case.rows) + 1}: {a} {b} already has another score"):
        evaluate(scores, case.trials)


def test_missing_scores_are_counted(case: Case) -> None:
    lines = case.lines()
    scores = case.write("short", lines[:10] + lines[12:])
    a, b, _ = lines[10].split()
    first = rf"{a} {b} \(.*trials:11\)"
    with pytest.raises(UserError, match=f"short: 2 of {len(lines)} trials have no score; first: {first}"):
        evaluate(scores, case.trials)


def test_unknown_speaker_and_contradicting_label(case: Case) -> None:
    lines = case.utt2spk.read_text().splitlines()
    with pytest.raises(UserError, match="1 of .* are not in utt2spk; first: s00-u0"):
        evaluate(case.scores, case.trials, [case.write("gap", lines[1:])])
    wrong = case.write("wrong", ["s00-u0 s01", *lines[1:]])
    with pytest.raises(UserError, match="trials:1: s00-u0 s00-u1 is labelled target, but utt2spk says the opposite"):
        evaluate(case.scores, case.trials, [wrong])


def test_json_round_trip(case: Case, tmp_path: Path) -> None:
    result = evaluate(case.scores, case.trials, [case.utt2spk], 50)
    result.write_json(tmp_path / "e.json")
    text = (tmp_path / "e.json").read_text()
    assert Evaluation.from_json(text) == result
    fields = json.loads(text)
    assert fields["eer"]["value"] == result.eer.value
    assert list(fields["min_dcf"]) == ["0.01", "0.001", "0.05"]


def test_json_of_a_threshold_that_rejects_all(case: Case) -> None:
    upside_down = case.write("inverted", [f"{a} {b} {-s}" for a, b, _, s in case.rows])
    result = evaluate(upside_down, case.trials, [case.utt2spk], 20)
    assert result.min_dcf[0.001].threshold == math.inf
    assert json.loads(result.to_json())["min_dcf"]["0.001"]["threshold"] is None
    assert Evaluation.from_json(result.to_json()) == result


def test_eer_input(case: Case, tmp_path: Path) -> None:
    trials = read_trials(case.trials)
    write_eer_input(tmp_path / "eer", trials, read_scores(case.scores, trials))
    rows = [line.split(" ") for line in (tmp_path / "eer").read_text().splitlines()]
    assert [(float(score), label == "target") for score, label in rows] == [(s, t) for _, _, t, s in case.rows]
    assert {label for _, label in rows} == {"target", "nontarget"}
