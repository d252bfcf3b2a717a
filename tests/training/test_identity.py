"""What a training depends on: which changes make it another one, and how they are named."""

from imlkd.models.tdnn import TdnnConfig
from imlkd.training.config import CheckpointsConfig, TrainingConfig
from imlkd.training.identity import Identity, settings_of
from imlkd.training.student import StudentConfig

BEFORE = {"/x/conf/data/feats.scp": "1", "code of imlkd.training.student": "2", "--method": "kd"}


def test_settings_by_dotted_key() -> None:
    config = StudentConfig(TdnnConfig(width=7), TrainingConfig(checkpoints=CheckpointsConfig(last=4)))
    found = settings_of(config)
    assert (found["network.width"], found["training.checkpoints.last"], found["views"]) == (7, 4, 1)
    assert settings_of(TrainingConfig(), "training.")["training.learning_rate"] == 3e-3


def test_nothing_changed() -> None:
    change = Identity(BEFORE, settings_of(StudentConfig())).change_from(Identity(BEFORE, settings_of(StudentConfig())))
    assert change.refused == change.inexact == change.harmless == []


def test_each_kind_of_change_is_named() -> None:
    before = Identity(BEFORE, {"training.learning_rate": 0.003, "training.threads": 1, "training.loader.workers": 0})
    now = {"/x/conf/data/feats.scp": "9", "code of imlkd.training.student": "2", "--teacher": "own"}
    settings = {"training.learning_rate": 0.01, "training.threads": 2, "training.loader.workers": 2, "views": None}
    change = Identity(now, settings | {"views": 2}).change_from(before)
    assert change.refused == [
        "--method is gone", "--teacher is new", "data/feats.scp changed", "training.learning_rate 0.003 -> 0.01",
        "views none -> 2",
    ]  # fmt: skip
    assert change.inexact == ["training.threads 1 -> 2"] and change.harmless == ["training.loader.workers 0 -> 2"]
