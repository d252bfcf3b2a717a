"""imlkd/export/front_end.py: the same features as the recipe's own front-ends."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.export.front_end import front_end_facts, graph_front_end
from imlkd.features.fbank import FbankConfig, LogMel
from imlkd.features.power_mel import PowerMel
from imlkd.features.teacher_fbanks import (
    SnippedFbankConfig,
    SnippedLogMel,
    SpeechbrainMel,
    SpeechbrainMelConfig,
)

FRONTS: dict[str, Any] = {
    "log-mel": LogMel(FbankConfig()),
    "log-mel, 8 kHz": LogMel(FbankConfig(sample_rate=8000, num_mel_bins=40, high_freq=3600.0)),
    "wespeaker": SnippedLogMel(SnippedFbankConfig()),
    "3D-Speaker": SnippedLogMel(SnippedFbankConfig(window="povey", scale=1.0)),
    "speechbrain": SpeechbrainMel(SpeechbrainMelConfig()),
    "power-mel": PowerMel(),
}
GRAPHS = {name: graph_front_end(front) for name, front in FRONTS.items()}
each_front = pytest.mark.parametrize("name", FRONTS)


def differences(name: str, waveform: torch.Tensor) -> tuple[float, float]:
    """Largest and mean difference, in natural logarithms (or tenths of 10 dB)."""
    expected, found = FRONTS[name](waveform), GRAPHS[name](waveform[None])[0]
    assert found.shape == expected.shape
    error = (found - expected).abs()
    return float(error.max()), float(error.mean())


@each_front
@settings(max_examples=12, deadline=None)
@given(samples=st.integers(400, 20000), level=st.sampled_from([1e-4, 0.01, 0.1, 3.0]), seed=st.integers(0, 999))
def test_equal_to_the_recipes_own(name: str, samples: int, level: float, seed: int) -> None:
    waveform = level * torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    largest, mean = differences(name, waveform.clamp(-1.0, 1.0))
    assert largest < 1e-2 and mean < 2e-5  # the largest in bands without power, where both round


@each_front
def test_silence_offsets_and_full_scale(name: str) -> None:
    square = torch.ones(8000) * torch.tensor([1.0, -1.0]).repeat_interleave(1000).repeat(4)
    for waveform in (torch.zeros(8000), torch.full((8000,), 0.25), square):
        assert differences(name, waveform)[1] < 1e-4


@each_front
def test_rows_are_kept_apart(name: str) -> None:
    waveforms = 0.1 * torch.randn(3, 5000, generator=torch.Generator().manual_seed(1))
    waveforms[1] *= 50.0
    whole = GRAPHS[name](waveforms)
    for row, waveform in zip(whole, waveforms, strict=True):
        assert torch.allclose(row, GRAPHS[name](waveform[None])[0], atol=1e-3)


@each_front
def test_the_shortest_waveform_gives_the_frames_that_were_asked_for(name: str) -> None:
    graph = GRAPHS[name]
    edges = 2 if name in ("wespeaker", "3D-Speaker") else 0  # frames that the network drops again
    for frames in (3, 9, 30):
        needed = graph.min_samples(frames)
        assert graph(torch.zeros(1, needed)).shape[1] >= frames + edges
        if name != "power-mel" and needed > 401:
            assert graph(torch.zeros(1, needed - 1)).shape[1] < frames + edges


def test_settings_are_told() -> None:
    assert front_end_facts(FRONTS["log-mel"]) == {
        "name": "log-mel", "sample_rate": 16000, "num_mel_bins": 80, "low_freq": 20.0, "high_freq": 7600.0,
    }  # fmt: skip
    assert front_end_facts(FRONTS["power-mel"])["num_mel_bins"] == 40
    assert {front_end_facts(front)["name"] for front in FRONTS.values()} >= {"snipped", "speechbrain"}


def test_a_front_end_without_a_graph_is_refused() -> None:
    class Other(LogMel):
        pass

    with pytest.raises(UserError, match="the front-end Other cannot be put into a graph"):
        graph_front_end(Other(FbankConfig()))
