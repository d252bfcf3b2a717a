"""Methods put together (`imlkd+ig-match`), and methods with a second view of the student's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple

import torch
from torch import Tensor, nn

from imlkd.distillation.augmented import masked
from imlkd.distillation.batch import DistillationBatch, View
from imlkd.distillation.method import Method, Needs, Widths
from imlkd.errors import UserError
from imlkd.models.speaker_model import SpeakerModel


class Combined(Method):
    """Several methods side by side; each hears the plain view and its own further ones.

    :param methods: by name; UserError when two of them align the same thing, which would count one term twice.
    """

    def __init__(self, methods: Mapping[str, Method]) -> None:
        super().__init__()
        self.names = list(methods)
        self.methods = nn.ModuleList(methods.values())
        owner: dict[str, str] = {}
        if single := next((name for name, method in methods.items() if method.alone), None):
            raise UserError(f"{'+'.join(methods)}: {single} cannot be put together with other methods: take it alone")
        for name, method in methods.items():
            for what in sorted(method.aligns & owner.keys()):
                raise UserError(f"{'+'.join(methods)}: {owner[what]} and {name} both align {what}: take one of them")
            owner |= dict.fromkeys(method.aligns, name)
        self.needs = Needs(*(any(values) for values in zip(*(_flags(m.needs) for m in methods.values()), strict=True)))
        self.aligns = frozenset(owner)
        self.all_classes = any(method.all_classes for method in methods.values())

    @property
    def temperatures(self) -> list[float]:
        return [tau for method in self._each() for tau in method.temperatures]

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        for method in self._each():
            method.prepare(student, teacher, classes)

    def fit(self, sample: Callable[[int], Tensor]) -> None:
        for method in self._each():
            method.fit(sample)

    def views(self, batch: DistillationBatch, model: SpeakerModel) -> list[Tensor]:
        further = [method.views(batch, model)[1:] for method in self._each()]
        self.counts = [len(own) for own in further]
        return [batch.features, *(view for own in further for view in own)]

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        """Each method's terms; a name that two of them use carries the method's in front."""
        terms: dict[str, Tensor] = {}
        start = 1
        for name, method, count in zip(self.names, self._each(), self.counts, strict=True):
            own = method.terms(batch, [views[0], *views[start : start + count]])
            terms |= {key if key not in terms else f"{name}_{key}": value for key, value in own.items()}
            start += count
        return terms

    def _each(self) -> list[Method]:
        return [method for method in self.methods if isinstance(method, Method)]


def _flags(needs: Needs) -> tuple[bool, ...]:
    return astuple(needs)


class TwoViews(Method):
    """A method of one view, taken on the plain and on a masked view alike: terms and AAM are means over both.

    So that it can be compared at equal student passes with methods that have two views of their own.
    """

    labelled_views = 2

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.needs, self.aligns, self.all_classes = method.needs, method.aligns, method.all_classes

    @property
    def temperatures(self) -> list[float]:
        return self.method.temperatures

    def prepare(self, student: Widths, teacher: Widths | None, classes: int) -> None:
        self.method.prepare(student, teacher, classes)

    def fit(self, sample: Callable[[int], Tensor]) -> None:
        self.method.fit(sample)

    def views(self, batch: DistillationBatch, model: SpeakerModel) -> list[Tensor]:
        """UserError when the method has further views of its own."""
        own = self.method.views(batch, model)
        if len(own) > 1:
            raise UserError("views: 2 is for methods of one view: this one has further views of its own (views: 1)")
        return [*own, masked(batch.features)]

    def terms(self, batch: DistillationBatch, views: list[View]) -> dict[str, Tensor]:
        each = [self.method.terms(batch, [view]) for view in views]
        return {name: torch.stack([terms[name] for terms in each]).mean() for name in each[0]}
