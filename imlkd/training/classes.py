"""Classes without labels: a class space from the teacher's own embeddings, so that methods of posteriors go with it.

``recordings``: a class for each recording. ``clusters:K``: k-means (scikit-learn) of the unit embeddings of all
utterances, K classes. The teacher's head are the prototypes, the mean unit embedding of each class: nothing is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imlkd.attribution.table_targets import check_covered
from imlkd.config import save_config
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.utterance_classes import TABLE
from imlkd.errors import UserError
from imlkd.features.segments import SegmentsConfig
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import sort_ids, write_table
from imlkd.models.ensemble import Ensemble
from imlkd.models.self_supervised import SelfSupervised
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.store import save_model
from imlkd.models.xvector_table import XvectorTable
from imlkd.progress import Progress
from imlkd.recipe import check_classes
from imlkd.training.imported_teacher import load_teachers

SEED, STARTS = 1, 10  # of k-means: the best of so many starts is taken


@dataclass(frozen=True)
class ClassesConfig:
    """``config.yaml`` of a teacher with classes of its own."""

    teacher: str
    classes: str
    count: int
    utterances: int


def make_classes(
    name: str, weights: Path | None, data_dir: Path, classes: str, folder: Path, progress: Path | None,
    allow_pipes: bool = False, threads: int = 0,
) -> None:  # fmt: skip
    """Leave in ``folder`` the teacher ``name`` with prototypes as its head, and ``utt2class``.

    :param name: as for ``import_teacher``; a teacher that was trained here is ``model:FOLDER``.
    :param classes: ``recordings`` or ``clusters:K``.
    :raises UserError: for an unknown kind of classes, fewer utterances than clusters, or a single class.
    """
    check_classes(classes)
    torch.set_num_threads(threads or torch.get_num_threads())
    model = load_teachers(name, weights)
    data = read_data_dir(data_dir)
    names = sort_ids(data.utt2spk)
    if isinstance(model, XvectorTable):
        lacking = set(check_covered(model, names, SegmentsConfig().max_dropped))
        names = [utterance for utterance in names if utterance not in lacking]
    unit = _unit_embeddings(model, data_dir, names, progress, allow_pipes)
    if classes == "recordings":
        found = [data.recording(utterance) for utterance in names]
    else:
        found = _clusters(unit, int(classes.partition(":")[2]))
    model.head = prototypes(unit, found)
    count = len(model.head.speakers)
    if count < 2:
        raise UserError(f"--classes {classes}: all utterances of {data_dir} are one class: nothing tells them apart")
    write_table(folder / TABLE, dict(zip(names, found, strict=True)))
    save_config(ClassesConfig(name, classes, count, len(names)), folder / "config.yaml")
    save_model(model, folder)
    print(f"classes: {classes}: {count} of {len(names)} utterances, prototypes of {name} are their head", flush=True)


@torch.no_grad()
def _unit_embeddings(
    model: SpeakerModel, data_dir: Path, names: list[str], progress: Path | None, allow_pipes: bool
) -> Tensor:
    """(N, D) of whole utterances; networks that need it learn their scale from the very same utterances."""
    speech = SpeechReader(data_dir, model.frontend.sample_rate, allow_pipes)
    unscaled = [one for one in (model.networks() if isinstance(model, Ensemble) else [model])
                if isinstance(one, SelfSupervised)]  # fmt: skip
    with Progress("embeddings for classes", (1 + len(unscaled)) * len(names), progress) as counted:
        for network in unscaled:
            rows = []
            for name in names:
                features = network.frontend(speech.utterance(name))[None]
                rows.append(network.encode(features, torch.tensor([features.shape[1]])).embedding)
                counted.update()
            network.fit_scale(torch.cat(rows))
        rows = []
        for name in names:
            rows.append(model.embed_utterance(name, speech)[None])
            if not torch.isfinite(rows[-1]).all():
                raise UserError(f"{name}: the teacher's output holds NaN or infinite values")
            counted.update()
    return functional.normalize(torch.cat(rows))


def _clusters(unit: Tensor, count: int) -> list[str]:
    from sklearn.cluster import KMeans

    if count >= len(unit):
        raise UserError(f"--classes clusters:{count}: there are {len(unit)} utterances: give fewer clusters")
    labels = KMeans(count, n_init=STARTS, random_state=SEED).fit_predict(unit.numpy().astype(np.float64))
    digits = len(str(count - 1))
    return [f"cluster-{label:0{digits}d}" for label in labels]


def prototypes(unit: Tensor, classes: list[str]) -> CosineHead:
    """A head of the mean unit embedding of each class, the classes in C order."""
    order = {name: row for row, name in enumerate(sort_ids(set(classes)))}
    rows = torch.tensor([order[name] for name in classes])
    head = CosineHead(unit.shape[1], list(order))
    with torch.no_grad():
        head.weight.copy_(functional.normalize(torch.zeros_like(head.weight).index_add_(0, rows, unit)))
    return head.requires_grad_(False)
