"""Relevance by occlusion, against a loop over windows that is written out."""

from pathlib import Path

import pytest
import torch

from imlkd.attribution.baselines import mean_frame, usual_baseline
from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.occlusion import Occlusion
from imlkd.attribution.relevance import OcclusionConfig
from imlkd.errors import UserError
from imlkd.features.wave_frames import WaveFrames, gain_of_samples
from imlkd.models.onnx_network import load_onnx
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from tests.models.onnx_files import of_features


@pytest.fixture
def model(tmp_path: Path) -> SpeakerModel:
    torch.manual_seed(0)
    model = load_onnx(of_features(tmp_path / "x.onnx", metadata={"framework": "wespeaker"}))
    model.head = CosineHead(model.embedding_dim, ["a", "b", "c"])
    return model


@pytest.mark.parametrize(
    ("frames", "window", "hop"), [(53, 20, 10), (40, 20, 10), (12, 20, 10), (31, 3, 5), (50, 7, 7)]
)
def test_maps(model: SpeakerModel, frames: int, window: int, hop: int) -> None:
    features = torch.randn(frames, 24, generator=torch.Generator().manual_seed(frames))
    engine = Occlusion(model, OcclusionConfig(window / 100, hop / 100), mean_frame, rows=4)
    (found,) = engine.explain([Utterance("u", features, "b")])

    @torch.no_grad()
    def cosine(points: torch.Tensor) -> float:
        output = model(points[None], torch.tensor([len(points)]))
        assert output.cosines is not None
        return float(output.cosines[0, 1])

    window, total, count, start = min(window, frames), torch.zeros(frames), torch.zeros(frames), 0
    while True:
        hidden = features.clone()
        hidden[start : start + window] = features.mean(0)
        total[start : start + window] += cosine(features) - cosine(hidden)
        count[start : start + window] += 1
        if start + window >= frames:
            break
        start += min(hop, window)
    torch.testing.assert_close(found.map, total / count.clamp(min=1), atol=1e-5, rtol=1e-4)
    assert found.map.shape == (frames,) and found.map.abs().max() > 1e-3
    assert found.change == pytest.approx(cosine(features) - cosine(features.mean(0).expand(frames, -1)), abs=1e-5)


def test_integrated_gradients_refuse_it(model: SpeakerModel) -> None:
    with pytest.raises(UserError, match="gives no gradient"):
        IntegratedGradients(model)


def test_a_waveform_is_explained_from_silence_and_gated_by_a_gain_without_steps() -> None:
    silence = usual_baseline(WaveFrames(400))
    assert silence(torch.ones(5, 4), 3).tolist() == [[0.0] * 4] * 3 + [[1.0] * 4] * 2
    gain = gain_of_samples(torch.tensor([[0.0, 1.0, 0.0]]), 4).flatten()
    assert gain.tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125, 0, 0]
