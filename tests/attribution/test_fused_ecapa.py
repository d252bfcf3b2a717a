"""An ECAPA-TDNN as products over rows: values and gradients of the network that it stands for, in every precision."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from imlkd.attribution.fused_ecapa import FusedEcapa, fits
from imlkd.attribution.gradients import TeacherFunction
from imlkd.attribution.quantities import TargetCosine
from imlkd.features.fbank import FbankConfig
from imlkd.models.layers import FrameLayer
from imlkd.models.networks import build_network
from imlkd.models.speaker_model import SpeakerModel
from tests.attribution.engine_models import SMALL, features_of, model_of


def explained(model: SpeakerModel, points: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
    points = points.clone().requires_grad_()
    cosines = model(points, torch.tensor(lengths)).cosines[:, 1]
    return cosines.detach(), torch.autograd.grad(cosines.sum(), points)[0]


def negated(model: SpeakerModel) -> SpeakerModel:
    """Every third channel of each batch norm with a negative gain."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, FrameLayer):
            module.norm.weight[::3] *= -1
    return model


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("lengths", [[60, 60, 60], [60, 31, 44]])
def test_values_and_gradients_are_the_networks(lengths: list[int], negative: bool) -> None:
    plain = negated(model_of("ecapa")) if negative else model_of("ecapa")
    fused = FusedEcapa(copy.deepcopy(plain))
    points = torch.stack([features_of(plain, 60, seed=i) for i in range(3)])
    expected, found = (explained(model, points, lengths) for model in (plain, fused))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)
    assert not found[1][1, lengths[1] :].any()


def test_a_recording_of_constant_frames_has_a_gradient() -> None:
    """The floor of the deviations holds there, as in the network."""
    plain = model_of("ecapa")
    points = features_of(plain, 1).expand(1, 30, -1)
    expected, found = (explained(model, points, [30]) for model in (plain, FusedEcapa(copy.deepcopy(plain))))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_the_engine_takes_it_where_it_fits_and_rounds_little() -> None:
    model = copy.deepcopy(model_of("ecapa")).float()
    function = TeacherFunction(model, TargetCosine())
    assert isinstance(function.model, FusedEcapa)
    points = torch.stack([features_of(model, 60, seed=i) for i in range(4)]).float()
    rows = (torch.full((4,), 60), torch.tensor([0, 1, 2, 0]))
    (values, full), (rounded, half) = (function.gradient(points.clone(), *rows, half=h) for h in (False, True))
    torch.testing.assert_close(values, function.values(points, *rows), rtol=1e-5, atol=1e-6)
    assert not torch.equal(full, half) and half.dtype == torch.float32
    torch.testing.assert_close(rounded, values, rtol=0, atol=0.02)
    assert torch.corrcoef(torch.stack([full.flatten(), half.flatten()]))[0, 1] > 0.99


@pytest.mark.parametrize("change", [{"padding": "reflect"}, {"context": False}, {"rectified": False}])
def test_other_forms_of_the_network_are_left_alone(change: dict[str, object]) -> None:
    other = build_network(replace(SMALL["ecapa"], **change), FbankConfig(num_mel_bins=12))
    assert fits(model_of("ecapa")) and not fits(other) and not fits(model_of("tdnn"))
    assert not isinstance(TeacherFunction(other.eval(), TargetCosine()).model, FusedEcapa)
