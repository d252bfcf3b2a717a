"""Every network that can be trained: no leak of padding, stages, published sizes, files, and that it learns."""

import functools
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.distillation.margin import aam_loss
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.campplus import CampPlusConfig
from imlkd.models.ecapa import EcapaConfig
from imlkd.models.eres2net import Eres2netConfig
from imlkd.models.fbank_model import FbankModel
from imlkd.models.networks import CONFIGS, NETWORKS, build_network, name_of
from imlkd.models.nexttdnn import NextTdnnConfig
from imlkd.models.redimnet import RedimnetConfig
from imlkd.models.resnet import ResnetConfig
from imlkd.models.size import count_macs, count_parameters
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import load_model, save_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.models.xvector import XvectorConfig

SMALL: dict[str, Any] = {
    "tdnn": TdnnConfig(width=8, embedding_dim=6),
    "ecapa": EcapaConfig(channels=16, scale=4, squeeze=4, attention=6, embedding_dim=6),
    "ecapa-reflect": EcapaConfig(channels=16, scale=4, squeeze=4, attention=6, embedding_dim=6, padding="reflect"),
    "xvector": XvectorConfig(width=8, wide=12, embedding_dim=6, segment_layers=2),
    "xvector-none": XvectorConfig(width=8, wide=12, embedding_dim=6, padding="none", slope=0.1),
    "resnet": ResnetConfig(width=4, depth=10, embedding_dim=6),
    "campplus": CampPlusConfig(front=4, width=8, growth=4, bottleneck=2, layers=[2, 1, 2], embedding_dim=6),
    "redimnet": RedimnetConfig(channels=4, attention=5, embedding_dim=6),
    "eres2net": Eres2netConfig(width=4, blocks=[1, 1, 2, 1], embedding_dim=6),
    "nexttdnn": NextTdnnConfig(channels=16, blocks=1, kernels=[3, 9], embedding_dim=6),
    "nexttdnn-light": NextTdnnConfig(channels=16, blocks=1, kernels=[9], embedding_dim=6),
}
FBANK = FbankConfig(num_mel_bins=12)
STRIDES = {
    "tdnn": [2] * 4, "ecapa": [1] * 5, "xvector": [1] * 5, "resnet": [1, 2, 4, 8], "campplus": [1, 2, 2, 2, 2],
    "redimnet": [1] * 6, "nexttdnn": [1] * 5, "eres2net": [1, 2, 4, 8],
}  # fmt: skip
each = pytest.mark.parametrize("name", SMALL)


@functools.cache
def trained_like(name: str) -> FbankModel:
    """In evaluation mode, its batch statistics, biases and bin means not the initial ones."""
    torch.manual_seed(0)
    model = build_network(SMALL[name], FBANK)
    model.head = CosineHead(6, ["a", "b", "c"])
    model.normalization.bin_mean.copy_(torch.linspace(-2, 5, FBANK.num_mel_bins))
    model.train()
    for _ in range(3):
        model(5 + 3 * torch.randn(8, 40, FBANK.num_mel_bins), torch.full((8,), 40))
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def test_every_network_is_tested() -> None:
    assert {name.split("-")[0] for name in SMALL} == set(NETWORKS) == set(CONFIGS) == set(STRIDES)
    assert all(name_of(config) == name.split("-")[0] for name, config in SMALL.items())


@each
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(lengths=st.lists(st.integers(1, 130), min_size=1, max_size=3), more=st.integers(0, 9), seed=st.integers(0, 99))
def test_padding_does_not_leak(name: str, lengths: list[int], more: int, seed: int) -> None:
    """Each row of a batch equals the row alone, whatever stands behind its end."""
    model = trained_like(name)
    if name == "xvector-none":
        lengths = [length + 14 for length in lengths]
    generator = torch.Generator().manual_seed(seed)
    batch = 100 * torch.randn(len(lengths), max(lengths) + more, FBANK.num_mel_bins, generator=generator)
    batch[:, :, 0] += 50
    together = model(batch, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = model(batch[row : row + 1, :length], torch.tensor([length]))
        for kind in ("pooled", "embedding", "cosines"):
            close(getattr(together, kind)[row], getattr(alone, kind)[0])
        for mine, theirs in zip(together.stages, alone.stages, strict=True):
            frames = theirs.shape[2]
            close(mine[row, :, :frames], theirs[0])
            assert not mine[row, :, frames:].any()


def close(mine: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal to a thousandth of the largest value: sums over a padded batch are taken in another order."""
    assert torch.isfinite(mine).all()
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("name", [name for name in SMALL if name != "xvector-none"])
@pytest.mark.parametrize("frames", [1, 33, 200])
def test_stages_have_the_frames_that_the_strides_leave(name: str, frames: int) -> None:
    output = trained_like(name)(torch.randn(2, frames, FBANK.num_mel_bins), torch.tensor([frames, frames]))
    found = [stage.shape[2] for stage in output.stages]
    assert found == [-(-frames // stride) for stride in STRIDES[name.split("-")[0]]]
    assert all(stage.ndim == 3 for stage in output.stages)
    assert output.embedding.shape == (2, 6) and output.cosines.shape == (2, 3)


def test_without_padding_the_first_and_last_frames_are_lost_and_short_audio_is_refused() -> None:
    model = trained_like("xvector-none")
    output = model(torch.randn(1, 50, FBANK.num_mel_bins), torch.tensor([50]))
    assert [stage.shape[2] for stage in output.stages] == [46, 42, 36, 36, 36]
    with pytest.raises(UserError, match="14 frames of speech: this x-vector network needs 15 or more"):
        model(torch.randn(1, 50, FBANK.num_mel_bins), torch.tensor([14]))


@each
def test_a_file_gives_the_same_network_back(name: str, tmp_path: Path) -> None:
    model = trained_like(name)
    save_model(model, tmp_path)
    found = load_model(tmp_path)
    assert type(found) is type(model) and found.config == SMALL[name]  # type: ignore[attr-defined]
    features, lengths = torch.randn(2, 60, FBANK.num_mel_bins), torch.tensor([60, 31])
    assert torch.equal(found(features, lengths).embedding, model(features, lengths).embedding)


@each
def test_the_seed_gives_the_weights(name: str) -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        parameters = build_network(SMALL[name], FBANK).parameters()
        return torch.cat([parameter.detach().flatten() for parameter in parameters])

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


@each
def test_the_loss_of_a_fixed_batch_falls_in_30_steps(name: str) -> None:
    """By half and more, every parameter taking part, in deterministic algorithms, in 5 s."""
    started = time.process_time()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        losses, untouched = thirty_steps(name)
    finally:
        torch.use_deterministic_algorithms(before)
    assert losses[-1] < 0.5 * losses[0], losses
    assert not untouched
    assert time.process_time() - started < 5


def thirty_steps(name: str) -> tuple[list[float], list[str]]:
    """AAM on 9 utterances of 3 speakers, each with a frame of his own; the losses, and what got no gradient."""
    torch.manual_seed(3)
    model = build_network(SMALL[name], FBANK).train()
    model.head = CosineHead(6, ["a", "b", "c"])
    labels = torch.arange(9) % 3
    voices = torch.randn(3, 1, FBANK.num_mel_bins)
    features = voices[labels] * torch.randn(9, 40, 1).cumsum(1) / 4 + 0.3 * torch.randn(9, 40, FBANK.num_mel_bins)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        cosines = model(features, torch.full((9,), 40)).cosines
        assert cosines is not None
        loss = aam_loss(cosines, labels, 0.2, 30.0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses, [key for key, value in model.named_parameters() if value.requires_grad and value.grad is None]


@each
def test_second_derivatives_exist(name: str) -> None:
    """A loss on the student's own relevance differentiates twice."""
    model = trained_like(name)
    features = torch.randn(2, 40, FBANK.num_mel_bins, requires_grad=True)
    cosine = model(features, torch.tensor([40, 40])).cosines[:, 0].sum()
    (first,) = torch.autograd.grad(cosine, features, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), features)
    assert torch.isfinite(second).all() and second.abs().sum() > 0


@pytest.mark.parametrize(
    ("config", "bins", "message"),
    [
        (EcapaConfig(channels=20), 80, "network.channels: 20 is no multiple of network.scale, 8"),
        (CampPlusConfig(layers=[1, 2]), 80, "network.layers: 2 blocks: give 3 numbers of layers"),
        (NextTdnnConfig(kernels=[4]), 80, r"network.kernels: \[4\]: give odd numbers of frames"),
        (NextTdnnConfig(channels=24), 80, "network.channels: 24 is no multiple of 16"),
        (RedimnetConfig(), 42, "fbank.num_mel_bins: 42 is no multiple of 4"),
    ],
)
def test_values_that_do_not_go_together(config: Any, bins: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_network(config, FbankConfig(num_mel_bins=bins))


CAMPPLUS_HALF = CampPlusConfig(front=16, width=64, growth=16, embedding_dim=192)
WIDE_ECAPA = EcapaConfig(channels=1024, aggregated=1536)
XVECTOR = XvectorConfig(width=512, wide=1500, segment_layers=2, embedding_dim=512, padding="none")


def ecapa(channels: int) -> EcapaConfig:
    return EcapaConfig(channels=channels)


def resnet(depth: int, width: int) -> ResnetConfig:
    return ResnetConfig(width=width, depth=depth)


# Settings, mel bands, and what is published: millions of parameters, billions of multiply-accumulates for 2 s. Not
# here: those of CAM++, which count batch norms (below), and of ReDimNet-B0, 0.43, where ours has 0.62 at 10 ms a frame,
# and ERes2Net's 7.88 and 3.43, where ours has 9.89 and 3.36, as the code of its authors and of wespeaker has.
PUBLISHED = [
    (XVECTOR, 80, "4.61", "0.53"),
    (ecapa(512), 80, "6.19", "1.04"),
    (WIDE_ECAPA, 80, "14.65", "2.65"),
    (resnet(34, 32), 80, "6.63", "4.55"),
    (CampPlusConfig(), 80, "7.18", ""),
    (NextTdnnConfig(kernels=[65]), 80, "1.6", "*0.29"),
    (NextTdnnConfig(), 80, "1.9", "*0.35"),
    (RedimnetConfig(), 60, "1.0", ""),
    (ecapa(64), 80, "0.317", "0.038"),
    (ecapa(128), 80, "0.764", "0.102"),
    (ecapa(192), 80, "1.341", "0.193"),
    (ecapa(256), 80, "2.050", "0.309"),
    (ecapa(384), 80, "3.860", "0.621"),
    (ecapa(512), 80, "6.194", "1.037"),
    (resnet(34, 8), 80, "0.66", "0.28"),
    (resnet(34, 16), 80, "1.99", "1.13"),
    (resnet(34, 24), 80, "3.98", "2.55"),
    (resnet(18, 8), 80, "0.50", "0.14"),
    (resnet(18, 16), 80, "1.36", "0.54"),
    (resnet(18, 24), 80, "2.56", "1.22"),
    (resnet(18, 32), 80, "4.11", "2.17"),
    (resnet(10, 8), 80, "0.41", "0.06"),
    (resnet(10, 16), 80, "0.96", "0.25"),
    (resnet(10, 32), 80, "2.54", "0.99"),
    (XvectorConfig(width=128, wide=384, embedding_dim=192), 80, "0.37", "0.04"),
    (XvectorConfig(width=256, wide=768, embedding_dim=256), 80, "1.16", "0.15"),
    (XvectorConfig(width=512, wide=1500, embedding_dim=512), 80, "4.35", "0.56"),
]


@pytest.mark.parametrize(("config", "bins", "millions", "billions"), PUBLISHED)
def test_parameters_and_macs_are_the_published_ones(config: Any, bins: int, millions: str, billions: str) -> None:
    """Within 1 % where three digits are given, else within the rounding; within 3 % where the source estimated (*)."""
    model = build_network(config, FbankConfig(num_mel_bins=bins)).eval()
    assert_published(count_parameters(model) / 1e6, millions)
    if billions:
        assert_published(count_macs(model) / 1e9, billions)


def assert_published(found: float, said: str) -> None:
    if said.startswith("*"):
        assert abs(found / float(said[1:]) - 1) <= 0.03, f"{found:.4f} where {said} is published"
        return
    digits = len(said.replace(".", "").lstrip("0"))
    half = 0.5 * 10.0 ** -len(said.partition(".")[2])
    allowed = max(half, 0.01 * float(said)) if digits >= 3 else half
    assert abs(found - float(said)) <= allowed * (1 + 1e-9), f"{found:.4f} where {said} is published"


@torch.no_grad()
def test_multiply_accumulates_of_campplus() -> None:
    """1.15 G are published, counted with two for each value that a batch norm scales and shifts."""
    model = build_network(CampPlusConfig(), FbankConfig()).eval()
    scaled = 0

    def count(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal scaled
        scaled += output.numel()

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.register_forward_hook(count)
    macs = count_macs(model)
    assert macs / 1e9 < 1.13
    assert_published((macs + 2 * scaled) / 1e9, "1.15")


STUDENTS = [ecapa(128), resnet(18, 16), CAMPPLUS_HALF, XvectorConfig(), RedimnetConfig(channels=8), NextTdnnConfig()]


@pytest.mark.parametrize("config", STUDENTS, ids=name_of)
def test_each_network_has_a_student_of_its_class(config: Any) -> None:
    """0.3 to 3 million parameters on 80 bands."""
    assert 0.3e6 <= count_parameters(build_network(config, FbankConfig())) <= 3e6
