"""Numbers by hand: gradients of simple terms, agreement and posterior of given logits; warnings and their words."""

import math

import pytest
import torch

from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.diagnosis import diagnose, warnings


def batch(logits: torch.Tensor | None) -> DistillationBatch:
    return DistillationBatch(torch.zeros(2, 3, 4), torch.tensor([0, 1]), logits)


def test_gradient_norms_at_the_embedding() -> None:
    embedding = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    terms = {"aam": embedding.square().sum() / 2, "other": 2 * embedding[0, 0], "none": torch.tensor(1.0)}
    found = diagnose(terms, embedding, batch(None), torch.zeros(2, 3), [])
    assert found == {"gradient_aam": 5.0, "gradient_other": 2.0, "gradient_none": 0.0}


def test_a_term_that_does_not_touch_the_embedding() -> None:
    embedding, other = torch.ones(2, 2, requires_grad=True), torch.ones(1, requires_grad=True)
    assert diagnose({"stage": other.sum()}, embedding, batch(None), torch.zeros(2, 3), []) == {"gradient_stage": 0.0}


def test_a_term_of_frames_is_measured_at_the_last_stage() -> None:
    stage = torch.tensor([[[3.0, 4.0]]], requires_grad=True)
    embedding = 2 * stage.sum(2)
    terms = {"aam": embedding.sum(), "hint": stage.square().sum() / 2, "kd": 3 * embedding.sum()}
    found = diagnose(terms, embedding, batch(None), torch.zeros(2, 3), [], stage)
    assert found == {
        "gradient_aam": 1.0, "gradient_kd": 3.0,
        "stage_gradient_aam": pytest.approx(math.sqrt(8), abs=1e-3), "stage_gradient_hint": 5.0,
    }  # fmt: skip
    assert warnings(found) == []
    (line,) = warnings({"stage_gradient_aam": 1.0, "stage_gradient_hint": 1e-5})
    assert line.startswith("hint is dead: its gradient at the last stage is 1e-05, that of aam 1: ")


def test_agreement_and_posterior() -> None:
    theirs = torch.tensor([[math.log(3.0), 0.0, -1e9], [0.0, 0.0, 0.0]])
    ours = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 5.0]])  # agrees on the first row only
    found = diagnose({}, torch.zeros(2, 2), batch(theirs), ours, [1.0])
    assert found == {"agreement": 0.5, "teacher_posterior": pytest.approx((0.75 + 1 / 3) / 2, abs=1e-4)}
    two = diagnose({}, torch.zeros(2, 2), batch(theirs), ours, [1.0, 2.0])
    second = math.sqrt(3) / (math.sqrt(3) + 1)
    assert two["teacher_posterior"] == pytest.approx(((0.75 + second) / 2 + 1 / 3) / 2, abs=1e-4)
    assert "teacher_posterior" not in diagnose({}, torch.zeros(2, 2), batch(theirs), ours, [])


def test_warnings() -> None:
    assert warnings({"gradient_aam": 1.0, "gradient_kd": 0.01, "teacher_posterior": 0.5}) == []
    (line,) = warnings({"gradient_aam": 1.0, "gradient_class": 1e-5})
    assert line.startswith("class is dead: its gradient at the embedding is 1e-05, that of aam 1: ")
    (line,) = warnings({"teacher_posterior": 0.999})
    assert line == "the teacher's posterior of the true speaker is 0.999 on average: raise the temperature"
    (line,) = warnings({"teacher_posterior": 0.01})
    assert line.endswith("lower the temperature")
    assert warnings({"spread": 0.01}) == []
    (line,) = warnings({"spread": 2e-4})
    assert line.startswith("the embedding is collapsed: all segments say nearly the same (spread 0.0002): lower")
