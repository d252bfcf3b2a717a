"""Half precision and compiled networks: near float32, losses in float32, resumed to the bit, scale kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import imlkd.training.compiling as compiling
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.objective import Objective
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.config import CheckpointsConfig, MarginConfig, TrainingConfig
from imlkd.training.identity import Identity, settings_of
from imlkd.training.sampling import Indices, SegmentPool
from imlkd.training.trainer import Trainer
from tests.training.test_processes import Make, losses

CONFIG = TrainingConfig(epochs=3, batch=3, crops=2, learning_rate=0.01, threads=1, seed=3)


class Watching(Imlkd):
    """Notes the types of what the terms are computed from."""

    def __init__(self) -> None:
        super().__init__(ImlkdConfig())
        self.types: set[torch.dtype] = set()

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, torch.Tensor]:
        found = super().terms(batch, views)
        self.types |= {view.logits.dtype for view in views} | {view.output.embedding.dtype for view in views}
        self.types |= {stage.dtype for view in views for stage in view.output.stages}
        self.types |= {term.dtype for term in found.values()}
        return found


def make_trainer(pool: SegmentPool, folder: Path, config: TrainingConfig) -> Trainer:
    torch.manual_seed(config.seed)
    model = Tdnn(TdnnConfig(width=8, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=8))
    model.head = CosineHead(6, ["s0", "s1", "s2"])
    inside: set[torch.dtype] = set()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d):
            module.register_forward_hook(lambda module, given, answer: inside.add(answer.dtype))

    def batch(chosen: Indices) -> DistillationBatch:
        labels, crops = pool.classes(chosen), pool.crops(chosen)
        logits = 5 * torch.nn.functional.one_hot(labels, 3).float()
        return DistillationBatch(crops, labels, logits, 0.5 + 0.5 * torch.rand(crops.shape[:2]), logits)

    objective = Objective(Watching(), config.margin, config.scale)
    trainer = Trainer(config, model, objective, pool, batch, folder, Identity({}, settings_of(config, "training.")))
    trainer.inside = inside  # type: ignore[attr-defined]
    return trainer


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_network_is_half_and_the_losses_are_not(pool: Make, tmp_path: Path, precision: str) -> None:
    full = make_trainer(pool(3, 7), tmp_path / "full", CONFIG)
    full.run()
    half = make_trainer(pool(3, 7), tmp_path / "half", replace(CONFIG, precision=precision))
    half.stepper.scaler._init_scale = 64.0  # nothing overflows, so that no step is left out
    half.run()
    assert half.objective.method.types == {torch.float32}
    assert half.inside == {getattr(torch, precision)} and full.inside == {torch.float32}  # type: ignore[attr-defined]
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "full"), rel=0.1)
    assert losses(tmp_path / "half") != losses(tmp_path / "full")


def test_the_scale_of_float16_goes_on_where_it_was(pool: Make, tmp_path: Path) -> None:
    config = replace(CONFIG, precision="float16", checkpoints=CheckpointsConfig(last=99))
    whole = make_trainer(pool(3, 7), tmp_path, config)
    whole.stepper.scaler._init_scale, whole.stepper.scaler._growth_interval = 16.0, 2
    whole.run()
    scale = whole.stepper.scaler.get_scale()
    assert scale > 16.0, "the scale has not grown"
    for path in whole.store.paths()[1:]:
        path.unlink()
    again = make_trainer(pool(3, 7), tmp_path, config)
    again.run()
    assert again.stepper.scaler.get_scale() == scale
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_an_overflow_of_float16_is_left_out_and_no_trouble(pool: Make, tmp_path: Path) -> None:
    trainer = make_trainer(pool(3, 7), tmp_path, replace(CONFIG, precision="float16"))
    trainer.stepper.scaler._init_scale = 2.0**120
    trainer.run()
    assert trainer.stepper.scaler.get_scale() < 2.0**120 and trainer.course.skipped == 0
    assert all(torch.isfinite(value).all() for value in trainer.model.state_dict().values())


def test_classes_drawn_anew_go_on_where_they_were(pool: Make, tmp_path: Path) -> None:
    config = replace(CONFIG, softmax=MarginConfig(share=0.5), checkpoints=CheckpointsConfig(last=99))
    whole = make_trainer(pool(3, 7), tmp_path, config)
    whole.run()
    for path in whole.store.paths()[1:]:
        path.unlink()
    again = make_trainer(pool(3, 7), tmp_path, config)
    again.run()
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_method_that_sees_all_classes_has_no_partial_softmax(pool: Make, tmp_path: Path) -> None:
    class Whole(Watching):
        all_classes = True

    trainer = make_trainer(pool(3, 7), tmp_path, CONFIG)
    trainer.objective.method = Whole()
    trainer.stepper.config = replace(CONFIG, softmax=MarginConfig(share=0.5))
    with pytest.raises(UserError, match=r"^training.softmax.share 0.5: the method has to see all classes"):
        trainer.stepper._set_up(trainer.objective, trainer.model)


def test_no_compiler_is_said_in_one_line(
    pool: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    trainer = make_trainer(pool(3, 7), tmp_path, replace(CONFIG, compile=True))
    assert trainer.objective.encode is None
    assert capsys.readouterr().out == (
        "training.compile: off: no C++ compiler (no-such-compiler): install one (Debian: apt-get install g++)\n"
    )


@pytest.mark.slow
def test_compiled_is_the_same_network(pool: Make, tmp_path: Path) -> None:
    if compiling.what_lacks():
        pytest.skip(compiling.what_lacks())
    config = replace(CONFIG, checkpoints=CheckpointsConfig(last=99))
    make_trainer(pool(3, 7), tmp_path / "plain", config).run()
    whole = make_trainer(pool(3, 7), tmp_path / "compiled", replace(config, compile=True))
    whole.run()
    assert whole.objective.encode is not None
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)
    for path in whole.store.paths()[1:]:
        path.unlink()
    again = make_trainer(pool(3, 7), tmp_path / "compiled", replace(config, compile=True))
    again.run()
    expected, found = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
