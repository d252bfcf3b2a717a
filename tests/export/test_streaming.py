"""imlkd/export/streaming.py: audio in pieces gives the embedding of the whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.export.streaming import EmbeddingStream, constant_memory
from imlkd.features.fbank import FbankConfig
from imlkd.features.teacher_fbanks import SpeechbrainMelConfig
from imlkd.models.ecapa import EcapaConfig
from imlkd.models.networks import build_network
from imlkd.models.resnet import ResnetConfig
from imlkd.models.tdnn import TdnnConfig
from imlkd.models.xvector import XvectorConfig


def built(config, fbank=None):
    torch.manual_seed(0)
    model = build_network(config, fbank or FbankConfig(num_mel_bins=24)).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return model


MODELS = {
    "tdnn, sums": built(TdnnConfig(width=8, normalize="none")),
    "tdnn of two blocks, sums": built(TdnnConfig(width=8, blocks=2, normalize="none")),
    "x-vector, sums": built(XvectorConfig(width=8, wide=12, normalize="none")),
    "tdnn, level": built(TdnnConfig(width=8)),
    "x-vector without padding": built(XvectorConfig(width=8, wide=12, normalize="none", padding="none")),
    "resnet, mean": built(ResnetConfig(width=2, depth=10, normalize="mean")),
    "ecapa of SpeechBrain": built(EcapaConfig(channels=8), SpeechbrainMelConfig(num_mel_bins=24)),
}
each_model = pytest.mark.parametrize("name", MODELS)


@each_model
@settings(max_examples=8, deadline=None)
@given(
    samples=st.integers(2500, 30000), cuts=st.lists(st.integers(0, 30000), max_size=12), seed=st.integers(0, 99)
)
def test_pieces_give_the_embedding_of_the_whole(name: str, samples: int, cuts: list[int], seed: int) -> None:
    model, waveform = MODELS[name], 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    stream, places = EmbeddingStream(model), sorted({0, samples, *(min(cut, samples) for cut in cuts)})
    for first, last in zip(places, places[1:], strict=False):
        stream.accept(waveform[first:last])
    assert (stream.embedding() - model.embed(waveform)).abs().max() < 1e-5


@each_model
def test_asking_on_the_way_changes_nothing(name: str) -> None:
    model, waveform = MODELS[name], 0.1 * torch.randn(24000, generator=torch.Generator().manual_seed(5))
    stream = EmbeddingStream(model)
    for piece in waveform.split(4000):
        stream.accept(piece)
        assert (stream.embedding() - model.embed(waveform[: stream.samples])).abs().max() < 1e-5


def test_which_students_keep_sums() -> None:
    assert [constant_memory(model) for model in MODELS.values()] == [True, True, True, False, False, False, False]


def test_sums_do_not_grow() -> None:
    stream, sizes = EmbeddingStream(MODELS["tdnn, sums"]), []
    for _ in range(12):
        stream.accept(torch.zeros(16000))
        assert stream._sums is not None
        sizes.append(len(stream._sums._features))
    assert not stream._kept and max(sizes) < 150


def test_too_little_audio_is_one_clear_error() -> None:
    stream = EmbeddingStream(MODELS["tdnn, level"])
    stream.accept(torch.zeros(300))
    with pytest.raises(UserError, match="audio of 300 samples: the model needs 2000 or more"):
        stream.embedding()
    with pytest.raises(UserError, match="expected one channel"):
        stream.accept(torch.zeros(2, 300))
