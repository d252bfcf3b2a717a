"""A model folder of the recipe behind the same interface as an exported file."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd import load_model
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.networks import CONFIGS, NETWORKS
from imlkd.models.store import load_model as load_network
from imlkd.models.store import save_model
from imlkd.scoring.calibration import Calibration
from tests.conftest import RATE, toy_voice


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network, as stage 4 would leave it, with what stage 6 leaves of two lists."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exp") / "toy_student"
    save_model(NETWORKS["tdnn"](CONFIGS["tdnn"](), FbankConfig(num_mel_bins=24)), path)
    for trials, threshold, made_from in [
        ("a_set/normalised", 9.0, {"--norm": "as"}),
        ("b_set/dev", 0.25, {"--bootstrap": "10"}),
        ("c_set/test", 3.0, {"--bootstrap": "10", str(path / "calibration.json"): "0"}),
    ]:
        name, _, listed = trials.partition("/")
        metrics = {"eer": {"threshold": threshold}, "min_dcf": {"0.01": {"threshold": None}}}
        (path / "metrics" / name).mkdir(parents=True)
        (path / "metrics" / name / f"{listed}.json").write_text(json.dumps(metrics))
        (path / "scores" / name).mkdir(parents=True)
        (path / "scores" / name / f".done.{listed}").write_text(json.dumps({"made_from": made_from}))
    Calibration(8.0, -3.0, score_range=(-1.0, 1.0)).write(path / "calibration.json")
    return path


def test_embeddings_are_those_of_the_network(folder: Path, voices: Path) -> None:
    model, network = load_model(folder), load_network(folder)
    voice = toy_voice(1, 1.2, 0)
    np.testing.assert_array_equal(model.embed(voice, RATE), network.embed(torch.from_numpy(voice)).numpy())
    assert model.embed_files([voices / "bob-1.wav", voices / "bob-2.wav"]).shape == (2, model.embedding_dim)
    assert (model.card.name, model.sample_rate) == ("toy_student", 16000)
    with pytest.raises(UserError, match="silence"):
        model.embed(voice * 0, RATE)
    with pytest.raises(UserError, match="the model needs"):
        model.embed(voice[:3], RATE)


def test_thresholds_are_those_of_plain_cosines(folder: Path) -> None:
    model = load_model(folder)
    assert model.thresholds.values == {"eer": 0.25, "0.01": math.inf} and model.thresholds.trials == "b_set/dev"
    assert model.calibration is not None and model.calibration.scale == 8.0


def test_without_a_plain_list_there_are_none(folder: Path) -> None:
    marker = folder / "scores/b_set/.done.dev"
    kept = marker.read_text()
    for content in ("{", json.dumps({"made_from": {"--backend": "plda"}})):
        marker.write_text(content)
        model = load_model(folder)
        assert model.thresholds.values == {} and model.calibration is None
    marker.write_text(kept)


def test_other_weights_are_another_model(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_model(NETWORKS["tdnn"](CONFIGS["tdnn"](), FbankConfig(num_mel_bins=24)), tmp_path)
    assert load_model(tmp_path).card.sha256 != load_model(folder).card.sha256 == load_model(folder).card.sha256
