"""A recording explained: its windows and curves are stage 3's, its value the model's, its orders the engine's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.orders import Explained, relevance_scores
from imlkd.attribution.perturbation import FRACTIONS, Probe, perturbed, ranks, shown
from imlkd.attribution.relevance import EvidenceConfig, RelevanceConfig
from imlkd.attribution.targets import Explainer
from imlkd.attribution.wav_explanation import Request, explain_waveform, segments_of
from imlkd.errors import UserError
from imlkd.features.segments import Segment, SegmentsConfig
from imlkd.features.speech import SpeechReader, cut_out, read_file
from imlkd.kaldi_io import read_table
from tests.attribution.toy_subjects import SPEAKERS, toy_tdnn

CONFIG = RelevanceConfig(nodes=2, max_nodes=2, segments=SegmentsConfig(durations=[0.5, 1.0], hop=0.25, min_speech=0.0))
TO_SPEAKER = Request(Explained(), "s1", "speaker s1", relevance=CONFIG, draws=3)


@pytest.fixture(scope="module")
def waveform(toy_corpus: Path) -> torch.Tensor:
    return read_file(toy_corpus.parent / "audio/s1-u2.wav", 16000)  # 1.774 s, 177 frames


def test_relevance_is_that_of_stage_3(toy_corpus: Path, waveform: torch.Tensor) -> None:
    model = toy_tdnn()
    found = explain_waveform(model, "s1-u2", waveform, TO_SPEAKER)
    assert list(found.curves) == ["50", "100", "full", "fused"]
    labels = read_table(toy_corpus / "utt2spk", fields=2)
    explainer = Explainer(model, SPEAKERS, labels, SpeechReader(toy_corpus, 16000), CONFIG)
    windows = {"100": [Segment("s1-u2", start, 100) for start in (0, 25, 50, 75, 77)],
               "full": [Segment("s1-u2", 0, 177)]}
    for name, own in windows.items():
        total, count = np.zeros(177), np.zeros(177)
        for target in explainer.targets(own):
            place = slice(target.segment.start, target.segment.start + target.segment.frames)
            total[place] += target.arrays["relevance"]
            count[place] += 1
        np.testing.assert_allclose(found.curves[name].values, total / count, atol=2e-4)
        assert found.completeness[name].windows == len(own)
    worst = max(target.error for target in explainer.targets(windows["100"]))
    assert found.completeness["100"].error == pytest.approx(worst, rel=1e-3)
    assert found.completeness["100"].nodes == 3


def test_values_and_curves_are_the_models_own(waveform: torch.Tensor) -> None:
    model = toy_tdnn()
    found = explain_waveform(model, "x", waveform, TO_SPEAKER)
    features = model.frontend(cut_out(waveform, Segment("x", 0, 177), 16000))
    mean = features.mean(0, keepdim=True).expand_as(features)

    def cosine(one: torch.Tensor) -> float:
        output = model(one[None], torch.tensor([len(one)]))
        assert output.cosines is not None
        return float(output.cosines[0, SPEAKERS.index("s1")])

    assert found.value == pytest.approx(cosine(features), abs=1e-5)
    assert found.baseline_value == pytest.approx(cosine(mean), abs=1e-5)
    assert found.order == "full" and set(found.tried) == {"relevance", "energy", "random"}
    engine = IntegratedGradients(model, CONFIG.integration())
    (attribution,) = engine.explain([Utterance("x", features, "s1")])
    scores = {"relevance": relevance_scores(attribution.map, "frame", CONFIG), "energy": features.mean(1)}
    probe = Probe(features, mean, len(features))
    for name, own in scores.items():
        for mode, curve in found.tried[name].curves.items():
            expected = [cosine(perturbed(probe, shown(ranks(own), fraction, mode))) for fraction in FRACTIONS]
            np.testing.assert_allclose(curve, expected, atol=1e-5)
            assert found.tried[name].areas[mode] == pytest.approx(np.trapezoid(expected, FRACTIONS), abs=1e-5)
    chance = found.tried["random"]
    assert chance.lowest["insertion"][5] < chance.curves["insertion"][5] < chance.highest["insertion"][5]


def test_without_a_target_it_is_the_cosine_to_the_recording_itself(waveform: torch.Tensor) -> None:
    model = toy_tdnn()
    model.head = None
    found = explain_waveform(model, "x", waveform, Request(Explained("self"), relevance=CONFIG, draws=1))
    assert found.value == pytest.approx(1, abs=1e-5) and found.baseline_value < found.value
    numbers = json.loads(json.dumps(found.fields(), allow_nan=False))
    assert numbers["quantity"] == "cosine" and numbers["target"] == "its own untouched embedding"
    assert len(numbers["relevance"]["fused"]) == 177 and numbers["seconds"] == pytest.approx(1.774)
    enrolled = Request(Explained("enrolment"), model.embed(waveform), relevance=CONFIG, draws=1)
    assert explain_waveform(model, "x", waveform, enrolled).value == pytest.approx(1, abs=1e-3)


def test_without_the_full_recording_the_fused_curve_gives_the_order(waveform: torch.Tensor) -> None:
    request = replace(TO_SPEAKER, relevance=replace(CONFIG, full=False))
    found = explain_waveform(toy_tdnn(), "x", waveform, request)
    assert found.order == "fused" and list(found.curves) == ["50", "100", "fused"]


def test_segments() -> None:
    """Two bursts of relevance, of which one is too short to be evidence."""
    relevance = np.zeros(100, np.float32)
    relevance[20:40] = relevance[70:73] = 1.0
    speech = np.array([1, 1, 0, 0, 1, 0, 1] + 93 * [0], np.float32)
    found = segments_of(speech, relevance, EvidenceConfig())
    assert found["speech"] == [(0.0, 0.02), (0.04, 0.05), (0.06, 0.07)]
    assert found["evidence"] == [(0.2, 0.4)]
    assert segments_of(speech, relevance, EvidenceConfig(minimum=0.25))["evidence"] == []
    assert segments_of(0 * speech, 0 * relevance, EvidenceConfig()) == {"speech": [], "evidence": []}


def test_what_cannot_be_explained(waveform: torch.Tensor, tmp_path: Path) -> None:
    model = toy_tdnn()
    with pytest.raises(UserError, match="^x: 10 frames of 10 ms, fewer than 20"):
        explain_waveform(model, "x", waveform[:1600], TO_SPEAKER)
    with pytest.raises(UserError, match="^x: the teacher knows no class nobody"):
        explain_waveform(model, "x", waveform, replace(TO_SPEAKER, target="nobody"))
    model.min_frames = 200
    with pytest.raises(UserError, match="^x: 50 frames, but the teacher's receptive field needs 200"):
        explain_waveform(model, "x", waveform, TO_SPEAKER)
    longer = replace(CONFIG, full=False, segments=SegmentsConfig(durations=[3.0]))
    with pytest.raises(UserError, match="^x: no duration fits"):
        explain_waveform(toy_tdnn(), "x", waveform, replace(TO_SPEAKER, relevance=longer))
    soundfile.write(tmp_path / "stereo.wav", np.zeros((1000, 2)), 16000)
    with pytest.raises(UserError, match="2 channels, expected 1"):
        read_file(tmp_path / "stereo.wav", 16000)
