"""Orders: energy, chance and maps, and what is said to a quantity that there is not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.orders import Explained, MapOrder, energy_scores, random_scores, relevance_scores
from imlkd.attribution.perturbation import ranks
from imlkd.attribution.quantities import EnrolmentCosine, TargetCosine
from imlkd.attribution.relevance import RelevanceConfig, frame_relevance
from imlkd.attribution.subject import Subject
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.kaldi_io import read_table
from imlkd.progress import Progress
from tests.attribution.toy_subjects import toy_tdnn

FIXED = RelevanceConfig(nodes=2, max_nodes=2)


def test_relevance_of_frames_is_that_of_stage_3_but_for_clip_and_scale() -> None:
    attribution = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    for sign in ("relu", "abs", "signed"):
        config = RelevanceConfig(sign=sign)
        given = attribution.sum(1) if sign == "signed" else attribution
        scores, relevance = relevance_scores(given, "frame", config), frame_relevance(given[None], config)[0]
        below = relevance < 1
        assert below.sum() == 47  # of 50, the clip makes three equal
        assert torch.equal(scores[below].argsort(), relevance[below].argsort())
        assert len(scores.unique()) == 50


def test_bins_are_ordered_by_the_map_itself() -> None:
    attribution = torch.tensor([[1.0, -3.0], [-2.0, 0.5]])
    assert ranks(relevance_scores(attribution, "bin", RelevanceConfig())).tolist() == [[0, 3], [2, 1]]
    assert ranks(relevance_scores(attribution, "bin", RelevanceConfig(sign="abs"))).tolist() == [[2, 0], [1, 3]]


def test_energy() -> None:
    features = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    assert energy_scores(features, "frame").tolist() == [2.0, 0.0]
    assert torch.equal(energy_scores(features, "bin"), features)


def test_a_drawn_order_goes_by_seed_and_name_alone() -> None:
    first = random_scores((300,), 0, "u1")
    assert sorted(first.tolist()) == list(range(300))
    random_scores((20,), 0, "u2")
    assert torch.equal(first, random_scores((300,), 0, "u1"))
    others = [random_scores((300,), 1, "u1"), random_scores((300,), 0, "u2")]
    assert all(abs(float(np.corrcoef(first, other)[0, 1])) < 0.2 for other in others)
    assert random_scores((4, 3), 0, "u1").shape == (4, 3)


def test_the_order_of_a_map_is_that_of_the_engine(toy_corpus: Path) -> None:
    subject = Subject(toy_tdnn(), toy_corpus, read_table(toy_corpus / "utt2spk", fields=2))
    with Progress("embed", 16) as progress:
        subject.embed(subject.utt2spk, progress)
    segments = [Segment("s1-u2", 5, 100), Segment("s2-u0", 0, 100)]
    targets = {
        "cosine": ["s1", "s2"],
        "self": [subject.embeddings["s1-u2"], subject.embeddings["s2-u0"]],
        "enrolment": [subject.embeddings["s1-u0"], subject.embeddings["s2-u1"]],  # the first other one
    }
    for quantity, given in targets.items():
        measured = TargetCosine() if quantity == "cosine" else EnrolmentCosine()
        for unit in ("frame", "bin"):
            order = MapOrder("x", subject, Explained(quantity), unit, FIXED)
            engine = IntegratedGradients(subject.model, FIXED.integration(), measured)
            for found, segment, target in zip(order.scores(segments), segments, given, strict=True):
                (one,) = engine.explain([Utterance("u", subject.features(segment), target)])
                torch.testing.assert_close(found, relevance_scores(one.map, unit, FIXED), rtol=1e-4, atol=1e-7)


def test_quantities_are_parsed() -> None:
    assert Explained.parse("cosine", "zero") == Explained("cosine", 1.0, "zero")
    assert Explained.parse("probability", "mean").temperature == 1.0
    assert str(Explained.parse("log-probability:2.5", "mean")) == "log-probability:2.5-mean"
    for wrong in ("cosin", "cosine:2", "probability:0", "probability:x", "log-probability:", "probability:nan"):
        with pytest.raises(UserError, match=wrong.split(":")[0]):
            Explained.parse(wrong, "mean")


def test_a_speaker_of_one_utterance_has_no_other_to_enrol(toy_corpus: Path) -> None:
    subject = Subject(toy_tdnn(), toy_corpus, {"s1-u2": "s1", "s2-u0": "s2"})
    with Progress("embed", 2) as progress:
        subject.embed(subject.utt2spk, progress)
    order = MapOrder("x", subject, Explained("enrolment"), "frame", FIXED)
    with pytest.raises(UserError, match="^s1-u2: s1 has no other utterance"):
        order.scores([Segment("s1-u2", 0, 100)])
