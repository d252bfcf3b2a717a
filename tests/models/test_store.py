"""A model on disk: round trip, and everything that may be wrong with the files."""

import errno
import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.ge2e import Ge2e
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.store import build_model, load_model, load_tensors, save_into, save_model, save_tensors
from imlkd.models.tdnn import Tdnn, TdnnConfig
from tests.fuzz.planted import Planted

SPEAKERS = ["id1", "id10", "id2-é"]


def small(head: bool = True) -> Tdnn:
    torch.manual_seed(0)
    model = Tdnn(
        TdnnConfig(width=5, blocks=1, embedding_dim=6, normalize="none"),
        FbankConfig(sample_rate=8000, num_mel_bins=9, low_freq=1e-5, high_freq=3800.0),
    )
    if head:
        model.head = CosineHead(6, SPEAKERS)
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(small(), tmp_path)
    return tmp_path


@pytest.mark.parametrize("head", [True, False])
def test_round_trip(tmp_path: Path, head: bool) -> None:
    model = small(head)
    model.train()(torch.randn(4, 30, 9), torch.full((4,), 30))  # statistics other than the initial ones
    save_model(model, tmp_path)
    found = load_model(tmp_path)
    assert isinstance(found, Tdnn) and (found.config, found.fbank) == (model.config, model.fbank)
    assert not found.training and not any(p.requires_grad for p in found.parameters())
    assert (found.head.speakers if found.head else None) == (SPEAKERS if head else None)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict().items())
    features, lengths = torch.randn(2, 30, 9), torch.tensor([30, 11])
    model.eval()
    assert torch.equal(found(features, lengths).embedding, model(features, lengths).embedding)
    assert sorted(os.listdir(tmp_path)) == ["final.pt", "model.yaml"] + ["speakers"] * head


def test_the_description_is_plain_yaml(saved: Path) -> None:
    described = yaml.safe_load((saved / "model.yaml").read_text())
    assert described["architecture"] == "tdnn" and described["network"]["width"] == 5
    assert described["fbank"]["sample_rate"] == 8000
    assert (saved / "speakers").read_text(encoding="utf-8").split("\n") == [*SPEAKERS, ""]


def test_ge2e_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Ge2e()
    model.head = CosineHead(256, ["a", "b"])
    save_model(model, tmp_path)
    found = load_model(tmp_path)
    state = model.state_dict()
    assert isinstance(found, Ge2e)
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict().items())


def test_the_same_weights_give_the_same_bytes_whatever_the_place(tmp_path: Path) -> None:
    for folder in ("a", "deep/er"):
        save_model(small(), tmp_path / folder)
    assert (tmp_path / "a/final.pt").read_bytes() == (tmp_path / "deep/er/final.pt").read_bytes()


def test_a_file_is_no_model_folder(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match=r"model\.onnx: a file, .* give the model's folder"):
        load_model(tmp_path / "model.onnx")


def test_a_model_without_a_description_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="SpeakerModel has no description"):
        save_model(SpeakerModel(small().frontend, 3), tmp_path)


def test_a_full_disk_keeps_the_old_weights(
    saved: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    size = len(before["final.pt"])
    for limit in (1000, size - 1):
        with file_size_limit(limit), pytest.raises(UserError, match=r"final\.pt: the file-size limit is reached"):
            save_model(small(), saved)
        assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_weights_cut_off(saved: Path, keep: float) -> None:
    content = (saved / "final.pt").read_bytes()
    (saved / "final.pt").write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(UserError, match=f"^{saved}/final.pt: damaged or not a file of weights: remove it and run"):
        load_model(saved)


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x02", b"PK\x03\x04" + bytes(100)])
def test_no_weights(saved: Path, content: bytes) -> None:
    (saved / "final.pt").write_bytes(content)
    with pytest.raises(UserError, match="damaged or not a file of weights"):
        load_model(saved)


def bombs(pwned: Path) -> dict[str, bytes]:
    """A plain pickle, torch's zip layout, and torch's old layout, each with the object inside."""
    zipped, old = io.BytesIO(), io.BytesIO()
    torch.save({"w": torch.ones(1), "x": Planted(pwned)}, zipped)
    torch.save({"x": Planted(pwned)}, old, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(io.BytesIO(zipped.getvalue())) as archive:
        assert any(name.endswith("data.pkl") for name in archive.namelist())
    return {"pickle": pickle.dumps(Planted(pwned)), "zip": zipped.getvalue(), "old": old.getvalue()}


@pytest.mark.parametrize("kind", ["pickle", "zip", "old"])
def test_a_pickle_bomb_does_not_go_off(saved: Path, kind: str) -> None:
    pwned = saved / "pwned"
    (saved / "final.pt").write_bytes(bombs(pwned)[kind])
    assert not pwned.exists()
    with pytest.raises(UserError, match="damaged or not a file of weights"):
        load_model(saved)
    assert not pwned.exists()
    with pytest.raises(Exception):  # noqa: B017 - the control: the bomb is a live one
        pickle.loads(bombs(pwned)["pickle"])
        raise RuntimeError
    assert pwned.exists()


@pytest.mark.parametrize("state", [{}, {"first.0.weight": torch.ones(1)}, [1, 2], torch.ones(3), None])
def test_weights_of_something_else(saved: Path, state: object) -> None:
    save_tensors(state, saved / "final.pt")
    with pytest.raises(UserError, match=f"^{saved}/final.pt: does not fit the network: ") as caught:
        load_model(saved)
    assert "\n" not in str(caught.value)


def test_speakers_that_do_not_fit_the_head(saved: Path) -> None:
    (saved / "speakers").write_text("id1\n")
    with pytest.raises(UserError, match=r"final\.pt: does not fit the network: .*head\.weight"):
        load_model(saved)
    (saved / "speakers").unlink()
    with pytest.raises(UserError, match=r"final\.pt: does not fit the network: .*head\.weight"):
        load_model(saved)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("architecture: tdnn", "architecture: vgg", "unknown architecture 'vgg': expected one of tdnn, ecapa"),
        ("architecture: tdnn", "kind: tdnn", "not a model description: train or import the model again"),
        ("  width: 5", "  width: five", "width: expected a whole number, found 'five'"),
        ("  width: 5", "  widht: 5", "unknown key widht: did you mean width?"),
        ("  width: 5", "  width: 6", "does not fit the network"),
        ("network:\n", "networks:\n", "unknown key networks: did you mean network?"),
        ("  high_freq: 3800.0", "  high_freq: 5000.0", "high_freq: 5000 Hz is above half of sample_rate"),
    ],
)
def test_descriptions_that_are_wrong(saved: Path, old: str, new: str, message: str) -> None:
    text = (saved / "model.yaml").read_text()
    assert old in text
    (saved / "model.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_model(saved)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "- a\n", "architecture: [\n", "3\n", "\xff"])
def test_descriptions_that_are_none(saved: Path, content: str) -> None:
    (saved / "model.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"model\.yaml: not a model description: train or import"):
        build_model(saved)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{tmp_path}: holds no model.yaml: run stage 2"):
        load_model(tmp_path)
    save_model(small(), tmp_path)
    (tmp_path / "final.pt").unlink()
    with pytest.raises(UserError, match=f"^{tmp_path}/final.pt: no such file: run the stage"):
        load_tensors(tmp_path / "final.pt")


class Full(io.BytesIO):
    """A disk with room for some bytes."""

    def write(self, piece: Any) -> int:
        if self.tell() + len(piece) > 5000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(piece)


def test_pieces_are_the_bytes_of_torch_and_a_full_disk_is_no_error_of_torch() -> None:
    state = {"weights": torch.randn(60, 70), "steps": 5, "names": ["a", "b"]}
    whole, pieces, digest = io.BytesIO(), io.BytesIO(), hashlib.sha256()
    torch.save(state, whole)
    save_into(state, pieces, digest.update)
    assert pieces.getvalue() == whole.getvalue() and digest.digest() == hashlib.sha256(whole.getvalue()).digest()
    full = Full()
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_into(state, full)
    assert caught.value.errno == errno.ENOSPC and len(full.getvalue()) <= 5000
