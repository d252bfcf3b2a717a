"""Held-out speakers: never trained on, their EER is that of all pairs, and it chooses the weights that are left."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.distillation.objective import Objective
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.training.config import TrainingConfig
from imlkd.training.development import Development
from imlkd.training.identity import Identity
from imlkd.training.sampling import SegmentPool
from imlkd.training.trainer import Trainer

Make = Callable[..., SegmentPool]


def network() -> Tdnn:
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=8, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=8))
    model.head = CosineHead(6, [f"s{i}" for i in range(6)])
    return model


def test_held_out_speakers_are_never_drawn(pool: Make) -> None:
    made = pool(6, 3)
    everyone = {made.segments[i].utterance for batch in made.epoch_batches(400, 3, 0, 0) for i in batch}
    dev = Development.hold_out(made, 2, seed=1)
    held = {made.segments[i].utterance for i in dev.chosen}
    assert len(held) == 6 and len({name[:2] for name in held}) == 2
    drawn = {made.segments[i].utterance for epoch in range(5) for b in made.epoch_batches(400, 3, 0, epoch) for i in b}
    assert drawn == everyone - held
    assert {made.segments[i].frames for i in dev.chosen} == {40}


def test_the_eer_is_that_of_all_pairs(pool: Make) -> None:
    made, model = pool(6, 4), network()
    dev = Development.hold_out(made, 3, seed=1)
    model.train()
    found = dev.eer(model)
    assert model.training
    model.eval()
    embeddings = []
    with torch.no_grad():
        for i in dev.chosen:
            output = model(made.crops(np.array([i])), torch.tensor([40]))
            embeddings.append(torch.nn.functional.normalize(output.embedding)[0])
    pairs = list(itertools.combinations(range(len(dev.chosen)), 2))
    labels = [made.labels[made.segments[i].utterance] for i in dev.chosen]
    scores = [float(embeddings[a] @ embeddings[b]) for a, b in pairs]
    accepted, kept, _ = roc_curve([labels[a] == labels[b] for a, b in pairs], scores, drop_intermediate=False)
    near = np.abs(accepted - (1 - kept)).argmin()
    assert found == pytest.approx((accepted[near] + 1 - kept[near]) / 2, abs=0.06)


def test_it_chooses_the_weights(pool: Make, tmp_path: Path) -> None:
    made = pool(6, 4)
    config = TrainingConfig(epochs=5, batch=2, learning_rate=0.02, threads=1, dev_speakers=2, final="best")

    def batch(chosen: np.ndarray) -> DistillationBatch:
        return DistillationBatch(made.crops(chosen), made.classes(chosen))

    objective = Objective(NoTeacher(NoTeacherConfig()), config.margin, config.scale)
    trainer = Trainer(config, network(), objective, made, batch, tmp_path, Identity())
    before = torch.are_deterministic_algorithms_enabled()
    trainer.run()
    torch.use_deterministic_algorithms(before)
    rates = [json.loads(line)["dev_eer"] for line in (tmp_path / "log/train.jsonl").read_text().splitlines()]
    best = 1 + min(range(5), key=lambda i: (rates[i], i))
    assert trainer.best.kept == [(rates[best - 1], best)]
    state = torch.load(tmp_path / f"checkpoints/epoch-{best:06d}.pt", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in trainer.model.state_dict().items())


@pytest.mark.parametrize("speakers", [1, 6, 9])
def test_too_many_or_too_few(pool: Make, speakers: int) -> None:
    with pytest.raises(UserError, match=rf"training.dev_speakers {speakers}: of 6 speakers .*give 2 to 5, or 0"):
        Development.hold_out(pool(6, 2), speakers, 0)
