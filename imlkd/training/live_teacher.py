"""The teacher beside the student in stage 4, for methods that need more of it than stage 3 left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imlkd.distillation.method import Method, Widths
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.features.speech import PartReader
from imlkd.models.fbank_model import FbankModel
from imlkd.models.networks import NetworkSettings, name_of
from imlkd.models.speaker_model import SpeakerModel, SpeakerOutput
from imlkd.models.store import DESCRIPTION, load_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.training.sampling import Indices, SegmentPool

ADAPTERS = 8  # channels over those inside an adapter, where the settings don't say
ROWS = 32  # segments that the teacher hears at once before the training


class LiveTeacher:
    """A frozen teacher that hears the student's features, or, with features of its own, the same crops of the audio.

    :param folder: the teacher's.
    :param fbank: the student's front-end.
    :param data_dir: where the audio is.
    :param device: where it computes.
    :param allow_pipes: whether commands of wav.scp may run.
    :raises UserError: when there is no teacher, or it has no stages.
    """

    def __init__(
        self, folder: Path, fbank: FbankConfig, data_dir: Path, device: torch.device | None = None,
        allow_pipes: bool = False,
    ) -> None:  # fmt: skip
        if not (folder / DESCRIPTION).is_file():
            raise UserError(f"{folder}: holds no teacher, whose stages the method needs: keep targets in its folder")
        model = load_model(folder)
        if not model.has_stages:
            raise UserError(
                f"{folder}: this teacher has no stages inside that could be aligned with the student's:"
                " take a method of logits or embeddings (imlkd methods)"
            )
        self.model = model.to(device or "cpu").eval().requires_grad_(False)
        shares = isinstance(model, FbankModel) and model.fbank == fbank
        self.speech = None if shares else PartReader(data_dir, model.frontend.sample_rate, allow_pipes)

    @torch.no_grad()
    def answer(self, features: Tensor) -> SpeakerOutput:
        """(B, T, F) of its own front-end -> stages, pooled, embedding, on the teacher's device."""
        features = features.to(next(self.model.parameters()).device)
        return self.model.encode(features, torch.full((len(features),), features.shape[1]))

    def hear(self, pool: SegmentPool, chosen: Indices, crops: Tensor) -> SpeakerOutput:
        """Its answer to segments of one duration, which it hears clean.

        :param crops: (B, T, F), what the student hears of them.
        """
        if self.speech is None:
            return self.answer(pool.clean_crops(chosen, crops))
        segments = [pool.segments[i] for i in chosen]
        features = torch.stack([self.model.frontend(self.speech.segment(segment)) for segment in segments])
        output = self.answer(features)
        share = segments[0].frames / max(segments[0].frames, features.shape[1])  # a front-end's padding lies behind
        output.stages = [stage[:, :, : max(1, round(share * stage.shape[2]))] for stage in output.stages]
        return output


def last_stages(teacher: LiveTeacher, pool: SegmentPool, seed: int, count: int) -> Tensor:
    """The teacher's last stage, (count, C, T), for drawn segments of the commonest duration, or for all it has."""
    durations, numbers = np.unique(pool.durations, return_counts=True)
    own = np.flatnonzero(pool.durations == durations[numbers.argmax()])
    chosen = np.random.default_rng(seed).permutation(own)[:count]
    rows = [chosen[i : i + ROWS] for i in range(0, len(chosen), ROWS)]
    return torch.cat([teacher.hear(pool, own, pool.crops(own)).stages[-1] for own in rows]).float()


def with_adapters(network: NetworkSettings, method: Method) -> NetworkSettings:
    """The student's settings, with adapters where the method is about them and the settings have none.

    :raises UserError: when the student is of a kind that takes none.
    """
    if not method.needs.adapters:
        return network
    if not isinstance(network, TdnnConfig):
        raise UserError(f"model: {name_of(network)}: takes no adapters, which the method is about: take tdnn")
    return network if network.adapters else replace(network, adapters=ADAPTERS)


@torch.no_grad()
def widths_of(model: SpeakerModel, features: Tensor) -> Widths:
    """Channels that ``model`` gives for a few rows (B, T, F); leaves its statistics alone."""
    training = model.training
    output = model.eval().encode(features, torch.full((len(features),), features.shape[1]))
    model.train(training)
    return Widths.of(output)


def prepare_method(
    method: Method, student: SpeakerModel, teacher: LiveTeacher | None, embedding: int | None, features: Tensor,
    heard: SpeakerOutput | None = None,
) -> None:  # fmt: skip
    """Give ``method`` the widths it makes its projections from.

    :param embedding: values of the teacher's embedding where the teacher itself is not at hand.
    :param heard: the teacher's answer to the same rows, where it hears features of its own.
    """
    theirs = Widths(embedding) if embedding is not None else None
    if teacher is not None:
        theirs = Widths.of(heard or teacher.answer(features))
    classes = 0 if student.head is None else len(student.head.speakers)
    method.prepare(widths_of(student, features), theirs, classes)
