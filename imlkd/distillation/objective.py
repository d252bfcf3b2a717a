"""The whole loss of a step: AAM on the plain input plus the method's named terms."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imlkd.config import load_config
from imlkd.distillation.batch import DistillationBatch
from imlkd.distillation.margin import aam_loss
from imlkd.distillation.method import Method
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.methods.kd import Kd, KdConfig
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel

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
        views = self.method.views(batch)
        features = torch.cat(views)
        lengths = torch.full((len(features),), features.shape[1])
        cosines = model(features, lengths).cosines
        assert cosines is not None, "the student has no head"
        per_view = list(cosines.split(len(batch.features)))
        terms = {"aam": aam_loss(per_view[0], batch.labels, self.margin, self.scale)}
        for name, term in self.method.terms(batch, [self.scale * view for view in per_view]).items():
            terms[name] = ramp * term
        return torch.stack(list(terms.values())).sum(), terms
