"""Can a map be believed? A corpus is taken apart in the order of its maps, and the model is asked at every step.

For each duration the middle of each tested utterance is explained; its frames (or bins) are inserted and deleted in
the order of the maps, of energy and of chance (``perturbation``, ``orders``). What is kept of the model's answers:

- identification: the cosine to the own class, and how many classes are nearer. Classes are the model's head, or the
  classes at hand: mean embeddings of utterances that are not tested;
- verification: the scores of a trial list, its test side taken apart and its enrolment side untouched.

Curves, areas and intervals over speakers are for ``areas``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imlkd.attribution.convergence import Convergence
from imlkd.attribution.orders import ENERGY, RANDOM, MapOrder, energy_scores, random_scores
from imlkd.attribution.perturbation import FRACTIONS, MODES, ROWS, Probe, answers, ranks
from imlkd.attribution.subject import Subject
from imlkd.corpora.trials.lists import Trials
from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.kaldi_io import FloatArray, sort_ids
from imlkd.models.speaker_model import SpeakerOutput
from imlkd.progress import Progress

CLASSES = ("auto", "head", "data")
TOGETHER = 16  # utterances whose maps are in memory together


@dataclass(frozen=True)
class Measured:
    """A model's answers at one duration. O orders, 2 modes (``MODES``), Q fractions (``FRACTIONS``).

    :param maps: how many of the orders, the first ones, are those of maps.
    :param utterances: U tested ones, at least as long as the duration.
    :param cosine: (U, O, 2, Q) to the own class; ``nearer``: (U, O, 2, Q) how many classes are nearer.
    :param agreement: (O, O) rank correlation (Spearman) of the orders, mean over the utterances.
    :param completeness: of each map's order.
    :param scores: (trials, O, 2, Q), in the order of ``trials``; None without a trial list.
    """

    seconds: float
    orders: tuple[str, ...]
    maps: int
    utterances: list[str]
    cosine: FloatArray
    nearer: FloatArray
    agreement: FloatArray
    completeness: dict[str, Convergence]
    trials: Trials | None
    scores: FloatArray | None


def choose_tested(utt2spk: Mapping[str, str], per_speaker: int, enrol: bool, seed: int) -> list[str]:
    """Utterances to take apart, drawn speaker by speaker.

    :param per_speaker: at most so many of each speaker; 0: no limit.
    :param enrol: leave at least half of each speaker's utterances to its class; a speaker of one has none tested.
    :param seed: of the draws; a speaker's does not depend on the others.
    """
    of_speaker: dict[str, list[str]] = {}
    for name in sort_ids(utt2spk):
        of_speaker.setdefault(utt2spk[name], []).append(name)
    chosen: list[str] = []
    for speaker, names in of_speaker.items():
        most = len(names) // 2 if enrol else len(names)
        order = np.random.default_rng([seed, zlib.crc32(speaker.encode())]).permutation(len(names))
        chosen += [names[i] for i in order[: min(per_speaker or most, most)]]
    if not chosen:
        raise UserError("no speaker has two utterances, one for its class and one to test: take a corpus that has")
    return sort_ids(chosen)


def classes_of(subjects: Sequence[Subject], wanted: str) -> str:
    """``head`` or ``data``, as wanted; ``auto`` is the heads where they know every speaker.

    :raises UserError: when the heads are wanted and lack speakers.
    """
    lacking = sort_ids({speaker for subject in subjects for speaker in subject.unknown_speakers()})
    if wanted == "auto":
        return "data" if lacking else "head"
    if wanted == "head" and lacking:
        raise UserError(
            f"the head does not know {len(lacking)} speakers of the data (first: {' '.join(lacking[:5])}):"
            " test speakers that it was trained on, or take the classes at hand (--classes data)"
        )
    return wanted


def trials_of(trials: Trials, tested: Sequence[str]) -> Trials:
    """The trials whose test side is tested.

    :raises UserError: when no targets or no nontargets are left.
    """
    own = set(tested)
    kept = [i for i, name in enumerate(trials.test) if name in own]
    kinds = trials.is_target[kept]
    if not kinds.any() or kinds.all():
        raise UserError(f"{trials.path}: no targets, or no nontargets, on the tested utterances: raise --per-speaker")
    enroll, test = [trials.enroll[i] for i in kept], [trials.test[i] for i in kept]
    return replace(trials, enroll=enroll, test=test, is_target=kinds)


class FaithfulnessTest:
    """A model that is asked, and the maps whose orders are tried on it.

    :param maps: of the model itself or of others.
    :param fill: baseline that stands in the place of what is hidden.
    :param trials: both sides embedded in the model already.
    :param seed: of the random order.
    :param rows: perturbed inputs at once, which bounds the memory.
    """

    def __init__(
        self,
        model: Subject,
        maps: Sequence[MapOrder],
        fill: str = "mean",
        trials: Trials | None = None,
        seed: int = 0,
        rows: int = ROWS,
    ) -> None:
        self.model, self.maps, self.trials, self.seed, self.rows = model, maps, trials, seed, rows
        self.fill = model.baseline(fill)
        self.unit = maps[0].unit
        self.orders = (*(one.name for one in maps), ENERGY, RANDOM)
        for one in maps:
            dims = one.subject.model.frontend.dim, model.model.frontend.dim
            if self.unit == "bin" and dims[0] != dims[1]:
                raise UserError(f"an order over {dims[0]} bins on a model of {dims[1]}: take frames (--unit frame)")

    def measure(self, tested: Sequence[str], seconds: float, progress: Progress) -> Measured:
        """Take the tested utterances apart at one duration; those that are shorter are passed over.

        :raises UserError: when none is as long.
        """
        segments = [s for name in tested if (s := self.model.centre(name, seconds)) is not None]
        if not segments:
            raise UserError(f"none of {len(tested)} tested utterances is {seconds:g} s long: lower --durations")
        for one in self.maps:
            one.engine.convergence = replace(one.engine.convergence, errors={}, nodes={}, gradients=0)
        trials = trials_of(self.trials, [segment.utterance for segment in segments]) if self.trials else None
        of_test = _places(trials.test if trials else ())
        shape = (len(self.orders), len(MODES), len(FRACTIONS))
        cosine, nearer = (np.zeros((len(segments), *shape), np.float32) for _ in range(2))
        scores = np.zeros((len(trials), *shape), np.float32) if trials else None
        agreement = torch.zeros(len(self.orders), len(self.orders), dtype=torch.float64)
        for row, (segment, orders, embeddings) in enumerate(self._taken_apart(segments)):
            cosine[row], nearer[row] = self._identified(segment, embeddings)
            own = of_test.get(segment.utterance)
            if own and trials and scores is not None:
                scores[own] = self._scored([trials.enroll[i] for i in own], embeddings)
            agreement += torch.corrcoef(torch.stack(orders).flatten(1).double()) / len(segments)
            progress.update()
        complete = {one.name: one.engine.convergence for one in self.maps}
        names = [segment.utterance for segment in segments]
        found = (seconds, self.orders, len(self.maps), names, cosine, nearer, agreement.float().numpy(), complete)
        return Measured(*found, trials, scores)

    def _taken_apart(self, segments: Sequence[Segment]) -> Iterator[tuple[Segment, list[Tensor], Tensor]]:
        """Segments, ranks of their units, and embeddings of what is left of them, (orders, modes, fractions, D)."""
        waiting = iter(segments)
        while batch := list(islice(waiting, TOGETHER)):
            by_maps = [one.scores(batch) for one in self.maps]
            for i, segment in enumerate(batch):
                features = self.model.features(segment)
                probe = Probe(features, self.fill(features, segment.frames), segment.frames)
                energy = energy_scores(features[: segment.frames], self.unit)
                controls = energy, random_scores(energy.shape, self.seed, segment.id)
                orders = [ranks(scores) for scores in (*(one[i] for one in by_maps), *controls)]
                yield segment, orders, answers(self.model.model, probe, orders, unit_embedding, rows=self.rows)

    def _identified(self, segment: Segment, embeddings: Tensor) -> tuple[FloatArray, FloatArray]:
        """Cosine to the own class and number of nearer ones, (orders, modes, fractions) each."""
        head = self.model.model.head
        assert head is not None
        cosines = head(embeddings.flatten(0, 2)).view(*embeddings.shape[:3], -1)
        own = cosines[..., head.speakers.index(self.model.utt2spk[segment.utterance])]
        return own.numpy(), (cosines > own[..., None]).sum(-1).float().numpy()

    def _scored(self, enrolments: list[str], embeddings: Tensor) -> FloatArray:
        """(enrolments, orders, modes, fractions) cosines."""
        enrolled = torch.stack([self.model.embeddings[name] for name in enrolments])
        scores: FloatArray = torch.einsum("nd,omqd->nomq", enrolled, embeddings).numpy()
        return scores


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Where each name stands."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        found.setdefault(name, []).append(index)
    return found


def unit_embedding(output: SpeakerOutput) -> Tensor:
    """(R, D) of unit length."""
    return functional.normalize(output.embedding)
