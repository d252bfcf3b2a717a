"""Averaged teachers: cosines, Gram matrices and posteriors are the members' means, to the last digit."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.features.teacher_fbanks import SpeechbrainMelConfig
from imlkd.models.ensemble import Ensemble, joined_head, joined_unit
from imlkd.models.ge2e import Ge2e
from imlkd.models.networks import build_network
from imlkd.models.onnx_network import load_onnx
from imlkd.models.size import count_parameters
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.store import load_model, save_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.models.xvector_table import XvectorTable
from tests.models.onnx_files import of_samples

SPEAKERS = ["a", "b", "c", "d"]


def members(folder: Path, opaque: bool = False) -> list[SpeakerModel]:
    """Of three front-ends: two give a frame more than the other, one pads to 1.6 s."""
    torch.manual_seed(0)
    own = build_network(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=24))
    other = build_network(TdnnConfig(width=8, blocks=1, embedding_dim=7), SpeechbrainMelConfig(num_mel_bins=40))
    third = load_onnx(of_samples(folder / "x.onnx")) if opaque else Ge2e()
    found: list[SpeakerModel] = [own, other, third]
    for member in found:
        member.eval().requires_grad_(False)
        member.head = CosineHead(member.embedding_dim, SPEAKERS)
    return found


@pytest.mark.parametrize("seconds", [0.8, 2.3])
@pytest.mark.parametrize("opaque", [False, True])
@torch.no_grad()
def test_means(tmp_path: Path, opaque: bool, seconds: float) -> None:
    each = members(tmp_path, opaque)
    ensemble = Ensemble(each)
    ensemble.head = joined_head([member.head for member in each if member.head is not None])
    assert ensemble.is_opaque is opaque
    waveforms = [0.1 * torch.randn(round(16000 * seconds)) for _ in range(5)]
    features = torch.stack([ensemble.frontend(one) for one in waveforms])
    output = ensemble(features, torch.full((5,), features.shape[1]))
    assert output.cosines is not None
    cosines, grams = [], []
    for member in each:
        heard = torch.stack([member.frontend(one) for one in waveforms])
        own = member(heard, torch.full((5,), heard.shape[1]))
        unit = functional.normalize(own.embedding.double())
        cosines.append(own.cosines.double())
        grams.append(unit @ unit.T)
    gram = output.embedding.double() @ output.embedding.double().T
    torch.testing.assert_close(gram, torch.stack(grams).mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.cosines.double(), torch.stack(cosines).mean(0), rtol=1e-5, atol=1e-5)
    for temperature in (1.0, 3.0):  # by the definition of a normalised geometric mean
        posteriors = [torch.softmax(30 * one / temperature, 1) for one in cosines]
        product = torch.stack(posteriors).log().mean(0).exp()
        found = torch.softmax(30 * output.cosines.double() / temperature, 1)
        torch.testing.assert_close(found, product / product.sum(1, keepdim=True), rtol=1e-3, atol=1e-5)


def test_on_our_disk_and_back(tmp_path: Path) -> None:
    each = members(tmp_path, opaque=True)
    ensemble = Ensemble(each)
    ensemble.head = joined_head([member.head for member in each if member.head is not None])
    waveform = 0.1 * torch.randn(20000)
    embedding = ensemble.embed(waveform)
    for member in each:
        member.head = None
    save_model(ensemble, tmp_path / "ours")
    again = load_model(tmp_path / "ours")
    assert isinstance(again, Ensemble) and again.head is not None and again.head.speakers == SPEAKERS
    assert torch.equal(again.embed(waveform), embedding)
    assert math.isclose(float(embedding.norm()), 1.0, rel_tol=1e-5)
    assert count_parameters(again) == sum(map(count_parameters, each))


def test_a_gradient_reaches_each_members_features_and_not_their_counts(tmp_path: Path) -> None:
    ensemble = Ensemble(members(tmp_path))
    features = ensemble.frontend(torch.randn(16000))[None].requires_grad_()
    ensemble.encode(features, torch.tensor([features.shape[1]])).embedding[:, ::3].sum().backward()
    assert features.grad is not None
    reached = features.grad.abs().sum((0, 1))
    assert (reached[:24] > 0).all() and (reached[24:64] > 0).all() and (reached[64:104] > 0).any()
    assert not reached[104:].any()


def test_what_does_not_go_together(tmp_path: Path) -> None:
    slow = build_network(TdnnConfig(), FbankConfig(sample_rate=8000, high_freq=3700.0))
    with pytest.raises(UserError, match="teachers of 8000 and 16000 Hz do not go together"):
        Ensemble([slow, *members(tmp_path)])
    with pytest.raises(UserError, match="a table of embeddings hears nothing"):
        Ensemble([XvectorTable({}, 3), *members(tmp_path)])


def test_units_by_hand() -> None:
    joined = joined_unit([torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0, 2.0]])])
    half: Tensor = torch.tensor([[0.6, 0.8, 0.0, 0.0, 1.0]]) / math.sqrt(2)
    torch.testing.assert_close(joined, half)
