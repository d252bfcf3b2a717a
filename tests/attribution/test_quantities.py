"""What is explained, by hand: cosines, posteriors at a temperature, an enrolment."""

import math

import pytest
import torch

from imlkd.attribution.quantities import QUANTITIES, quantity_of
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerOutput

COSINES = [[0.8, 0.1, -0.5], [0.2, 0.3, 0.25]]
EMBEDDINGS = [[3.0, 4.0], [1.0, 0.0]]
OUTPUT = SpeakerOutput([], torch.zeros(2, 2), torch.tensor(EMBEDDINGS), torch.tensor(COSINES, dtype=torch.float64))
TARGETS = [0, 2]


def posterior(row: int, temperature: float) -> float:
    """Of the row's target, with the scale 30 of training."""
    powers = [math.exp(30 * cosine / temperature) for cosine in COSINES[row]]
    return powers[TARGETS[row]] / sum(powers)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_quantities_by_hand(temperature: float) -> None:
    expected = {
        "cosine": [0.8, 0.25],
        "probability": [posterior(row, temperature) for row in (0, 1)],
        "log-probability": [math.log(posterior(row, temperature)) for row in (0, 1)],
        "enrolment": [0.6 * 2 / 5**0.5 + 0.8 / 5**0.5, 2 / 5**0.5],
    }
    assert set(expected) == set(QUANTITIES)
    for name, values in expected.items():
        targets = torch.tensor([[2.0, 1.0]] * 2) if name == "enrolment" else torch.tensor(TARGETS)
        assert quantity_of(name, temperature)(OUTPUT, targets).tolist() == pytest.approx(values, rel=1e-5)


def test_an_unknown_quantity() -> None:
    with pytest.raises(UserError, match="explained quantity 'loss': expected one of cosine, probability"):
        quantity_of("loss", 1.0)
