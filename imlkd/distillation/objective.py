"""The whole loss of a step: AAM on the plain input plus the method's named terms."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imlkd.config import load_config
from imlkd.distillation.alignment import in_full
from imlkd.distillation.batch import DistillationBatch, View, split_output
from imlkd.distillation.class_sampling import sampled
from imlkd.distillation.combined import Combined
from imlkd.distillation.diagnosis import diagnose, spread
from imlkd.distillation.margin import aam_loss
from imlkd.distillation.method import Method
from imlkd.distillation.methods.at import At, AtConfig
from imlkd.distillation.methods.dkd import Dkd, DkdConfig
from imlkd.distillation.methods.emb_cos import EmbCos, EmbCosConfig
from imlkd.distillation.methods.emb_mse import EmbMse, EmbMseConfig
from imlkd.distillation.methods.enskd import Enskd, EnskdConfig
from imlkd.distillation.methods.fitnets import Fitnets, FitnetsConfig
from imlkd.distillation.methods.ig_match import IgMatch, IgMatchConfig
from imlkd.distillation.methods.imlkd import Imlkd, ImlkdConfig
from imlkd.distillation.methods.interkd import Interkd, InterkdConfig
from imlkd.distillation.methods.iusp import Iusp, IuspConfig
from imlkd.distillation.methods.kd import Kd, KdConfig
from imlkd.distillation.methods.mlkd_noisy import MlkdNoisy, MlkdNoisyConfig
from imlkd.distillation.methods.mlld import Mlld, MlldConfig
from imlkd.distillation.methods.mlxv import Mlxv, MlxvConfig
from imlkd.distillation.methods.mvq import Mvq, MvqConfig
from imlkd.distillation.methods.no_teacher import NoTeacher, NoTeacherConfig
from imlkd.distillation.methods.oskdft import Oskdft, OskdftConfig
from imlkd.distillation.methods.rkd import Rkd, RkdConfig
from imlkd.distillation.methods.sp import Sp, SpConfig
from imlkd.distillation.methods.vickd import Vickd, VickdConfig
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput

Encode = Callable[[Tensor, Tensor], SpeakerOutput]

METHODS: Mapping[str, tuple[type[Any], type[Any]]] = {
    "none": (NoTeacher, NoTeacherConfig),
    "kd": (Kd, KdConfig),
    "imlkd": (Imlkd, ImlkdConfig),
    "dkd": (Dkd, DkdConfig),
    "enskd": (Enskd, EnskdConfig),
    "mlld": (Mlld, MlldConfig),
    "interkd": (Interkd, InterkdConfig),
    "emb-mse": (EmbMse, EmbMseConfig),
    "emb-cos": (EmbCos, EmbCosConfig),
    "vickd": (Vickd, VickdConfig),
    "rkd": (Rkd, RkdConfig),
    "sp": (Sp, SpConfig),
    "mlxv": (Mlxv, MlxvConfig),
    "at": (At, AtConfig),
    "fitnets": (Fitnets, FitnetsConfig),
    "iusp": (Iusp, IuspConfig),
    "mlkd-noisy": (MlkdNoisy, MlkdNoisyConfig),
    "mvq": (Mvq, MvqConfig),
    "oskdft": (Oskdft, OskdftConfig),
    "ig-match": (IgMatch, IgMatchConfig),
}


def build_method(name: str, config_path: Path | None = None, overrides: list[str] | None = None) -> Method:
    """The method called ``name`` with its configuration; ``NAME+NAME`` puts methods together.

    Of a combination each part has a section of its own name in the file and in front of an override (``kd.weight=2``).

    :raises UserError: for an unknown name (with the nearest one), or parts that align the same thing.
    """
    names = name.split("+")
    for part in names:
        check_method_name(part)
    if len(names) == 1:
        method, config = METHODS[name]
        built: Method = method(load_config(config, config_path, overrides or []))
        return built
    if len(set(names)) < len(names):
        raise UserError(f"method {name!r} names a part twice: name it once")
    sections = load_config(combined_config(names), config_path, overrides or [])
    parts = {part: METHODS[part][0](getattr(sections, part.replace("-", "_"))) for part in names}
    combined = Combined(parts)
    combined.config = sections
    return combined


def check_method_name(name: str) -> None:
    """UserError, with the nearest name, for a method that there is not."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(METHODS)}"
        raise UserError(f"unknown method {name!r}: {hint}")


def combined_config(names: list[str]) -> type[Any]:
    """A dataclass with a section for each part, ``-`` in its name as ``_``."""
    fields = [(name.replace("-", "_"), METHODS[name][1], field(default_factory=METHODS[name][1])) for name in names]
    return make_dataclass("CombinedConfig", fields, frozen=True)


class Objective(nn.Module):
    """``label_weight`` * AAM(x) + ramp * sum of the method's terms.

    All views go through the student as one batch, so that they share batch statistics. While ``watching``, a step also
    leaves in ``diagnosis`` how its terms compare (`distillation/diagnosis.py`).
    """

    def __init__(self, method: Method, margin: float, scale: float) -> None:
        super().__init__()
        self.method, self.margin, self.scale = method, margin, scale
        self.top_k, self.top_k_margin = 0, 0.0
        self.label_weight = 1.0
        self.reduced: torch.dtype | None = None
        """What the network runs in, where it is not float32; head and terms are float32 all the same."""
        self.share = 1.0
        """Of the classes that a step sees (`distillation/class_sampling.py`)."""
        self.encode: Encode | None = None
        """The network compiled; None: as it is."""
        self.watching = False
        self.diagnosis: dict[str, float] = {}

    def forward(
        self, model: SpeakerModel, batch: DistillationBatch, ramp: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss to minimise and its terms by name (``aam`` first)."""
        batch, classes = sampled(batch, model.head, self.share)
        inputs = self.method.views(batch, model)
        if self.method.needs.input_gradient:
            inputs = [features.detach().requires_grad_() for features in inputs]
        features = torch.cat(inputs)
        output = self._answer(model, features, classes)
        views = self._views(inputs, output)
        labelled = views[: self.method.labelled_views]
        margins = [self._aam(view, batch) for view in labelled]
        aam = margins[0] if len(margins) == 1 else torch.stack(margins).mean()
        aam = self.label_weight * aam
        own = self.method.terms(batch, views)
        if self.watching:
            found = diagnose(
                {"aam": aam, **own}, output.embedding, batch, views[0].logits, self.method.temperatures,
                output.stages[-1],
            )  # fmt: skip
            self.diagnosis = found | {"spread": spread(output.embedding)}
        terms = {"aam": aam, **{name: ramp * term for name, term in own.items()}}
        return torch.stack(list(terms.values())).sum(), terms

    def _answer(self, model: SpeakerModel, features: Tensor, classes: Tensor | None) -> SpeakerOutput:
        """The student's answer; its cosines are those to ``classes``, or to all."""
        lengths = torch.full((len(features),), features.shape[1], device=features.device)
        with torch.autocast(features.device.type, self.reduced, enabled=self.reduced is not None):
            output = (self.encode or model.encode)(features, lengths)
        stages = [in_full(stage) for stage in output.stages]
        embedding = in_full(output.embedding)
        cosines = None if model.head is None else model.head(embedding, classes)
        return SpeakerOutput(stages, in_full(output.pooled), embedding, cosines)

    def _aam(self, view: View, batch: DistillationBatch) -> Tensor:
        cosines = _cosines(view.output)
        return aam_loss(cosines, batch.labels, self.margin, self.scale, self.top_k, self.top_k_margin)

    def _views(self, inputs: list[Tensor], output: SpeakerOutput) -> list[View]:
        parts = split_output(output, len(inputs[0]))
        return [View(own, part, self.scale * _cosines(part)) for own, part in zip(inputs, parts, strict=True)]


def _cosines(output: SpeakerOutput) -> Tensor:
    assert output.cosines is not None, "the student has no head"
    return output.cosines
