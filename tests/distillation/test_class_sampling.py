"""Partial softmax: the batch's classes are always there, the rest is drawn by torch's state."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.class_sampling import drawn_classes, sampled
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.objective import Objective
from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig

CLASSES = 20


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=12), share=st.floats(0.001, 0.999),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_drawn(labels: list[int], share: float, seed: int) -> None:
    torch.manual_seed(seed)
    classes = drawn_classes(torch.tensor(labels), CLASSES, share)
    assert set(labels) <= set(classes.tolist()) and len(classes) == max(len(set(labels)), round(share * CLASSES))
    assert classes.tolist() == sorted(set(classes.tolist()))
    torch.manual_seed(seed)
    assert torch.equal(classes, drawn_classes(torch.tensor(labels), CLASSES, share))


def test_every_other_class_has_its_turn() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(CLASSES)
    for _ in range(2000):
        counts[drawn_classes(torch.tensor([3, 3, 7]), CLASSES, 0.5)] += 1
    others = [c for c in range(CLASSES) if c not in (3, 7)]
    assert counts[3] == counts[7] == 2000
    assert torch.allclose(counts[others] / 2000, torch.full((18,), 8 / 18), atol=0.06)


def make_batch() -> DistillationBatch:
    torch.manual_seed(1)
    logits = 5 * torch.randn(6, CLASSES)
    return DistillationBatch(
        torch.randn(6, 30, 8), torch.tensor([2, 5, 2, 11, 19, 0]), logits, torch.rand(6, 30), logits.flip(0)
    )


def make_head(sub_centres: int = 1) -> CosineHead:
    torch.manual_seed(2)
    return CosineHead(6, [f"s{i}" for i in range(CLASSES)], sub_centres)


def test_labels_and_teacher_follow() -> None:
    batch, head = make_batch(), make_head()
    assert sampled(batch, head, 1.0) == (batch, None) and sampled(batch, None, 0.5) == (batch, None)
    cut, classes = sampled(batch, head, 0.5)
    assert classes is not None and len(classes) == 10 and torch.equal(classes[cut.labels], batch.labels)
    assert cut.teacher_logits is not None and batch.teacher_logits is not None
    assert torch.equal(cut.teacher_logits, batch.teacher_logits[:, classes])
    assert cut.teacher_logits_gated is not None and batch.teacher_logits_gated is not None
    assert torch.equal(cut.teacher_logits_gated, batch.teacher_logits_gated[:, classes])


def test_cosines_to_some_classes_are_those_columns() -> None:
    embedding, classes = torch.randn(4, 6), torch.tensor([1, 4, 19])
    for sub_centres in (1, 3):
        head = make_head(sub_centres)
        torch.testing.assert_close(head(embedding, classes), head(embedding)[:, classes], rtol=0, atol=1e-6)


def test_the_loss_is_that_of_a_head_with_these_classes_alone() -> None:
    """By an independent way: a head that has only the drawn classes, and their columns of the teacher."""
    batch = make_batch()
    torch.manual_seed(3)
    model = Tdnn(TdnnConfig(width=8, blocks=1, embedding_dim=6), FbankConfig(num_mel_bins=8)).eval()
    model.head = make_head()
    objective = Objective(Imlkd(ImlkdConfig()), 0.2, 30.0)
    objective.share = 0.4
    torch.manual_seed(5)
    loss, _ = objective(model, batch)
    loss.backward()
    gradient = model.head.weight.grad
    torch.manual_seed(5)
    cut, classes = sampled(batch, model.head, 0.4)
    assert classes is not None and gradient is not None
    untouched = [c for c in range(CLASSES) if c not in classes.tolist()]
    assert not gradient[untouched].any() and gradient[classes].any(1).all()
    small = CosineHead(6, [f"s{i}" for i in classes.tolist()])
    small.weight.data = model.head.weight.data[classes]
    model.head, objective.share = small, 1.0
    torch.testing.assert_close(objective(model, cut)[0], loss)
