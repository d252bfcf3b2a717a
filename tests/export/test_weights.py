"""model.safetensors and model.torchscript: the identical model, without pickle."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from imlkd.errors import UserError
from imlkd.export.weights import CONFIG, SAFETENSORS, TORCHSCRIPT, load_safetensors


def noise(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


def test_safetensors_load_back_to_the_identical_model(student, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = student.load()

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a pickle was read")

    monkeypatch.setattr(torch, "load", refuse)
    found = load_safetensors(student.out)
    for name, value in found.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])
    assert torch.equal(found.embed(noise(20000)), expected.embed(noise(20000)))


def test_safetensors_hold_the_metadata_and_no_speakers(student) -> None:
    with safe_open(student.out / SAFETENSORS, "pt") as file:
        assert file.metadata()["imlkd.model"] == "student"
        assert not any(name.startswith("head.") for name in file.keys())  # noqa: SIM118
    assert json.loads((student.out / CONFIG).read_text())["architecture"] == "tdnn"


def test_torchscript_gives_equal_embeddings(student) -> None:
    loaded, model = torch.jit.load(student.out / TORCHSCRIPT), student.load()
    for samples in (5000, 16000, 40321):
        assert (loaded(noise(samples)[None])[0] - model.embed(noise(samples))).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / SAFETENSORS).unlink(), "no such file: export the model with --format safetensors"),
        (lambda folder: (folder / CONFIG).unlink(), "holds no model.json"),
        (lambda folder: (folder / CONFIG).write_text("{}"), "model.json: not a model description"),
        (lambda folder: (folder / SAFETENSORS).write_bytes(b"\x80\x04pickle"), "model.safetensors: damaged"),
        (
            lambda folder: (folder / CONFIG).write_text(
                (folder / CONFIG).read_text().replace('"width": 8', '"width": 12')
            ),
            "not of the network in model.json",
        ),
    ],
)
def test_damaged_files_are_refused_in_one_line(student, tmp_path: Path, damage, said: str) -> None:
    for name in (SAFETENSORS, CONFIG):
        (tmp_path / name).write_bytes((student.out / name).read_bytes())
    damage(tmp_path)
    with pytest.raises(UserError, match=said) as raised:
        load_safetensors(tmp_path)
    assert "\n" not in str(raised.value)
