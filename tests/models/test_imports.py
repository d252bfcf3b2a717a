"""Teachers that others trained: their networks equal the originals to 1e-5, and nothing of a stranger's is run."""

import importlib.util
import json
import pickle
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from imlkd.errors import UserError
from imlkd.features.teacher_fbanks import SnippedFbankConfig, SpeechbrainMel, SpeechbrainMelConfig
from imlkd.models.fbank_model import FbankModel
from imlkd.models.foreign import read_state, safe_tensors
from imlkd.models.networks import build_network
from imlkd.models.resnet import Resnet, ResnetConfig
from imlkd.models.size import count_parameters
from imlkd.models.speechbrain import load_speechbrain
from imlkd.models.store import load_model, save_model
from imlkd.models.wespeaker import load_3dspeaker, load_wespeaker
from tests.fuzz.planted import Planted


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


originals = load("originals")
Case = originals.Case


def features(bins: int, frames: int = 150) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    level, spectrum = torch.tensor([[[1.0]], [[3.0]], [[9.0]]]), torch.randn(3, 1, bins, generator=generator)
    return level * (torch.randn(3, frames, bins, generator=generator) + 2 * spectrum)


def noise(samples: int) -> torch.Tensor:
    """It swells by more than 80 dB."""
    generator = torch.Generator().manual_seed(samples)
    return 0.1 * torch.randn(samples, generator=generator) * torch.linspace(0, 1, samples) ** 8


def campplus(bins: int, growth: int, dim: int, frames: int) -> Any:
    settings = {"feat_dim": bins, "growth_rate": growth, "init_channels": 4 * growth, "embedding_size": dim}
    return Case("funasr", "campplus", settings, features(bins, frames))


def wespeaker(name: str, bins: int, dim: int, **settings: Any) -> Any:
    return Case("wespeaker", f"wespeaker.{name}", {"feat_dim": bins, "embed_dim": dim, **settings}, features(bins))


def eres2net(bins: int, frames: int) -> Any:
    settings = {"num_blocks": [1, 2, 1, 2], "m_channels": 8, "feat_dim": bins, "embedding_size": 12}
    return Case("funasr", "eres2net", settings, features(bins, frames))


def resnet(blocks: list[int], width: int, bins: int) -> Any:
    settings = {"num_blocks": blocks, "m_channels": width, "feat_dim": bins, "embed_dim": 16}
    return Case("pyannote", "resnet", settings, features(bins))


SMALL_ECAPA = {
    "input_size": 23, "channels": [48, 48, 48, 48, 64], "lin_neurons": 10, "res2net_scale": 4,
    "se_channels": 16, "attention_channels": 24,
}  # fmt: skip
ECAPA = {"input_size": 80, "channels": [128] * 4 + [384]}
XVECTOR = {"in_channels": 24, "tdnn_channels": [32, 32, 32, 32, 50], "lin_neurons": 12}
SPEECHBRAIN = {
    "speechbrain-ecapa": Case("speechbrain", "ecapa", ECAPA, features(80)),
    "speechbrain-small-ecapa": Case("speechbrain", "ecapa", SMALL_ECAPA, features(23)),
    "speechbrain-xvector": Case("speechbrain", "xvector", XVECTOR, features(24)),
}
SPEECHBRAIN_FBANK = {
    f"fbank-{samples}-{bins}": Case("speechbrain", "fbank", {"n_mels": bins}, noise(samples))
    for samples, bins in ((16000, 80), (7777, 24), (399, 80))
}
PYANNOTE = {"resnet34": resnet([3, 4, 6, 3], 8, 80), "resnet18": resnet([2, 2, 2, 2], 4, 24)}
FUNASR = {"campplus": campplus(80, 32, 192, 150), "small-campplus": campplus(24, 8, 20, 333)}
ERES2NET = {"eres2net": eres2net(80, 150), "small-eres2net": eres2net(24, 101)}
WESPEAKER = {
    "ECAPA_TDNN_GLOB_c512": wespeaker("ecapa_tdnn.ECAPA_TDNN_GLOB_c512", 80, 192),
    "ECAPA_TDNN_c512": wespeaker("ecapa_tdnn.ECAPA_TDNN_c512", 24, 20, emb_bn=True),
    "XVEC": wespeaker("tdnn.XVEC", 40, 16, hid_dim=32, stats_dim=50),
    "ResNet18": wespeaker("resnet.ResNet18", 40, 16),
    "ERes2Net34_Base": wespeaker("eres2net.ERes2Net34_Base", 24, 16),
    "ERes2Net34_aug": wespeaker("eres2net.ERes2Net34_aug", 16, 16),
    "CAMPPlus": wespeaker("campplus.CAMPPlus", 80, 64, growth_rate=8, init_channels=32),
}
CASES = {**SPEECHBRAIN, **SPEECHBRAIN_FBANK, **PYANNOTE, **FUNASR, **ERES2NET, **WESPEAKER}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the originals' answers, a folder each."""
    root = tmp_path_factory.mktemp("originals")
    originals.ask(CASES, root)
    return root


@pytest.fixture
def answered(answers: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the answer to a case."""

    def copied(name: str) -> Path:
        package = CASES[name].package
        if not originals.has(package):
            pytest.skip(f"no .venv-oracle with {package}: run bash tests/setup_oracle.sh")
        shutil.copytree(answers / name, tmp_path / name)
        return tmp_path / name

    return copied


Answered = Callable[[str], Path]


def compare(model: FbankModel, folder: Path) -> None:
    """The network alone: what comes before it is not taken away twice."""
    batch, theirs = torch.load(folder / "features.pt"), torch.load(folder / "embeddings.pt")
    assert theirs.std(0).mean() > 1e-2 * theirs.abs().mean()  # the rows differ: a comparison can fail
    model.normalization.kind = "none"
    edge = getattr(model.frontend, "edge", 0)
    padded = torch.nn.functional.pad(batch, (0, 0, edge, edge))
    mine = model(padded, torch.full((len(padded),), padded.shape[1])).embedding
    scale = float(theirs.abs().max())
    torch.testing.assert_close(mine / scale, theirs / scale, rtol=1e-5, atol=1e-5)


def same_size(model: FbankModel, folder: Path) -> bool:
    return count_parameters(model) == int((folder / "parameters").read_text())


@pytest.mark.parametrize("name", SPEECHBRAIN)
def test_speechbrain(name: str, answered: Answered) -> None:
    folder = answered(name)
    (folder / "weights.pt").rename(folder / "embedding_model.ckpt")
    model = load_speechbrain(folder)
    assert same_size(model, folder)
    assert model.fbank == SpeechbrainMelConfig(num_mel_bins=CASES[name].asked.shape[2])
    assert model.normalization.kind == "mean" and not model.training
    again(model, folder)
    compare(model, folder)


@pytest.mark.parametrize("name", SPEECHBRAIN_FBANK)
def test_the_front_end_of_speechbrain(name: str, answered: Answered) -> None:
    theirs, waveform = torch.load(answered(name) / "features.pt"), CASES[name].asked
    mine = SpeechbrainMel(SpeechbrainMelConfig(num_mel_bins=theirs.shape[1]))(waveform)
    assert mine.shape == (1 + len(waveform) // 160, theirs.shape[1])
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=2e-3)  # dB


@pytest.mark.parametrize("name", PYANNOTE)
def test_resnet_of_pyannote(name: str, answered: Answered) -> None:
    folder = answered(name)
    model = load_wespeaker(wespeaker_folder(folder, "ResNet34"))
    assert isinstance(model, Resnet) and same_size(model, folder) and model.floor == 1e-7
    model.floor = 0.0  # which pyannote.audio's copy of the network leaves out
    compare(model, folder)


@pytest.mark.parametrize("name", [*FUNASR, *ERES2NET])
def test_networks_of_3dspeaker(name: str, answered: Answered) -> None:
    folder = answered(name)
    model = load_3dspeaker(folder / "weights.pt")
    assert same_size(model, folder)
    bins = CASES[name].asked.shape[2]
    assert model.fbank == SnippedFbankConfig(num_mel_bins=bins, window="povey", scale=1.0)
    again(model, folder)
    compare(model, folder)


@pytest.mark.parametrize("name", WESPEAKER)
def test_wespeaker(name: str, answered: Answered) -> None:
    folder = answered(name)
    model = load_wespeaker(wespeaker_folder(folder, name))
    assert model.fbank == SnippedFbankConfig(num_mel_bins=CASES[name].asked.shape[2])
    again(model, folder)
    compare(model, folder)


def wespeaker_folder(folder: Path, model: str, dataset: str = "") -> Path:
    (folder / "weights.pt").rename(folder / "avg_model.pt")
    (folder / "config.yaml").write_text(f"model: {model}\n{dataset}")
    return folder


def again(model: FbankModel, folder: Path) -> None:
    """On our disk and back: network, front-end and answers are the same."""
    save_model(model, folder / "ours")
    found = load_model(folder / "ours")
    assert isinstance(found, FbankModel) and (found.config, found.fbank) == (model.config, model.fbank)
    waveform = 0.1 * torch.randn(9000, generator=torch.Generator().manual_seed(3))
    assert torch.equal(found.embed(waveform), model.embed(waveform))
    assert torch.isfinite(model.embed(waveform)).all()


def test_edges_that_the_front_end_adds_are_dropped_by_each_rows_own_length() -> None:
    torch.manual_seed(0)
    model = build_network(ResnetConfig(width=4, depth=10, embedding_dim=5), SnippedFbankConfig(num_mel_bins=24)).eval()
    batch = torch.randn(2, 60, 24, requires_grad=True)
    together = model(batch, torch.tensor([60, 41])).embedding
    for row, length in enumerate((60, 41)):
        alone = model(batch[row : row + 1, 1 : length + 3], torch.tensor([length - 2])).embedding
        assert not torch.allclose(together[row], alone[0], atol=1e-4)  # one frame later: other frames are dropped
        alone = model(batch[row : row + 1, :length], torch.tensor([length])).embedding
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(together[row].sum(), batch, retain_graph=True)
        heard = torch.nonzero(gradient[row].abs().sum(1)).flatten().tolist()
        assert heard == list(range(1, length - 1))


@pytest.mark.parametrize("layout", ["zip", "old", "pickle"])
@pytest.mark.parametrize("kind", ["speechbrain", "wespeaker", "3dspeaker"])
def test_planted_code_is_not_run(kind: str, layout: str, tmp_path: Path) -> None:
    pwned, path = tmp_path / "pwned", tmp_path / "weights.pt"
    state = {"conv1.weight": torch.ones(1), "x": Planted(pwned)}
    if layout == "pickle":
        path.write_bytes(pickle.dumps(Planted(pwned)))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=layout == "zip")
    loaders: dict[str, Callable[[], object]] = {
        "speechbrain": lambda: load_speechbrain(path),
        "wespeaker": lambda: load_wespeaker(wespeaker_folder(tmp_path, "ResNet34")),
        "3dspeaker": lambda: load_3dspeaker(path),
    }
    with pytest.raises(UserError, match="damaged, or holds more than tensors and plain values, which is not loaded"):
        loaders[kind]()
    assert not pwned.exists()
    pickle.loads(pickle.dumps(Planted(pwned)))  # the control: the bomb is a live one
    assert pwned.exists()


def test_planted_yaml_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{tmp_path}/pwned']\n")
    with pytest.raises(UserError, match="config.yaml: not YAML of plain values"):
        load_wespeaker(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_safetensors(tmp_path: Path) -> None:
    """A file written by hand after the format's description."""
    values = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    raw = values.numpy().tobytes() + struct.pack("<q", 7)
    header = {
        "__metadata__": {"by": "hand"},
        "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "count": {"dtype": "I64", "shape": [], "data_offsets": [24, 32]},
    }
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + raw
    (tmp_path / "x.safetensors").write_bytes(content)
    state = read_state(tmp_path / "x.safetensors")
    assert torch.equal(state["a.weight"], values) and int(state["count"]) == 7 and set(state) == {"a.weight", "count"}
    for damaged in (content[:-1], content[:30], b"", content[:8] + b"x" * len(text) + raw):
        (tmp_path / "x.safetensors").write_bytes(damaged)
        with pytest.raises(UserError, match="x.safetensors: damaged, or holds more"):
            read_state(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="a.weight"):
        safe_tensors(content.replace(b"[0, 24]", b"[0, 23]"))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"asp.conv.conv.weight": torch.ones(1)}, "not the weights of SpeechBrain's ECAPA-TDNN: lacks first.conv"),
        ({"linear.weight": torch.ones(1)}, "not the weights of SpeechBrain's x-vector: lacks layers.0.conv"),
        ({}, "holds no state dict"),
        ({"a": 1}, "holds no state dict"),
        ([torch.ones(1)], "holds no state dict"),
    ],
)
def test_weights_of_something_else(state: object, message: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "embedding_model.ckpt")
    with pytest.raises(UserError, match=message) as caught:
        load_speechbrain(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/embedding_model.ckpt: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "config.yaml: no such file: give a folder of wespeaker"),
        ("model: [", "config.yaml: not YAML of plain values"),
        ("- a", "config.yaml: not a configuration of wespeaker: it names no model"),
        ("model: Whisper", "model 'Whisper' cannot be imported: known are ECAPA_TDNN, ResNet, CAMPPlus, ERes2Net, X"),
        ("model: XVEC\ndataset_args:\n  resample_rate: x", "resample_rate: 'x' is no sample rate"),
        ("model: XVEC", "not the weights of wespeaker's x-vector: lacks layers.0.convolution.weight"),
        ("model: ResNet34", "not the weights of wespeaker's ResNet .*: lacks first.0.weight"),
        ("model: CAMPPlus", r"not the weights of CAM\+\+: lacks front.first.0.weight"),
        ("model: ECAPA_TDNN_c512", "not the weights of wespeaker's ECAPA-TDNN: lacks first.convolution.weight"),
    ],
)
def test_folders_that_are_not_wespeakers(config: str | None, message: str, tmp_path: Path) -> None:
    torch.save({"projection.weight": torch.ones(2), "x": torch.ones(2)}, tmp_path / "avg_model.pt")
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(UserError, match=message):
        load_wespeaker(tmp_path)
