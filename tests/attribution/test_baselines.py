"""Where paths begin, by hand: padding and counts of frames stay; stage 3 takes the one that its configuration says."""

from pathlib import Path

import pytest
import torch

from imlkd.attribution.baselines import BASELINES, average, baseline_of, constant, mean_frame
from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.targets import Explainer
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table
from imlkd.models.ensemble import Ensemble
from tests.attribution.toy_subjects import SPEAKERS, toy_tdnn

UTTERANCE = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0], [9.0, 9.0]])  # the last frame is padding


def test_by_hand() -> None:
    assert mean_frame(UTTERANCE, 3).tolist() == [[3, 4], [3, 4], [3, 4], [9, 9]]
    assert constant(torch.tensor([7.0, 6.0]))(UTTERANCE, 3).tolist() == [[7, 6], [7, 6], [7, 6], [9, 9]]
    others = [torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [6.0, 4.0], [3.0, 0.0]])]
    assert average(others)(UTTERANCE, 3).tolist() == [[3, 1], [3, 1], [3, 1], [9, 9]]  # of frames, not of utterances
    assert UTTERANCE[0].tolist() == [1, 2]  # as it was


def test_names() -> None:
    model = toy_tdnn()
    waveform = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    x = model.frontend(waveform)
    made = {name: baseline_of(name, model, [x, x + 2])(x, 90) for name in BASELINES}
    quiet = model.frontend(torch.zeros(8000))[3]
    for name, frame in {"mean": x[:90].mean(0), "silence": quiet, "average": x.mean(0) + 1, "zero": 0 * quiet}.items():
        torch.testing.assert_close(made[name][:90], frame.expand(90, -1))
        assert torch.equal(made[name][90:], x[90:])
    with pytest.raises(UserError, match="baseline 'noise': expected one of mean, silence, average, zero"):
        baseline_of("noise", model)
    with pytest.raises(UserError, match="baseline average: no utterances"):
        baseline_of("average", model)


def test_a_joined_front_ends_counts_are_no_features() -> None:
    """A teacher of several would take a silence of 2 s for the length of all that it hears."""
    model = Ensemble([toy_tdnn(), toy_tdnn(bins=16, seed=1)])
    x = model.frontend(0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0)))
    for name in BASELINES:
        filled = baseline_of(name, model, [x[:50]])(x, 100)
        assert torch.equal(filled[:, 40:], x[:, 40:]) and (x[:, 40:] == 100).all(), name
        assert not torch.equal(filled[:, :40], x[:, :40])


@pytest.mark.parametrize("name", BASELINES)
def test_stage_3_begins_where_its_configuration_says(toy_corpus: Path, name: str) -> None:
    model, speech = toy_tdnn(), SpeechReader(toy_corpus, 16000)
    config = RelevanceConfig(nodes=4, max_nodes=4, baseline=name)
    explainer = Explainer(model, SPEAKERS, read_table(toy_corpus / "utt2spk", fields=2), speech, config)
    segment = Segment("s1-u2", 30, 100)
    x = model.frontend(speech.segment(segment))
    every = [model.frontend(speech.utterance(one)) for one in speech.names]
    engine = IntegratedGradients(model, config.integration(), baseline=baseline_of(name, model, every))
    (expected,) = engine.explain([Utterance("u", x, "s1")])
    (found,) = explainer.explain([segment], [x])
    torch.testing.assert_close(found.map, expected.map)
    gated = explainer.gated_frames(x[None], torch.zeros(1, 100), 100)  # gates lead to the mean frame in any case
    torch.testing.assert_close(gated[0], x.mean(0).expand(100, -1))
