"""WavLM, HuBERT and wav2vec 2.0: torchaudio's own modules with random weights are the oracle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio.models as peers
from torchaudio.pipelines._wav2vec2.utils import _extend_model

from imlkd.attribution.baselines import usual_baseline
from imlkd.attribution.integrated_gradients import IntegratedGradients, Utterance
from imlkd.attribution.integration_config import IntegrationConfig
from imlkd.errors import UserError
from imlkd.features.wave_frames import samples_of
from imlkd.models.self_supervised import SelfSupervised, config_of, load_torchaudio
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import load_model, save_model

SMALL: dict[str, Any] = {
    "extractor_conv_layer_config": [(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8, 2, 2)] * 2,
    "encoder_embed_dim": 64, "encoder_projection_dropout": 0.1, "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 4, "encoder_num_layers": 3, "encoder_num_heads": 1, "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 48, "encoder_ff_interm_dropout": 0.1, "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.1, "aux_num_out": None,
}  # fmt: skip
BASE = {"extractor_mode": "group_norm", "extractor_conv_bias": False, "encoder_layer_norm_first": False}
LARGE = {"extractor_mode": "layer_norm", "extractor_conv_bias": True, "encoder_layer_norm_first": True}
WAVLM = {"encoder_num_buckets": 20, "encoder_max_distance": 800}
CASES: dict[str, Callable[[], torch.nn.Module]] = {
    "wavlm": lambda: peers.wavlm_model(**SMALL | BASE | WAVLM),
    "wavlm-large": lambda: peers.wavlm_model(**SMALL | LARGE | WAVLM | {"encoder_num_heads": 4}),
    "hubert": lambda: peers.wav2vec2_model(**SMALL | BASE),
    "wav2vec2-large": lambda: peers.wav2vec2_model(**SMALL | LARGE),
    "recogniser": lambda: peers.wav2vec2_model(**SMALL | BASE | {"aux_num_out": 29}),
}


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SelfSupervised, torch.nn.Module]:
    """Ours, read from the file that torchaudio's left, and torchaudio's as its pipelines wrap it."""
    torch.manual_seed(len(request.param))
    peer = CASES[request.param]().eval()
    for name, parameter in peer.named_parameters():  # drawn ones are small, and the layers would differ little
        if parameter.ndim > 1 and "pos_conv" not in name:
            torch.nn.init.normal_(parameter, std=2 / parameter[0].numel() ** 0.5)
    torch.save(peer.state_dict(), tmp_path / "weights.pth")
    ours, theirs = load_torchaudio(tmp_path / "weights.pth"), _extend_model(peer, "large" in request.param)
    return ours.double(), theirs.double()


@torch.no_grad()
def test_layers_and_embedding(pair: tuple[SelfSupervised, torch.nn.Module], tmp_path: Path) -> None:
    model, peer = pair
    features, lengths = 0.3 * torch.randn(3, 60, 160, dtype=torch.float64), torch.tensor([60, 41, 60])
    output = model(features, lengths)
    for row in range(3):
        waveform = samples_of(features[row : row + 1, : lengths[row]])
        layers, _ = peer.extract_features(waveform)
        assert len(output.stages) == len(layers) == 3
        for stage, layer in zip(output.stages, layers, strict=True):
            torch.testing.assert_close(stage[row, :, : layer.shape[1]].T, layer[0], rtol=1e-8, atol=1e-8)
            assert not stage[row, :, layer.shape[1] :].any()
        mean = torch.stack(layers).mean(0)[0]
        expected = torch.cat([mean.mean(0), mean.std(0, correction=0)])
        torch.testing.assert_close(output.embedding[row], expected, rtol=1e-5, atol=1e-5)
        assert expected.std() > 0.1
    save_model(model, tmp_path / "ours")
    again = load_model(tmp_path / "ours").double()
    assert torch.equal(again(features, lengths).embedding, output.embedding)


def test_integrated_gradients_of_a_waveform(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(CASES["wavlm"]().state_dict(), tmp_path / "x.pth")
    model = load_torchaudio(tmp_path / "x.pth")
    model.head = CosineHead(model.embedding_dim, ["a", "b"])
    config = IntegrationConfig(nodes=16, max_nodes=128, tolerance=0.05, max_failing=1.0, resolution="frame")
    engine = IntegratedGradients(model, config, baseline=usual_baseline(model.frontend))
    (found,) = engine.explain([Utterance("u", 0.2 * torch.randn(50, 160), "a")])
    assert found.map.shape == (50,) and found.error < 0.05


def test_its_embeddings_are_standardised(tmp_path: Path) -> None:
    torch.save(CASES["hubert"]().state_dict(), tmp_path / "x.pth")
    model = load_torchaudio(tmp_path / "x.pth")
    features = torch.randn(20, 30, 160) * torch.rand(20, 1, 1)
    lengths = torch.full((20,), 30)
    standardised = model.fit_scale(model(features, lengths).embedding)
    torch.testing.assert_close(model(features, lengths).embedding, standardised, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(standardised.mean(0), torch.zeros(128), atol=1e-4, rtol=0)
    torch.testing.assert_close(standardised.std(0, correction=0), torch.ones(128), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["wavlm_base", "wavlm_large", "hubert_base", "hubert_xlarge", "wav2vec2_large",
                                  "wav2vec2_large_lv60k", "wav2vec2_xlsr_2b"])  # fmt: skip
def test_published_sizes_are_read_from_their_tensors(name: str) -> None:
    """Names and shapes alone, without memory; the heads of those that do not show them are torchaudio's too."""
    with torch.device("meta"):
        peer = getattr(peers, name)()
        ours = SelfSupervised(config_of(peer.state_dict(), Path(name))).network
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (peer, ours)]
    assert shapes[0] == shapes[1]
    heads = [network.encoder.transformer.layers[0].attention.num_heads for network in (peer, ours)]
    assert heads[0] == heads[1]
    assert peer.encoder.transformer.layer_norm_first is ours.encoder.transformer.layer_norm_first


def test_weights_of_something_else(tmp_path: Path) -> None:
    state = CASES["hubert"]().state_dict()
    torch.save({name: value for name, value in state.items() if "layers.2.final" not in name}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="x.pth: not the weights of torchaudio's WavLM.*lacks .*2.final_layer_norm"):
        load_torchaudio(tmp_path / "x.pth")
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="lacks feature_extractor.conv_layers.0.conv.weight"):
        load_torchaudio(tmp_path / "x.pth")


def test_names_of_an_older_torch(tmp_path: Path) -> None:
    peer = CASES["hubert"]().eval()
    state = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in peer.state_dict().items()
    }
    torch.save(state, tmp_path / "x.pth")
    features = torch.randn(1, 30, 160)
    with torch.no_grad():
        found = load_torchaudio(tmp_path / "x.pth")(features, torch.tensor([30])).stages[-1]
        torch.testing.assert_close(found.transpose(1, 2), peer.extract_features(features.flatten(1))[0][-1])
