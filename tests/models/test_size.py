"""Parameters and multiply-accumulates, by formulas written out by hand."""

import pytest

from imlkd.features.fbank import FbankConfig
from imlkd.models.ge2e import Ge2e
from imlkd.models.size import count_macs, count_parameters
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig


@pytest.mark.parametrize(
    ("width", "blocks", "dim", "bins", "seconds"), [(48, 3, 192, 80, 2.0), (24, 1, 16, 40, 2.0), (7, 2, 5, 23, 1.23)]
)
def test_tdnn(width: int, blocks: int, dim: int, bins: int, seconds: float) -> None:
    model = Tdnn(TdnnConfig(width=width, blocks=blocks, embedding_dim=dim), FbankConfig(num_mel_bins=bins)).eval()
    convolutions = [(bins, width, 5), *[(width, width, 3)] * blocks, (width, 2 * width, 1)]
    norms = 2 * (width * (1 + blocks) + 2 * width + 4 * width + dim)
    linear = 4 * width * dim
    assert count_parameters(model) == sum(i * o * k for i, o, k in convolutions) + norms + linear + dim
    halved = (round(100 * seconds) + 1) // 2  # frames after the stride of the first layer
    assert count_macs(model, seconds) == sum(i * o * k for i, o, k in convolutions) * halved + linear


def test_the_head_does_not_count() -> None:
    model = Tdnn(TdnnConfig(width=8), FbankConfig()).eval()
    before = count_parameters(model), count_macs(model)
    model.head = CosineHead(192, [f"s{i}" for i in range(1000)])
    assert (count_parameters(model), count_macs(model)) == before


def test_ge2e() -> None:
    """Three LSTM layers of 256 on 40 bands: 4 gates of (inputs + 256) weights and two biases; one linear layer.

    2 s of speech are two windows of 160 frames.
    """
    model = Ge2e().eval()
    gates = [4 * 256 * (inputs + 256) for inputs in (40, 256, 256)]
    assert count_parameters(model) == sum(gates) + 3 * 2 * 4 * 256 + 256 * 256 + 256
    assert count_macs(model) == 2 * (160 * sum(gates) + 256 * 256)
    assert count_macs(model, 1.6) == 160 * sum(gates) + 256 * 256
