"""The full state of a training on disk."""

from pathlib import Path

import pytest
import torch
from torch import nn

from imlkd.errors import UserError
from imlkd.models.store import save_tensors
from imlkd.training.checkpoint import restore_checkpoint, save_checkpoint


def training(seed: int) -> tuple[dict[str, nn.Module], torch.optim.Optimizer]:
    """After one step, so that the optimizer has moments."""
    torch.manual_seed(seed)
    modules: dict[str, nn.Module] = {
        "model": nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
        "other": nn.Linear(2, 1),
    }
    optimizer = torch.optim.AdamW([p for module in modules.values() for p in module.parameters()], lr=0.1)
    modules["other"](modules["model"](torch.randn(5, 3))).sum().backward()
    optimizer.step()
    return modules, optimizer


def test_everything_comes_back(tmp_path: Path) -> None:
    modules, optimizer = training(0)
    save_checkpoint(tmp_path, "digest", 4, 12.5, modules, optimizer)
    expected = torch.randn(3)  # what comes next
    fresh, other = training(1)
    said = restore_checkpoint(tmp_path, "digest", fresh, other)
    assert said == (4, 12.5, f"going on after epoch 4 from {tmp_path}/checkpoint.pt")
    for name, module in modules.items():
        state = fresh[name].state_dict()
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    for mine, theirs in zip(
        optimizer.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True
    ):
        assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[key])) for key, value in mine.items())
    assert torch.equal(torch.randn(3), expected)


def test_another_training_begins_anew_and_touches_nothing(tmp_path: Path) -> None:
    modules, optimizer = training(0)
    save_checkpoint(tmp_path, "digest", 4, 12.5, modules, optimizer)
    fresh, other = training(1)
    before = {key: value.clone() for key, value in fresh["model"].state_dict().items()}
    epoch, seconds, said = restore_checkpoint(tmp_path, "another", fresh, other)
    assert (epoch, seconds) == (0, 0.0) and said.endswith("another configuration or other data: starting from scratch")
    assert all(torch.equal(value, before[key]) for key, value in fresh["model"].state_dict().items())


def test_none_and_a_damaged_one(tmp_path: Path) -> None:
    modules, optimizer = training(0)
    assert restore_checkpoint(tmp_path, "digest", modules, optimizer) == (0, 0.0, "starting from scratch")
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"checkpoint\.pt: damaged"):
        restore_checkpoint(tmp_path, "digest", modules, optimizer)
    save_tensors([1, 2], tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match=r"checkpoint\.pt: no checkpoint of a training: remove it"):
        restore_checkpoint(tmp_path, "digest", modules, optimizer)
