"""run.sh's own options: checks, and the folders that they lead to."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from imlkd.errors import UserError
from imlkd.files import make_dir, os_errors
from imlkd.kaldi_io import read_table

LAST_STAGE = 7
PUBLISHED_TEACHERS = ("resemblyzer",)
TEACHERS_IN_FILES = ("speechbrain", "wespeaker", "3dspeaker", "torchaudio", "onnx", "model", "xvectors")
CORPORA = ("minivox", "kaldi", "voxceleb")
BACKENDS = ("cosine", "plda")
SCORE_NORMS = ("none", "z", "t", "s", "as")


def teachers_of(teacher: str, weights: str = "") -> list[tuple[str, str]]:
    """Kind and path of each teacher of ``KIND[:PATH][,KIND[:PATH]...]``; no path: an empty one.

    :param weights: the path of a single one, given apart.
    """
    parts = [one.partition(":") for one in teacher.split(",")]
    return [(kind, path or (weights if len(parts) == 1 else "")) for kind, _, path in parts]


@dataclass(frozen=True)
class ModelFolders:
    """Where the models of a run lie.

    :param labelled: a teacher with speakers as its classes: the teacher itself, or what other classes are made from.
    :param student_prefix: a student's folder without ``_METHOD``.
    """

    teacher: Path
    labelled: Path
    student_prefix: Path
    students: list[Path]

    def to_shell(self) -> str:
        """Assignments for a script: teacher_dir, labelled_dir, student_prefix, and students, an array."""
        values = {"teacher_dir": self.teacher, "labelled_dir": self.labelled, "student_prefix": self.student_prefix}
        lines = [f"{name}={shlex.quote(str(value))}" for name, value in values.items()]
        return "\n".join([*lines, f"students=({shlex.join(map(str, self.students))})"])


def model_folders(
    exp: Path, corpus: str, teacher: str, classes: str, methods: Sequence[str], large_margin: bool = False
) -> ModelFolders:
    """The folders below ``exp``.

    :param teacher: ``own``, a kind, or several as ``KIND:PATH,KIND:PATH``, which are named by their kinds.
    :param large_margin: whether each student has a copy that was fine-tuned with a large margin.
    """
    kinds = "+".join(kind for kind, _ in teachers_of(teacher))
    labelled = exp / (f"{corpus}_teacher" if teacher == "own" else kinds)
    suffix = "" if classes == "speakers" else f"_{classes.replace(':', '')}"
    prefix = exp / f"{corpus}{suffix}"
    ends = ("", "_lm") if large_margin else ("",)
    students = [Path(f"{prefix}_{method}{end}") for method in methods for end in ends]
    return ModelFolders(Path(f"{labelled}{suffix}"), labelled, prefix, students)


def check_classes(classes: str) -> None:
    """UserError unless they are ``speakers``, ``recordings`` or ``clusters:K`` of two or more."""
    kind, _, count = classes.partition(":")
    if classes in ("speakers", "recordings"):
        return
    if kind != "clusters" or not count.isdecimal() or int(count) < 2:
        raise UserError(f"--classes {classes}: give speakers, recordings, or clusters:K with K 2 or more")


def check_stages(corpus: str, stage: str, stop_stage: str, nj: str, bootstrap: str = "1000") -> None:
    """UserError for an unknown corpus, a stage out of range, or a number of jobs or draws that is none."""
    if corpus not in CORPORA:
        raise UserError(f"--corpus {corpus}: known are {', '.join(CORPORA)}")
    for name, value in (("--stage", stage), ("--stop-stage", stop_stage)):
        if not value.isdecimal() or int(value) > LAST_STAGE:
            raise UserError(f"{name} {value}: stages go from 0 to {LAST_STAGE}")
    if int(stage) > int(stop_stage):
        raise UserError(f"--stage {stage} is behind --stop-stage {stop_stage}: nothing would run")
    if not nj.isdecimal() or int(nj) < 1:
        raise UserError(f"--nj {nj}: give a whole number of parallel jobs, 1 or more")
    if not bootstrap.isdecimal():
        raise UserError(f"--bootstrap {bootstrap}: give a whole number of draws")


def check_scoring(backend: str, score_norm: str, top_k: str, lda_dim: str) -> None:
    """UserError for an unknown back-end or normalisation, or numbers that are none."""
    if backend not in BACKENDS:
        raise UserError(f"--backend {backend}: known are {', '.join(BACKENDS)}")
    if score_norm not in SCORE_NORMS:
        raise UserError(f"--score-norm {score_norm}: known are {', '.join(SCORE_NORMS)}")
    if not top_k.isdecimal() or int(top_k) < 2:
        raise UserError(f"--top-k {top_k}: give a whole number of speakers, 2 or more")
    if lda_dim and (not lda_dim.isdecimal() or int(lda_dim) < 1):
        raise UserError(f"--lda-dim {lda_dim}: give a whole number of dimensions, 1 or more")
    if lda_dim and backend != "plda":
        raise UserError(f"--lda-dim {lda_dim}: given, but --backend is {backend}: add --backend plda")


def check_cohort(spk2utt: Path, backend: str, score_norm: str, top_k: str, lda_dim: str) -> None:
    """UserError when the training set has too few speakers for what is to be done with them."""
    speakers = len(read_table(spk2utt))
    if score_norm == "as" and int(top_k) > speakers:
        raise UserError(f"--top-k {top_k}: {spk2utt} has {speakers} speakers: give {speakers} at most")
    if backend == "plda" and lda_dim and int(lda_dim) >= speakers:
        raise UserError(f"--lda-dim {lda_dim}: {spk2utt} has {speakers} speakers: give {speakers - 1} at most")


def check_belongings(corpus: str, own_data: str, voxceleb: str, teacher: str, weights: str) -> None:
    """UserError for options that the chosen corpus or teacher would pass over, or weights that are not there.

    :param own_data: the values of the options of ``--corpus kaldi``, joined; empty when none was given.
    :param voxceleb: those of ``--corpus voxceleb``.
    """
    if own_data and corpus != "kaldi":
        raise UserError(f"--train, --test, --trials, cuts: given, but --corpus is {corpus}: add --corpus kaldi")
    if voxceleb and corpus != "voxceleb":
        raise UserError(f"--voxceleb1, --voxceleb-trials, ...: given, but --corpus is {corpus}: add --corpus voxceleb")
    if weights and teacher == "own":
        raise UserError(f"--teacher-weights {weights}: given, but --teacher is own: name the teacher they belong to")
    if weights and "," in teacher:
        raise UserError(f"--teacher-weights {weights}: there are several teachers: write KIND:PATH,KIND:PATH")
    several = teachers_of(teacher, weights)
    for kind, path in several:
        if path and not Path(path).exists():
            raise UserError(f"{path}: no such file: mend --teacher-weights, or the path behind {kind}:")
        if kind in TEACHERS_IN_FILES and not path:
            raise UserError(f"--teacher {kind}: its weights are not given: write --teacher {kind}:PATH")
        if len(several) > 1 and kind in ("own", "xvectors"):
            remedy = "train it first, then give model:DIR, its folder" if kind == "own" else "leave it out"
            raise UserError(f"--teacher {teacher}: {kind} cannot be one of several: {remedy}")


def check_folders(conf: Path, outputs: list[Path]) -> None:
    """UserError when the configuration folder is missing or a result folder cannot be written."""
    if not conf.is_dir():
        raise UserError(f"{conf}: no such folder of configurations: see --conf")
    for folder in outputs:
        if len(str(folder.absolute()).split()) > 1:
            raise UserError(f"{folder.absolute()}: white space in a path breaks Kaldi's tables: choose another folder")
        make_dir(folder)
        with os_errors(folder), tempfile.TemporaryFile(dir=folder, prefix=".tmp"):
            pass


def check_packages() -> None:
    """UserError when torch and torchaudio are no pair, or a package of [train] is missing.

    Only the pair is loaded: with the others that would take longer than the rest of a run that has nothing to do.
    """
    for name in ("lhotse", "kaldiio", "captum", "h5py"):
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"package {name} is missing from {sys.prefix}: pip install 'imlkd[train]' there; when it is the"
                " recipe's own .venv, remove it and run the same command again"
            )
    for name in ("torch", "torchaudio"):
        try:
            importlib.import_module(name)
        except Exception as error:  # a wrong pair raises RuntimeError or OSError, a missing package ImportError
            try:
                installed = f"torch {version('torch')}, torchaudio {version('torchaudio')}"
            except PackageNotFoundError:
                installed = "torch or torchaudio is not installed"
            detail = " ".join(str(error).split())[:120]
            raise UserError(
                f"package {name} does not load ({detail}); {installed}:"
                " install torch==2.11.0 torchaudio==2.11.0 together, or unset IMLKD_PYTHON to use .venv"
            ) from error
