"""The test of maps on a corpus: what is kept against brute force, which utterances, classes and trials, cross test."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd.attribution.faithfulness import FaithfulnessTest, choose_tested, classes_of, trials_of
from imlkd.attribution.faithfulness_run import Choices, faithfulness_of
from imlkd.attribution.orders import Explained, MapOrder
from imlkd.attribution.perturbation import FRACTIONS, MODES, Probe, perturbed, ranks, shown
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.subject import Subject
from imlkd.corpora.trials.lists import Trials, read_trials
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.kaldi_io import read_table
from imlkd.models.store import save_model
from imlkd.progress import Progress
from tests.attribution.toy_subjects import toy_tdnn

FIXED = RelevanceConfig(nodes=2, max_nodes=2)
SECONDS = 1.0


@pytest.fixture(scope="module")
def utt2spk(toy_corpus: Path) -> dict[str, str]:
    return dict(read_table(toy_corpus / "utt2spk", fields=2))


@pytest.fixture(scope="module")
def trials(utt2spk: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trials") / "trials"
    pairs = [(a, b) for a in utt2spk for b in utt2spk if a < b]
    path.write_text("".join(f"{a} {b} {'' if utt2spk[a] == utt2spk[b] else 'non'}target\n" for a, b in pairs))
    return path


@pytest.fixture
def subject(toy_corpus: Path, utt2spk: dict[str, str]) -> Subject:
    subject = Subject(toy_tdnn(), toy_corpus, utt2spk)
    with Progress("embed", len(utt2spk)) as progress:
        subject.embed(utt2spk, progress)
    return subject


@pytest.mark.parametrize("unit", ["frame", "bin"])
def test_answers_are_those_of_one_input_after_the_other(subject: Subject, trials: Path, unit: str) -> None:
    order = MapOrder("relevance", subject, Explained(), unit, FIXED)
    listed = read_trials(trials)
    tested = ["s0-u1", "s2-u3"]
    with Progress("test", 2) as progress:
        found = FaithfulnessTest(subject, [order], trials=listed, rows=5).measure(tested, SECONDS, progress)
    assert found.orders == ("relevance", "energy", "random") and found.utterances == tested and found.maps == 1
    assert found.trials is not None and found.scores is not None
    assert found.scores.shape == (len(found.trials), 3, 2, len(FRACTIONS))
    head = subject.model.head
    assert head is not None
    for row, name in enumerate(tested):
        segment = subject.centre(name, SECONDS)
        assert segment is not None
        features = subject.features(segment)
        probe = Probe(features, features.mean(0, keepdim=True).expand_as(features), 100)
        rank = ranks(order.scores([segment])[0])
        for m, mode in enumerate(MODES):
            for q, fraction in enumerate(FRACTIONS):
                output = subject.model(perturbed(probe, shown(rank, fraction, mode))[None], torch.tensor([100]))
                assert output.cosines is not None
                cosines = output.cosines[0]
                own = cosines[head.speakers.index(name[:2])]
                assert found.cosine[row, 0, m, q] == pytest.approx(float(own), abs=1e-5)
                assert found.nearer[row, 0, m, q] == int((cosines > own + 1e-6).sum())
                unit_length = output.embedding[0] / output.embedding[0].norm()
                for i, (enroll, test) in enumerate(found.trials.pairs()):
                    if test == name:
                        score = float(unit_length @ subject.embeddings[enroll])
                        assert found.scores[i, 0, m, q] == pytest.approx(score, abs=1e-5)
    # nothing shown and everything shown are one input for all orders
    assert (found.cosine[:, :, 0, [0, -1]] == found.cosine[:, :1, 0, [0, -1]]).all()
    assert (found.cosine[:, :, 1, [-1, 0]] == found.cosine[:, :, 0, [0, -1]]).all()
    np.testing.assert_allclose(np.diag(found.agreement), 1, atol=1e-6)


def test_the_middle_of_an_utterance(subject: Subject) -> None:
    assert subject.centre("s0-u1", 1.0) == Segment("s0-u1", 27, 100)  # 1.537 s: 154 frames
    assert subject.centre("s0-u1", 1.54) == Segment("s0-u1", 0, 154)
    assert subject.centre("s0-u1", 1.55) is None


def test_the_same_seed_gives_the_same_answers_and_another_only_another_chance(subject: Subject) -> None:
    def measured(seed: int) -> np.ndarray:
        order = MapOrder("relevance", subject, Explained(), "frame", FIXED)
        with Progress("test", 2) as progress:
            return FaithfulnessTest(subject, [order], seed=seed).measure(["s0-u1", "s2-u3"], 1.0, progress).cosine

    first, again, other = measured(0), measured(0), measured(1)
    assert (first == again).all()
    assert (first[:, :2] == other[:, :2]).all() and (first[:, 2, :, 1:-1] != other[:, 2, :, 1:-1]).any()


def test_chosen_utterances_leave_half_a_speaker_to_its_class() -> None:
    utt2spk = {f"{s}{u}": s for s, count in (("a", 1), ("b", 2), ("c", 5)) for u in range(count)}
    counts = {per: [len([n for n in choose_tested(utt2spk, per, True, 0) if n[0] == s]) for s in "abc"]
              for per in (0, 1, 9)}
    assert counts == {0: [0, 1, 2], 1: [0, 1, 1], 9: [0, 1, 2]}
    assert choose_tested(utt2spk, 0, False, 0) == sorted(utt2spk)
    assert choose_tested(utt2spk, 2, False, 0) == choose_tested(utt2spk, 2, False, 0)
    seen = {tuple(n for n in choose_tested(utt2spk, 2, True, seed) if n[0] == "c") for seed in range(20)}
    assert len(seen) > 3
    alone = {name: speaker for name, speaker in utt2spk.items() if speaker == "c"}
    assert choose_tested(alone, 2, True, 0) == [n for n in choose_tested(utt2spk, 2, True, 0) if n[0] == "c"]
    with pytest.raises(UserError, match="two utterances"):
        choose_tested({"a0": "a", "b0": "b"}, 2, True, 0)


def test_classes_at_hand_are_mean_embeddings(subject: Subject) -> None:
    subject.enrol(["s1-u0", "s1-u3", "s2-u1"])
    head = subject.model.head
    assert head is not None and head.speakers == ["s1", "s2"]
    mean = subject.embeddings["s1-u0"] + subject.embeddings["s1-u3"]
    torch.testing.assert_close(head.weight[0], mean / mean.norm())
    torch.testing.assert_close(head.weight[1], subject.embeddings["s2-u1"])


def test_classes_come_from_the_head_where_it_knows_all(subject: Subject) -> None:
    assert classes_of([subject], "auto") == classes_of([subject], "head") == "head"
    subject.utt2spk = {**subject.utt2spk, "x-u0": "x"}
    assert classes_of([subject], "auto") == classes_of([subject], "data") == "data"
    with pytest.raises(UserError, match=r"does not know 1 speakers of the data \(first: x\).*--classes data"):
        classes_of([subject], "head")


def test_trials_of_tested_utterances() -> None:
    trials = Trials(Path("t"), "kaldi", ["a", "b", "a"], ["c", "c", "d"], np.array([True, False, True]))
    kept = trials_of(trials, ["c"])
    assert kept.pairs() == [("a", "c"), ("b", "c")] and kept.is_target.tolist() == [True, False]
    with pytest.raises(UserError, match="^t: no targets, or no nontargets"):
        trials_of(trials, ["d"])


def test_a_cross_test_shows_the_model_what_the_other_finds_relevant(subject: Subject, toy_corpus: Path) -> None:
    """A model that is its own teacher agrees with itself; frames cross front-ends, bins do not."""
    own = MapOrder("own", subject, Explained(), "frame", FIXED)
    twin = MapOrder("twin", subject, Explained(), "frame", FIXED)
    other = Subject(toy_tdnn(bins=16, seed=1), toy_corpus, subject.utt2spk)
    foreign = MapOrder("foreign", other, Explained(), "frame", FIXED)
    with Progress("test", 2) as progress:
        found = FaithfulnessTest(subject, [twin, foreign, own]).measure(["s0-u1", "s2-u3"], 1.0, progress)
    assert (found.cosine[:, 0] == found.cosine[:, 2]).all() and (found.cosine[:, 0] != found.cosine[:, 1]).any()
    assert found.agreement[0, 2] == pytest.approx(1) and abs(found.agreement[0, 1]) < 0.95
    bins = [replace_unit(one) for one in (foreign, own)]
    with pytest.raises(UserError, match="16 bins on a model of 24"):
        FaithfulnessTest(subject, bins)


def replace_unit(order: MapOrder) -> MapOrder:
    return MapOrder(order.name, order.subject, order.explained, "bin", order.config)


def test_too_long_a_duration_is_said(subject: Subject) -> None:
    order = MapOrder("relevance", subject, Explained(), "frame", FIXED)
    with Progress("test", 1) as progress, pytest.raises(UserError, match="none of 1 tested utterances is 5 s long"):
        FaithfulnessTest(subject, [order]).measure(["s0-u1"], 5.0, progress)


def test_the_whole_test(toy_corpus: Path, trials: Path, tmp_path: Path) -> None:
    """Two durations, two baselines, classes of the data, a trial list: every number that a reader expects is there."""
    save_model(toy_tdnn(), tmp_path / "model")
    explained = [Explained(baseline="mean"), Explained("self", baseline="average")]
    choices = Choices((0.5, 1.0), explained=explained, classes="data", per_speaker=1, draws=20, relevance=FIXED)
    report = faithfulness_of(tmp_path / "model", toy_corpus, choices, trials)
    fields = report.fields()
    assert fields["classes"] == "data" and fields["class_count"] == 4 and fields["fractions"] == list(FRACTIONS)
    assert list(fields["durations"]) == ["0.5", "1"]
    one = fields["durations"]["1"]
    assert (one["utterances"], one["speakers"]) == (4, 4) and 0 < one["targets"] < one["trials"]
    assert list(one["completeness"]) == ["relevance:cosine-mean", "relevance:self-average"]
    for mode in MODES:
        assert list(one[mode]) == ["top1", "top5", "cosine", "target_cosine", "eer"]
        gaps = one[mode]["eer"]["gaps"]
        assert list(gaps["relevance:self-average"]) == ["relevance:cosine-mean", "energy", "random"]
        assert list(gaps["relevance:cosine-mean"]) == ["energy", "random"]
    again = faithfulness_of(tmp_path / "model", toy_corpus, replace(choices, rows=3), trials)
    np.testing.assert_allclose(again.measured[1].cosine, report.measured[1].cosine, atol=1e-6)


def test_ids_of_trials_must_be_in_the_data(toy_corpus: Path, tmp_path: Path) -> None:
    save_model(toy_tdnn(), tmp_path / "model")
    (tmp_path / "trials").write_text("s0-u0 s0-u1 target\nnobody s1-u1 nontarget\n")
    with pytest.raises(UserError, match="nobody"):
        faithfulness_of(tmp_path / "model", toy_corpus, Choices(), tmp_path / "trials")
