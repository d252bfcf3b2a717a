"""Networks in ONNX files: what they hear is read from the file, their answers are those of the same arithmetic."""

import math
import shutil
from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import pytest
import torch

from imlkd.errors import UserError
from imlkd.models.onnx_network import Heard, load_onnx
from imlkd.models.size import count_macs, count_parameters
from imlkd.models.store import load_model, save_model
from tests.models.onnx_files import DIM, answer, of_features, of_samples

SHERPA = {"framework": "wespeaker", "sample_rate": "16000", "normalize_samples": "0"}


def noise(samples: int = 16123) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


def kaldi(waveform: torch.Tensor, window: str, snip: bool, high: float, scale: float) -> Any:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = window
    options.frame_opts.snip_edges = snip
    options.mel_opts.num_bins = 24
    options.mel_opts.high_freq = high
    computed = kaldi_native_fbank.OnlineFbank(options)
    computed.accept_waveform(16000, (waveform * scale).tolist())
    computed.input_finished()
    return np.stack([computed.get_frame(i) for i in range(computed.num_frames_ready)])[None]


def test_without_metadata_it_is_wespeakers(tmp_path: Path) -> None:
    model = load_onnx(of_features(tmp_path / "x.onnx"))
    assert model.heard == Heard("wespeaker", 16000, 24, centred=True) and model.embedding_dim == DIM
    frames = kaldi(noise(), "hamming", True, 0.0, 32768.0)
    expected = answer(frames - frames.mean(1, keepdims=True))[0]
    np.testing.assert_allclose(model.embed(noise()), expected / np.linalg.norm(expected), atol=1e-4)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("scale", [1.0, 32768.0])
def test_with_the_metadata_of_sherpa(tmp_path: Path, centred: bool, scale: float) -> None:
    metadata = SHERPA | {"normalize_samples": "1" if scale == 1.0 else "0"}
    metadata["feature_normalize_type"] = "global-mean" if centred else ""
    model = load_onnx(of_features(tmp_path / "x.onnx", metadata=metadata))
    frames = kaldi(noise(), "povey", False, -400.0, scale)
    expected = answer(frames - frames.mean(1, keepdims=True) if centred else frames)[0]
    np.testing.assert_allclose(model.embed(noise()), expected / np.linalg.norm(expected), atol=2e-3)
    assert model.heard.shift == pytest.approx(-2 * math.log(32768) if scale == 1.0 else 0.0)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_waveform(tmp_path: Path, rate: int) -> None:
    hop = rate // 100
    model = load_onnx(of_samples(tmp_path / "x.onnx", hop, {"sample_rate": str(rate)}))
    assert model.frontend.sample_rate == rate and model.frontend.dim == hop
    samples = noise(50 * hop + hop // 2 + 3)  # the last frame is not whole
    padded = torch.nn.functional.pad(samples, (0, 51 * hop - len(samples)))
    expected = answer(padded.view(1, -1, hop).numpy())[0]
    np.testing.assert_allclose(model.embed(samples), expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(  # less than half a frame is left out
        model.embed(samples[: 50 * hop + hop // 2 - 1]), model.embed(samples[: 50 * hop]), atol=1e-6
    )


@pytest.mark.parametrize("shape", [("B", "T"), (1, "T")])
def test_rows_of_a_batch_are_heard_to_their_own_ends(tmp_path: Path, shape: tuple[Any, ...]) -> None:
    model = load_onnx(of_features(tmp_path / "x.onnx", metadata=SHERPA, shape=shape))
    batch, lengths = torch.randn(3, 40, 24), torch.tensor([40, 17, 40])
    found = model(batch, lengths).embedding.numpy()
    expected = np.concatenate([answer(batch[i : i + 1, : lengths[i]].numpy()) for i in range(3)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_on_our_disk_and_back(tmp_path: Path) -> None:
    model = load_onnx(of_samples(tmp_path / "x.onnx"))
    save_model(model, tmp_path / "ours")
    (tmp_path / "x.onnx").unlink()
    again = load_model(tmp_path / "ours")
    assert torch.equal(again.embed(noise()), model.embed(noise()))
    assert (count_parameters(again), count_macs(again)) == (0, 0)
    shutil.copy(of_features(tmp_path / "y.onnx"), tmp_path / "ours/model.onnx")
    with pytest.raises(UserError, match="ours/model.onnx: missing or damaged: import the teacher again"):
        load_model(tmp_path / "ours")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": ("B", 200)}, "takes 200 frames or samples exactly"),
        ({"bands": 300}, "its last axis is no number of mel bands"),
        ({"shape": ("B", "T", 4)}, r"inputs feats tensor\(float\) .*: give a network of one waveform"),
        ({"metadata": {"sample_rate": "many"}}, "its metadata say sample_rate 'many': that is none"),
        ({"metadata": {"imlkd.format": "1"}}, "export it with its front-end inside"),
        ({"outputs": ("a", "b")}, "outputs a, b: none, or several, are called embs"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_onnx(of_features(tmp_path / "x.onnx", **change))
    assert str(caught.value).startswith(f"{tmp_path}/x.onnx: ") and "\n" not in str(caught.value)


def test_files_that_are_no_network(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="x.onnx: no ONNX model, or a damaged one"):
        load_onnx(tmp_path / "x.onnx")
    with pytest.raises(UserError, match="gone.onnx: no such file"):
        load_onnx(tmp_path / "gone.onnx")
