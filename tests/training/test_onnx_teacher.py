"""A teacher in an ONNX file, from its import to its students."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd.attribution.relevance import RelevanceConfig
from imlkd.config import load_config
from imlkd.errors import UserError
from imlkd.features.segments import SegmentsConfig
from imlkd.kaldi_io import read_scp_arrays
from imlkd.training.check import check_recipe
from imlkd.training.student import StudentConfig
from tests.models.onnx_files import of_features, of_samples
from tests.training.stages import STUDENT, explained, imported, student

RELEVANCE = RelevanceConfig(segments=SegmentsConfig(durations=[0.5, 1.0]), full=False)


@pytest.fixture(scope="module", params=["features", "samples"])
def made(request: pytest.FixtureRequest, toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Targets."""
    folder = tmp_path_factory.mktemp("onnx")
    path = (of_features if request.param == "features" else of_samples)(folder / "x.onnx")
    imported("onnx", path, toy_corpus, folder / "teacher")
    targets, said = explained(folder / "teacher", toy_corpus, RELEVANCE)
    assert "no gradient, so its relevance is found by occlusion" in said and "completeness" not in said
    return targets


def test_targets(made: Path) -> None:
    relevance, cosines, gated = (read_scp_arrays(made / f"{k}.scp") for k in ("relevance", "cosines", "cosines_gated"))
    for name, values in relevance.items():
        assert len(values) == int(name.split("-")[-2]) and 0 <= values.min() <= values.max() <= 1
    assert np.mean([values.max() > 0.9 for values in relevance.values()]) > 0.5
    change = np.stack([gated[name] - cosines[name] for name in cosines])
    assert 1e-3 < np.abs(change).max() < 2.0  # the gate is heard
    assert "relevance: occlusion" in (made / "origin.yaml").read_text()


@pytest.mark.parametrize("method", ["emb-cos", "kd", "imlkd"])
def test_students(made: Path, toy_corpus: Path, tmp_path: Path, method: str) -> None:
    assert torch.isfinite(student(method, toy_corpus, made, tmp_path).embed(torch.randn(16000))).all()


def test_online_relevance(made: Path, toy_corpus: Path, tmp_path: Path) -> None:
    config = load_config(StudentConfig, None, ["gate.relevance=online"])
    config = StudentConfig(STUDENT.network, STUDENT.training, gate=config.gate)
    assert torch.isfinite(student("imlkd", toy_corpus, made, tmp_path, config).embed(torch.randn(16000))).all()
    config = StudentConfig(STUDENT.network, STUDENT.training, gate=load_config(
        StudentConfig, None, ["gate.relevance=online", "gate.kind=tf"]).gate)  # fmt: skip
    with pytest.raises(UserError, match="gate.kind tf: needs a map over bins, and .* gives no gradient"):
        student("imlkd", toy_corpus, made, tmp_path, config)


def test_stages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--methods at aligns stages inside the teacher, and onnx gives none"):
        check_recipe("onnx", "at", tmp_path)
