"""The whole loss of a step: AAM on the plain input plus the method's named terms."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imlkd.config import load_config
from imlkd.distillation.batch import DistillationBatch, View, split_output
from imlkd.distillation.margin import aam_loss
from imlkd.distillation.method import Method
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.methods.kd import Kd, KdConfig
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput

METHODS: Mapping[str, tuple[type[Any], type[Any]]] = {
    "none": (NoTeacher, NoTeacherConfig),
    "kd": (Kd, KdConfig),
    "imlkd": (Imlkd, ImlkdConfig),
}


def build_method(name: str, config_path: Path | None, overrides: list[str] | None = None) -> Method:
    """The method called ``name`` with its configuration; UserError offers the nearest name."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(METHODS)}"
        raise UserError(f"unknown method {name!r}: {hint}")
    method, config = METHODS[name]
    built: Method = method(load_config(config, config_path, overrides or []))
    return built


class Objective(nn.Module):
    """AAM(x) + ramp * sum of the method's terms.

    All views go through the student as one batch, so that they share batch statistics.
    """

    def __init__(self, method: Method, margin: float, scale: float) -> None:
        super().__init__()
        self.method, self.margin, self.scale = method, margin, scale

    def forward(
        self, model: SpeakerModel, batch: DistillationBatch, ramp: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss to minimise and its terms by name (``aam`` first)."""
        views = self.heard(model, self.method.views(batch, model))
        labelled = views[: self.method.labelled_views]
        margins = [aam_loss(_cosines(view.output), batch.labels, self.margin, self.scale) for view in labelled]
        terms = {"aam": margins[0] if len(margins) == 1 else torch.stack(margins).mean()}
        for name, term in self.method.terms(batch, views).items():
            terms[name] = ramp * term
        return torch.stack(list(terms.values())).sum(), terms

    def heard(self, model: SpeakerModel, inputs: list[Tensor]) -> list[View]:
        """The student's answer to each of the inputs (B, T, F)."""
        if self.method.needs.input_gradient:
            inputs = [features.detach().requires_grad_() for features in inputs]
        features = torch.cat(inputs)
        output = model(features, torch.full((len(features),), features.shape[1]))
        parts = split_output(output, len(inputs[0]))
        return [View(own, part, self.scale * _cosines(part)) for own, part in zip(inputs, parts, strict=True)]


def _cosines(output: SpeakerOutput) -> Tensor:
    assert output.cosines is not None, "the student has no head"
    return output.cosines
