"""ECAPA-TDNN against SpeechBrain's own network with the same random weights."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from imlkd.features.fbank import FbankConfig
from imlkd.models.ecapa import Ecapa, EcapaConfig
from imlkd.models.layers import reflected
from imlkd.models.size import count_parameters
from imlkd.models.speechbrain import ecapa_of

ROOT = Path(__file__).parents[2]
ORACLE_PYTHON = ROOT / ".venv-oracle/bin/python"
ORACLE_SCRIPT = Path(__file__).with_name("speechbrain_models.py")
HAS_SPEECHBRAIN = (ROOT / ".venv-oracle/made_of").is_file() and bool(
    list((ROOT / ".venv-oracle").glob("lib/python*/site-packages/speechbrain"))
)
needs_speechbrain = pytest.mark.skipif(
    not HAS_SPEECHBRAIN, reason="no .venv-oracle with SpeechBrain: run bash tests/setup_oracle.sh"
)


def speechbrain(network: str, settings: dict[str, Any], features: torch.Tensor, folder: Path) -> torch.Tensor:
    """Embeddings by SpeechBrain; its weights are left in ``folder/weights.ckpt``."""
    (folder / "settings.json").write_text(json.dumps(settings))
    torch.save(features, folder / "features.pt")
    command = [ORACLE_PYTHON, "-W", "ignore", ORACLE_SCRIPT, network, folder / "settings.json", folder]
    subprocess.run(command, check=True, timeout=120)
    answer: torch.Tensor = torch.load(folder / "embeddings.pt")
    return answer


@needs_speechbrain
@pytest.mark.parametrize(
    ("bins", "channels", "aggregated", "dim", "scale"), [(80, 128, 384, 192, 8), (23, 48, 64, 10, 4)]
)
def test_against_speechbrain(bins: int, channels: int, aggregated: int, dim: int, scale: int, tmp_path: Path) -> None:
    features = 3 * torch.randn(4, 150, bins, generator=torch.Generator().manual_seed(5))
    settings = {
        "input_size": bins, "channels": [channels] * 4 + [aggregated], "lin_neurons": dim, "res2net_scale": scale,
        "se_channels": 16, "attention_channels": 24,
    }  # fmt: skip
    theirs = speechbrain("ecapa", settings, features, tmp_path)
    config, state = ecapa_of(torch.load(tmp_path / "weights.ckpt", weights_only=True))
    model = Ecapa(config, FbankConfig(num_mel_bins=bins)).eval()
    model.load_state_dict(state, strict=False)
    assert set(model.state_dict()) - set(state) == {"normalization.bin_mean"}
    assert count_parameters(model) == int((tmp_path / "parameters").read_text())
    model.normalization.kind = "none"
    mine = model(features, torch.full((4,), 150)).embedding
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    assert theirs.std(0).mean() > 1e-2  # the rows differ: the comparison could fail


def test_default_width_is_three_times_the_channels_after_aggregation() -> None:
    model = Ecapa(EcapaConfig(channels=16), FbankConfig(num_mel_bins=8))
    assert model.aggregation.convolution.weight.shape == (48, 48, 1)
    assert Ecapa(EcapaConfig(channels=16, aggregated=10), FbankConfig()).aggregation.convolution.out_channels == 10


def test_mirrored_frames_by_hand() -> None:
    """Rows 1 2 3 4 and 5 6 (two frames of padding), two frames on either side."""
    frames = torch.tensor([[[1.0, 2, 3, 4]], [[5, 6, 99, 99]]])
    found = reflected(frames, torch.tensor([4, 2]), 2)
    assert found[0, 0].tolist() == [3, 2, 1, 2, 3, 4, 3, 2]
    assert found[1, 0, :6].tolist() == [5, 6, 5, 6, 5, 6]
    assert reflected(frames[:, :, :1], torch.tensor([1, 1]), 2)[0, 0].tolist() == [1] * 5
