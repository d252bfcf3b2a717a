"""From trials and embeddings to scores: back-end, normalisation by a cohort, calibration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imlkd.corpora.trials.enrolment import read_models
from imlkd.corpora.trials.id_mapping import IdMap
from imlkd.corpora.trials.join import Enrolment, join_check
from imlkd.corpora.trials.lists import BLOCK, Trials, TrialSource
from imlkd.errors import UserError, naming
from imlkd.kaldi_io import FloatArray, read_scp_arrays, read_table
from imlkd.scoring.backend import Backend, Cosine
from imlkd.scoring.calibration import Calibration
from imlkd.scoring.cohort import refuse_shared_speakers, side_statistics, speakers_of
from imlkd.scoring.metrics import Floats, Integers
from imlkd.scoring.normalisation import TOP_K, normalise, refuse_small
from imlkd.scoring.plda_backend import PldaBackend, read_backend
from imlkd.scoring.quality import Quality, read_quality
from imlkd.scoring.score_file import ID_MAP
from imlkd.scoring.speaker_means import mean_vector
from imlkd.scoring.speakers import read_speakers, speakers_by_id
from imlkd.scoring.vectors import stack


@dataclass(frozen=True)
class ScoringOptions:
    """What is done to get a score, and from which files.

    :param plda: folder or file of a PLDA back-end; None: cosine.
    :param mean_scp: embeddings whose mean the cosine subtracts.
    :param models: ``<model> <utterance> ...`` of models with several enrolment utterances.
    :param num_utts: how many utterances each enrolment embedding is the mean of (``num_utts.ark``).
    :param norm: one of ``NORMS``; ``top_k`` of the cohort for ``as``.
    :param norm_stats: folder that keeps the statistics of the cohort.
    :param calibration: what ``imlkd calibrate`` wrote.
    :param utt2spk: of the trials' ids; needed with a cohort or a calibration, to make sure that no speaker is shared.
    :param workers: threads of the comparison with the cohort.
    """

    plda: Path | None = None
    mean_scp: Path | None = None
    models: Path | None = None
    num_utts: Path | None = None
    norm: str = "none"
    cohort_scp: Path | None = None
    cohort_utt2spk: Path | None = None
    top_k: int = TOP_K
    norm_stats: Path | None = None
    calibration: Path | None = None
    utt2spk: tuple[Path, ...] = ()
    utt2dur: tuple[Path, ...] = ()
    magnitude_scp: tuple[Path, ...] = ()
    cohort_stats_scp: tuple[Path, ...] = ()
    workers: int = 1


@dataclass(frozen=True)
class Side:
    """One side of the trials: rows of the back-end by id."""

    ids: dict[str, int]
    rows: Floats

    def index(self, names: list[str]) -> Integers:
        """The row of each name, (T,)."""
        return np.array([self.ids[name] for name in names], dtype=np.int64)


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation against the cohort, (N, 2), by the rows of a side."""

    enroll: FloatArray | None = None
    test: FloatArray | None = None


@dataclass
class Seen:
    """Raw scores so far, and how many of them lie in the range that the calibration was fitted on."""

    total: int = 0
    inside: int = 0


@dataclass(frozen=True)
class Scorer:
    """Scores trials by their ids; made by ``make_scorer``, which has looked at all that can be wrong with them."""

    backend: Backend
    enroll: Side
    test: Side
    norm: str
    statistics: Statistics
    calibration: Calibration | None
    calibration_path: Path | None
    quality: Quality
    seen: Seen = field(default_factory=Seen)

    def scores(self, trials: Trials) -> Floats:
        """Scores (T,) in the order of ``trials``.

        :raises UserError: when the calibration was fitted on scores of another kind.
        """
        found = self.block(trials)
        self.finish()
        return found

    def block(self, trials: Trials) -> Floats:
        """Scores (T,) of some of the trials, in their order."""
        found = np.empty(len(trials))
        for block in _blocks(len(trials)):
            enroll, test = trials.enroll[block], trials.test[block]
            raw = self._raw(enroll, test)
            if self.calibration is not None:
                self.seen.inside += self.calibration.in_range(raw)
                self.seen.total += len(raw)
                raw = self.calibration.apply(raw, enroll, test, self.quality)
            found[block] = raw
        return found

    def finish(self) -> None:
        """UserError when the calibration was fitted on scores of another kind than those so far; forgets them."""
        seen, self.seen.inside, self.seen.total = (self.seen.inside, self.seen.total), 0, 0
        if self.calibration is not None and self.calibration_path is not None:
            self.calibration.refuse_foreign(*seen, self.calibration_path)

    def digest(self) -> str:
        """Of all that decides the scores."""
        told = [self.norm, repr(self.backend), self.calibration.to_json() if self.calibration else ""]
        digest = hashlib.sha256("\n".join([*told, *self.enroll.ids, *self.test.ids]).encode())
        for array in (self.enroll.rows, self.test.rows, self.statistics.enroll, self.statistics.test):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        if self.calibration is not None and self.calibration.quality:
            digest.update(repr({name: dict(values) for name, values in self.quality.measures.items()}).encode())
        return digest.hexdigest()

    def _raw(self, enroll: list[str], test: list[str]) -> Floats:
        left, right = self.enroll.index(enroll), self.test.index(test)
        scores = self.backend.score(self.enroll.rows[left], self.test.rows[right])
        of_enroll = None if self.statistics.enroll is None else (self.statistics.enroll, left)
        of_test = None if self.statistics.test is None else (self.statistics.test, right)
        return normalise(scores, self.norm, of_enroll, of_test)


def make_scorer(
    trials: TrialSource, enroll_scp: Path, test_scp: Path, options: ScoringOptions, id_map: IdMap | None = None
) -> Scorer:
    """Read all that ``options`` name, check that it belongs together, and compare both sides with the cohort.

    :param id_map: how ids of the list are looked up in tables that spell them otherwise.
    :raises UserError: for missing ids, unusable embeddings, shared speakers, a cohort that is too small, and what the
        readers refuse.
    """
    id_map = id_map or IdMap()
    backend, trained_on = _read_backend(options)
    speakers = _speakers(trials, options, id_map)
    if speakers is not None and options.plda is not None:
        refuse_shared_speakers(trained_on, speakers, options.plda, "the training set of the back-end")
    calibration = _read_calibration(trials, speakers, options)
    enroll_vectors = read_scp_arrays(enroll_scp)
    test_vectors = enroll_vectors if test_scp == enroll_scp else read_scp_arrays(test_scp)
    models = None if options.models is None else read_models(options.models)[0]
    if models is not None:
        models = id_map.extend(models, trials.enroll, str(options.models))
    enroll_vectors, test_vectors = _respelt(trials, enroll_vectors, test_vectors, models, id_map, enroll_scp, test_scp)
    source = " and ".join(dict.fromkeys([str(options.models or enroll_scp), str(test_scp)]))
    known = enroll_vectors.keys() if models is None else models.keys()
    enrolment = None if models is None else Enrolment(models, enroll_vectors.keys(), str(enroll_scp))
    join_check(trials, known, test_vectors.keys(), source, ID_MAP, enrolment)
    alike = enroll_vectors is test_vectors and models is None and options.num_utts is None
    names = list(dict.fromkeys(trials.enroll + trials.test if alike else trials.test))
    with naming(test_scp):
        test = _side(names, backend.test(stack(test_vectors, names)))
    if alike and isinstance(backend, Cosine):
        enroll = test  # the same rows, once
    else:
        with naming(enroll_scp):
            enroll = _enroll_side(names if alike else trials.enroll, backend, enroll_vectors, models, options, id_map)
    del enroll_vectors, test_vectors
    _refuse_widths(enroll.rows, test.rows, f"{enroll_scp} and {test_scp}")
    statistics = _statistics(backend, enroll, test, alike, speakers, options)
    quality = read_quality(options.utt2dur, options.magnitude_scp, options.cohort_stats_scp)
    quality = quality.respelt([*trials.enroll, *trials.test], id_map)
    quality = _with_cohort_means(quality, enroll, test, statistics)
    return Scorer(backend, enroll, test, options.norm, statistics, calibration, options.calibration, quality)


def _respelt(
    trials: TrialSource,
    enroll: dict[str, FloatArray],
    test: dict[str, FloatArray],
    models: Mapping[str, list[str]] | None,
    id_map: IdMap,
    enroll_scp: Path,
    test_scp: Path,
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Embeddings of both sides, one mapping where they come from one file, also by the ids of the list."""
    names = trials.enroll if models is None else [one for name in trials.enroll for one in models.get(name, ())]
    if enroll is test:
        both = id_map.extend(enroll, [*names, *trials.test], str(enroll_scp))
        return both, both
    return id_map.extend(enroll, names, str(enroll_scp)), id_map.extend(test, trials.test, str(test_scp))


def _read_backend(options: ScoringOptions) -> tuple[Backend, tuple[str, ...]]:
    mean = None if options.mean_scp is None else mean_vector(read_scp_arrays(options.mean_scp)).astype(np.float64)
    if options.plda is None:
        return Cosine(mean), ()
    if mean is not None:
        raise UserError(f"{options.mean_scp}: --mean-scp is the cosine's: a PLDA back-end has a mean.vec of its own")
    backend: PldaBackend = read_backend(options.plda)
    return backend, backend.speakers


def _speakers(trials: TrialSource, options: ScoringOptions, id_map: IdMap) -> set[str] | None:
    if not options.utt2spk:
        if options.norm != "none" or options.calibration is not None:
            what = f"--norm {options.norm}" if options.norm != "none" else "--calibration"
            raise UserError(f"{what} needs --utt2spk of the trials, to make sure that no speaker is on both sides")
        return None
    source = ", ".join(map(str, options.utt2spk))
    known = speakers_by_id(trials, read_speakers(options.utt2spk), options.models, id_map)
    return speakers_of(trials.enroll + trials.test, known, source)


def _read_calibration(trials: TrialSource, speakers: set[str] | None, options: ScoringOptions) -> Calibration | None:
    if options.calibration is None:
        return None
    calibration = Calibration.read(options.calibration)
    calibration.refuse(trials, speakers or (), options.calibration)
    return calibration


def _enroll_side(
    ids: list[str],
    backend: Backend,
    vectors: Mapping[str, FloatArray],
    models: Mapping[str, list[str]] | None,
    options: ScoringOptions,
    id_map: IdMap,
) -> Side:
    names = list(dict.fromkeys(ids))
    weights = None if options.num_utts is None else _counts(options.num_utts)
    if weights is not None:
        weights = id_map.extend(weights, names, str(options.num_utts))
    if models is None:
        weight = [1] if weights is None else [_count(weights, name, options) for name in names]
        return _side(names, backend.models(stack(vectors, names), None, weight))
    utterances = [(row, one) for row, name in enumerate(names) for one in models[name]]
    index = np.array([row for row, _ in utterances], dtype=np.int64)
    return _side(names, backend.models(stack(vectors, [one for _, one in utterances]), index))


def _counts(path: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, text in read_table(path, fields=2).items():
        if not text.isdecimal() or not int(text):
            raise UserError(f"{path}: {name}: {text!r} is no number of utterances: mend the line")
        counts[name] = int(text)
    return counts


def _count(counts: Mapping[str, int], name: str, options: ScoringOptions) -> int:
    if name not in counts:
        raise UserError(f"{options.num_utts}: {name} is not there: does it belong to the enrolment embeddings?")
    return counts[name]


def _side(names: list[str], rows: Floats) -> Side:
    usable = rows.any(axis=1)
    if not usable.all():
        raise UserError(
            f"{names[int(np.argmin(usable))]}: embedding has no length (equal to the subtracted mean, or averaged to "
            "zero): extract it again, or take the trial out"
        )
    return Side({name: row for row, name in enumerate(names)}, rows)


def _statistics(
    backend: Backend, enroll: Side, test: Side, alike: bool, speakers: set[str] | None, options: ScoringOptions
) -> Statistics:
    """Each side against the cohort.

    Where both sides are single embeddings of one file (``alike``) they hold the same ids, and every back-end is
    symmetric: then each embedding is compared once.
    """
    if options.norm == "none":
        return Statistics()
    if options.cohort_scp is None or options.cohort_utt2spk is None:
        raise UserError(f"--norm {options.norm} needs --cohort-scp and --cohort-utt2spk: the training set's, say")
    cohort = read_scp_arrays(options.cohort_scp)
    members = speakers_of(cohort, read_table(options.cohort_utt2spk, fields=2), str(options.cohort_utt2spk))
    refuse_shared_speakers(members, speakers or (), options.cohort_scp, "the cohort")
    top_k = options.top_k if options.norm == "as" else None
    refuse_small(len(cohort), top_k, options.cohort_scp)
    with naming(options.cohort_scp):
        vectors = stack(cohort)
    _refuse_widths(backend.test(vectors[:1]), test.rows, f"{options.cohort_scp} and the trials")
    as_models, as_tests = (backend.dot_rows(rows) for rows in (backend.models(vectors), backend.test(vectors)))

    def of(side: Side, members: FloatArray, label: str) -> FloatArray:
        cache, dot_rows = options.norm_stats, backend.dot_rows
        return side_statistics(list(side.ids), side.rows, members, top_k, label, cache, dot_rows, options.workers)

    if alike and options.norm in ("s", "as"):
        found = of(test, as_models, "both")
        return Statistics(found, found)
    return Statistics(
        of(enroll, as_tests, "enroll") if options.norm != "t" else None,
        of(test, as_models, "test") if options.norm != "z" else None,
    )


def _refuse_widths(one: Floats, other: Floats, places: str) -> None:
    """Where the back-end itself takes any dimension."""
    if one.shape[1] != other.shape[1]:
        raise UserError(
            f"{places}: embeddings of {one.shape[1]} and of {other.shape[1]} dimensions: do they come from the same "
            "model?"
        )


def _with_cohort_means(quality: Quality, enroll: Side, test: Side, statistics: Statistics) -> Quality:
    """Of a normalisation in this run, the means are the measure, unless a file gives them."""
    if "cohort_mean" in quality.measures:
        return quality
    means: dict[str, float] = {}
    for side, values in ((enroll, statistics.enroll), (test, statistics.test)):
        if values is not None:
            means.update(zip(side.ids, values[:, 0].tolist(), strict=True))
    return Quality({**quality.measures, "cohort_mean": means}) if means else quality


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        yield slice(start, start + BLOCK)
