"""Every network and every front-end as a graph (slow: the exporter takes seconds for each)."""

import numpy as np
import pytest
import torch

from imlkd.export.embedder import FeaturesEmbedder, WaveformEmbedder
from imlkd.export.graph import to_onnx, write_onnx
from imlkd.export.measure import embed
from imlkd.features.fbank import FbankConfig
from imlkd.features.teacher_fbanks import SnippedFbankConfig, SpeechbrainMelConfig
from imlkd.models.campplus import CampPlusConfig
from imlkd.models.ecapa import EcapaConfig
from imlkd.models.ge2e import Ge2e
from imlkd.models.networks import build_network
from imlkd.models.nexttdnn import NextTdnnConfig
from imlkd.models.redimnet import RedimnetConfig
from imlkd.models.resnet import ResnetConfig
from imlkd.models.tdnn import TdnnConfig
from imlkd.models.xvector import XvectorConfig
from imlkd.onnx_session import open_session

SNIPPED = SnippedFbankConfig(num_mel_bins=40)
NETWORKS = {
    "tdnn": lambda: build_network(TdnnConfig(width=8), FbankConfig(sample_rate=8000, high_freq=3600.0)),
    "ecapa": lambda: build_network(EcapaConfig(channels=8), FbankConfig()),
    "ecapa of SpeechBrain": lambda: build_network(
        EcapaConfig(channels=8, padding="reflect", normalize="mean"), SpeechbrainMelConfig()
    ),
    "x-vector of wespeaker": lambda: build_network(XvectorConfig(width=8, wide=12, padding="none"), SNIPPED),
    "resnet": lambda: build_network(ResnetConfig(width=2, depth=10, normalize="mean"), SNIPPED),
    "campplus": lambda: build_network(CampPlusConfig(front=4, width=8, growth=4, layers=[2, 2, 2]), SNIPPED),
    "redimnet": lambda: build_network(RedimnetConfig(channels=2), FbankConfig(num_mel_bins=24)),
    "nexttdnn": lambda: build_network(NextTdnnConfig(channels=16, blocks=1), FbankConfig()),
    "ge2e": lambda: Ge2e(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_parity(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval().requires_grad_(False)
    rows = WaveformEmbedder(model).eval()
    proto = to_onnx(rows, 0.1 * torch.randn(2, 16000), ("waveform", "embedding"), {0: "batch", 1: "samples"})
    write_onnx(proto, tmp_path / "model.onnx", {})
    session = open_session(tmp_path / "model.onnx")
    for samples in (rows.min_samples, rows.min_samples + 1, 5003, 16000, 40321):
        waveform = 0.1 * torch.randn(samples)
        assert np.abs(embed(session, waveform.numpy()) - model.embed(waveform).numpy()).max() < 1e-4


@pytest.mark.slow
def test_features_of_snipped_frames_as_wespeakers_runtime_gives_them(tmp_path) -> None:
    """Kaldi's frames with snipped edges, the mean of each band taken away before the network does so itself."""
    from torchaudio.compliance import kaldi

    model = NETWORKS["resnet"]().eval().requires_grad_(False)
    rows = FeaturesEmbedder(model, model.frontend.edge).eval()
    proto = to_onnx(rows, torch.randn(2, 200, 40), ("feats", "embs"), {0: "batch", 1: "frames"})
    write_onnx(proto, tmp_path / "f.onnx", {})
    waveform = 0.1 * torch.randn(30000)
    feats = kaldi.fbank(waveform[None] * 32768, num_mel_bins=40, window_type="hamming", sample_frequency=16000)
    feats = feats - feats.mean(0)
    found = open_session(tmp_path / "f.onnx").run(None, {"feats": feats[None].numpy()})[0][0]
    assert np.abs(found - model.embed(waveform).numpy()).max() < 1e-4
