"""features.onnx in wespeaker's own Python runtime, ``wespeakerruntime`` of PyPI."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from imlkd.export.stage import FEATURES, ExportOptions, export_model
from imlkd.features.teacher_fbanks import SnippedFbankConfig
from imlkd.models.resnet import ResnetConfig
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import save_model
from imlkd.models.xvector import XvectorConfig
from tests.conftest import toy_voice
from tests.export.conftest import Student, drawn
from tests.models.originals import PYTHON, has

SCRIPT = Path(__file__).with_name("wespeaker_oracle.py")
pytestmark = pytest.mark.skipif(
    not has("wespeakerruntime"), reason="no .venv-oracle with wespeakerruntime: run bash tests/setup_oracle.sh"
)


def asked(graph: Path, features: np.ndarray, folder: Path) -> tuple[Mapping[str, np.ndarray], torch.Tensor]:
    """What the runtime says of ``a.wav`` and of ``features``; and the samples of ``a.wav``."""
    wav, arrays, out = folder / "a.wav", folder / "features.npy", folder / "out.npz"
    soundfile.write(wav, toy_voice(0, 2.0, 0), 16000, subtype="PCM_16")
    np.save(arrays, features)
    subprocess.run([PYTHON, "-W", "ignore", SCRIPT, graph, wav, arrays, out], check=True, timeout=120)
    with np.load(out) as found:
        return dict(found), torch.from_numpy(soundfile.read(wav, dtype="float32")[0])


def test_a_student_on_the_default_front_end(student: Student, tmp_path: Path) -> None:
    """Loaded, and right when it is given the student's features; by the runtime's own front-end it is another's."""
    model = student.load()
    waveforms = 0.1 * torch.randn(2, 20000, generator=torch.Generator().manual_seed(0))
    features = torch.stack([model.frontend(one) for one in waveforms]).numpy()
    found, heard = asked(student.out / FEATURES, features, tmp_path)
    for own, waveform in zip(found["features"], waveforms, strict=True):
        assert np.abs(own - model.embed(waveform).numpy()).max() < 1e-5
    assert np.abs(found["wav"][0] - model.embed(heard).numpy()).max() > 1e-2


@pytest.mark.parametrize("config", [
    XvectorConfig(width=8, wide=12, embedding_dim=16, padding="none", normalize="mean"),
    ResnetConfig(width=4, depth=10, embedding_dim=16, normalize="mean"),
], ids=["x-vector", "resnet"])  # fmt: skip
def test_a_model_on_wespeakers_front_end(config: object, tmp_path: Path) -> None:
    """From the recording on."""
    model: SpeakerModel = drawn(config, SnippedFbankConfig())
    save_model(model, tmp_path)
    export_model(tmp_path, tmp_path / "export", ExportOptions(("features",)))
    found, heard = asked(tmp_path / "export" / FEATURES, np.zeros((1, 200, 80), np.float32), tmp_path)
    assert found["wav"].shape == (1, 16)
    assert np.abs(found["wav"][0] - model.embed(heard).numpy()).max() < 1e-4
