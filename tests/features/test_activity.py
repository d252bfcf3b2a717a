"""Speech activity, against Kaldi's rule written as its loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imlkd.attribution.segmentation.graph import Graph, batch_of
from imlkd.attribution.segmentation.numpy_backend import NumpyBackend
from imlkd.attribution.segments import runs_of, speech_marks
from imlkd.features.activity import ActivityConfig, SpeechSegmentsConfig, speech_frames


def kaldi_rule(log_energy: np.ndarray, config: ActivityConfig) -> list[float]:
    """ComputeVadEnergy (ivector/voice-activity-detection.cc), frame by frame."""
    threshold = config.energy_threshold
    if config.energy_mean_scale != 0.0:
        threshold += config.energy_mean_scale * float(np.sum(log_energy, dtype=np.float64)) / len(log_energy)
    marks = []
    for frame in range(len(log_energy)):
        above = around = 0
        for other in range(frame - config.frames_context, frame + config.frames_context + 1):
            if 0 <= other < len(log_energy):
                around += 1
                if log_energy[other] > threshold:
                    above += 1
        marks.append(1.0 if above >= around * config.proportion_threshold else 0.0)
    return marks


@settings(deadline=None, max_examples=150)
@given(
    energy=arrays(np.float32, st.integers(1, 40), elements=st.integers(0, 24)),
    threshold=st.integers(0, 14),
    scale=st.sampled_from([0.0, 0.5, 1.0]),
    context=st.integers(0, 6),
    share=st.sampled_from([0.0, 0.12, 0.2, 0.25, 0.5, 0.6, 2 / 3, 0.75, 1.0]),
)
def test_the_rule_is_kaldis(energy: np.ndarray, threshold: int, scale: float, context: int, share: float) -> None:
    config = ActivityConfig(threshold + 0.37, scale, context, share)  # no energy lies on the threshold itself
    found = speech_frames(energy, config)
    assert found.dtype == np.float32 and found.tolist() == kaldi_rule(energy, config)


def test_by_hand() -> None:
    """Mean 8, threshold 5.5 + 0.5 * 8 = 9.5; a frame within two of a loud one is speech at a share of 0.12."""
    energy = np.array([4, 4, 4, 4, 20, 20, 4, 4, 4, 12], np.float32)
    assert speech_frames(energy, ActivityConfig()).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    assert speech_frames(energy, ActivityConfig(frames_context=0)).tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1]
    assert speech_frames(energy, ActivityConfig(proportion_threshold=0.5)).tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("level", [0.0, 30.0])
def test_even_energy_is_all_speech_or_none(level: float) -> None:
    assert speech_frames(np.full(9, level, np.float32), ActivityConfig()).tolist() == [float(level > 11)] * 9


@settings(deadline=None, max_examples=50)
@given(
    energy=arrays(np.float32, st.integers(1, 200), elements=st.floats(0, 24, width=32)),
    minimum=st.sampled_from([0.01, 0.05, 0.2]),
    silence=st.sampled_from([0.02, 0.3]),
)
def test_segments_keep_their_minimum_durations(energy: np.ndarray, minimum: float, silence: float) -> None:
    """The backend is told what the rule says: energy above the threshold, scaled, is the log-odds."""
    own = SpeechSegmentsConfig(minimum=minimum, silence=silence, penalty=1.0, scale=0.5, backend="numpy")
    found = speech_frames(energy, ActivityConfig(segments=own), speech_marks)
    graph = Graph(round(100 * minimum), round(100 * silence), 1.0)
    log_odds = 0.5 * (energy.astype(np.float64) - (5.5 + 0.5 * energy.mean(dtype=np.float64)))
    speech = runs_of(found > 0)
    assert found.dtype == np.float32 and len(found) == len(energy)
    assert all(end - start >= min(graph.on, len(energy)) for start, end in speech)
    assert all(end - start >= min(graph.off, len(energy)) for start, end in runs_of(found == 0))
    reference = NumpyBackend().best(batch_of([log_odds], graph))[0]

    def score(marks: np.ndarray) -> float:
        return float(log_odds[marks > 0].sum()) - np.abs(np.diff(marks)).sum()

    assert abs(score(found) - score(reference.astype(np.float32))) < 0.1  # energies are rounded to float32 first


def test_segments_by_hand() -> None:
    """Mean 8, threshold 9.5: a single loud frame is no speech of three frames unless it pays for its neighbours."""
    energy = np.array([4, 4, 4, 4, 20, 20, 4, 4, 4, 12], np.float32)
    own = SpeechSegmentsConfig(minimum=0.03, silence=0.03, penalty=1.0, backend="numpy")
    assert speech_frames(energy, ActivityConfig(segments=own), speech_marks).tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]


def test_segments_without_what_finds_them() -> None:
    with pytest.raises(ValueError, match="segments.minimum needs a segmenter"):
        speech_frames(np.zeros(5, np.float32), ActivityConfig(segments=SpeechSegmentsConfig(minimum=0.1)))
