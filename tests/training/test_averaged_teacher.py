"""Stages 2 to 4 with several teachers: one trained here, WavLM with drawn weights; layers as stages of the latter."""

from pathlib import Path

import pytest
import torch

from imlkd.attribution.relevance import RelevanceConfig
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.kaldi_io import read_scp_arrays
from imlkd.models.ensemble import Ensemble
from imlkd.models.networks import build_network
from imlkd.models.self_supervised import SelfSupervised
from imlkd.models.store import save_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.recipe import check_belongings, teachers_of
from imlkd.training.check import check_recipe
from tests.models.test_self_supervised import CASES
from tests.training.stages import SEGMENTS, explained, imported, student

RELEVANCE = RelevanceConfig(segments=SEGMENTS, nodes=2, max_nodes=2, max_failing=1.0, full=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teachers")
    torch.manual_seed(0)
    own = build_network(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=24))
    save_model(own, folder / "own")
    torch.save(CASES["wavlm"]().state_dict(), folder / "wavlm.pth")
    return folder


@pytest.fixture(scope="module")
def averaged(files: Path, toy_corpus: Path) -> Path:
    """Targets."""
    model = imported(f"model:{files}/own,torchaudio:{files}/wavlm.pth", None, toy_corpus, files / "both")
    assert isinstance(model, Ensemble) and model.head is not None
    torch.testing.assert_close(model.head.weight.norm(dim=1), torch.ones(4))
    scaled = model.members[1]
    assert isinstance(scaled, SelfSupervised) and scaled.centre.any()
    return explained(files / "both", toy_corpus, RELEVANCE)[0]


def test_targets(averaged: Path) -> None:
    embeddings, relevance = (read_scp_arrays(averaged / f"{kind}.scp") for kind in ("embedding", "relevance"))
    assert {len(one) for one in embeddings.values()} == {5 + 128}
    assert all(len(values) == int(name.split("-")[-2]) for name, values in relevance.items())


@pytest.mark.parametrize("method", ["imlkd", "sp"])
def test_students(averaged: Path, toy_corpus: Path, tmp_path: Path, method: str) -> None:
    assert torch.isfinite(student(method, toy_corpus, averaged, tmp_path).embed(torch.randn(16000))).all()


def test_stages_of_several_are_refused(averaged: Path, toy_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no stages inside"):
        student("at", toy_corpus, averaged, tmp_path)
    with pytest.raises(UserError, match="--methods at aligns stages .*, and several teachers have none in common"):
        check_recipe("resemblyzer,model:x", "at", tmp_path)


@pytest.mark.parametrize("method", ["mlkd-noisy", "at"])
def test_layers_are_stages(files: Path, toy_corpus: Path, tmp_path: Path, method: str) -> None:
    """The teacher runs beside the student on samples; that its embedding is no number yet does not matter here."""
    imported("torchaudio", files / "wavlm.pth", toy_corpus, tmp_path / "wavlm")
    targets, _ = explained(tmp_path / "wavlm", toy_corpus, RELEVANCE)
    found = student(method, toy_corpus, targets, tmp_path / "student")
    assert torch.isfinite(found.embed(torch.randn(16000))).all()


def test_names(tmp_path: Path) -> None:
    assert teachers_of("own") == [("own", "")] and teachers_of("onnx", "a") == [("onnx", "a")]
    assert teachers_of("resemblyzer,onnx:a:b") == [("resemblyzer", ""), ("onnx", "a:b")]
    for teacher, message in {
        "resemblyzer,own": "own cannot be one of several: train it first, then give model:DIR",
        f"xvectors:{tmp_path},resemblyzer": "xvectors cannot be one of several: leave it out",
        "resemblyzer,onnx": "--teacher onnx: its weights are not given: write --teacher onnx:PATH",
        "resemblyzer,onnx:/gone": "/gone: no such file",
    }.items():
        with pytest.raises(UserError, match=message):
            check_belongings("minivox", "", "", teacher, "")
    with pytest.raises(UserError, match="there are several teachers: write KIND:PATH,KIND:PATH"):
        check_belongings("minivox", "", "", "resemblyzer,onnx:a", str(tmp_path))
    with pytest.raises(UserError, match="unknown teacher 'onxx': did you mean onnx"):
        check_recipe("resemblyzer,onxx:a", "kd", tmp_path)
