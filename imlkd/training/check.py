"""Before anything is computed: every configuration is read and every name looked up."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imlkd.attribution.relevance import RelevanceConfig
from imlkd.config import load_config
from imlkd.distillation.integrated_inputs import GateConfig
from imlkd.distillation.objective import METHODS, build_method
from imlkd.errors import UserError
from imlkd.features.extract import FeaturesConfig
from imlkd.features.fbank import FbankConfig
from imlkd.recipe import teachers_of
from imlkd.training.device import check_gpus
from imlkd.training.gates import check_relevance_name
from imlkd.training.head import HeadConfig
from imlkd.training.imported_teacher import check_teacher_name
from imlkd.training.live_teacher import with_adapters
from imlkd.training.nodes import nodes_of
from imlkd.training.student import StudentConfig
from imlkd.training.teacher import TeacherConfig

CONFIGS: Mapping[str, type[Any]] = {
    "features": FeaturesConfig,
    "teacher": TeacherConfig,
    "head": HeadConfig,
    "relevance": RelevanceConfig,
    "student": StudentConfig,
}


def check_recipe(
    teacher: str, methods: str, conf: Path, relevance_set: Sequence[str] = (), student_set: Sequence[str] = ()
) -> None:
    """Read each ``conf/*.yaml`` that the recipe uses; UserError for the first that is wrong, or an unknown name.

    :param relevance_set: ``key=value`` overrides of ``relevance.yaml``.
    :param student_set: those of ``student.yaml``.
    """
    kinds = [kind for kind, _ in teachers_of(teacher)]
    for kind in kinds:
        check_teacher_name(kind)
    if not methods.strip(","):
        raise UserError(f"--methods is empty: give one or more of {','.join(METHODS)}")
    names = methods.split(",")
    for twice in sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"--methods {methods}: {twice} is named twice: name it once")
    for method in names:
        path = conf / f"{method}.yaml"
        needs = build_method(method, path if path.is_file() else None).needs
        if teacher == "xvectors" and (needs.relevance or needs.teacher_stages):
            raise UserError(
                f"--methods {method} needs a network to explain or to run, and {teacher} is a table of embeddings:"
                " take a method of embeddings or logits (imlkd methods)"
            )
        if needs.teacher_stages and (len(kinds) > 1 or teacher == "onnx"):
            given = "several teachers have none in common" if len(kinds) > 1 else f"{teacher} gives none"
            raise UserError(
                f"--methods {method} aligns stages inside the teacher, and {given}:"
                " take a method of logits or embeddings (imlkd methods)"
            )
    overrides = {"relevance": relevance_set, "student": student_set}
    for kind, cls in CONFIGS.items():
        path = conf / f"{kind}.yaml"
        if path.is_file():
            settings = load_config(cls, path, overrides.get(kind, ()))
            if isinstance(settings, FeaturesConfig):
                _check_together(settings.fbank, path)
            if isinstance(settings, StudentConfig):
                for method in names:
                    with_adapters(settings.network, build_method(method))
            if isinstance(settings, RelevanceConfig):
                _check_together(settings, path)
            if isinstance(settings, StudentConfig):
                _check_together(settings.gate, path)
                check_relevance_name(settings.gate.relevance)


def check_machines(ngpu: str, nproc: str, nodes: str, runner: str) -> None:
    """What ``run.sh`` was told of GPUs, processes and machines; UserError where it can't be.

    Of the machines behind another runner than ``run.pl`` nothing is known here: their jobs look for themselves.
    """
    for option, value, low in (("--ngpu", ngpu, 0), ("--nproc", nproc, 1), ("--nodes", nodes or "1", 1)):
        if not value.isdecimal() or int(value) < low:
            raise UserError(f"{option} {value}: expected a whole number from {low}")
    if int(ngpu) and nproc not in ("1", ngpu):
        raise UserError(f"--nproc {nproc} with --ngpu {ngpu}: a GPU has one process: leave --nproc out")
    if Path(runner.split()[0]).name == "run.pl":
        check_gpus(int(ngpu))
        nodes_of(int(nodes) if nodes else None, None, os.environ.get("IMLKD_AT", ""), os.environ)


def _check_together(settings: FbankConfig | RelevanceConfig | GateConfig, path: Path) -> None:
    """UserError, with the file, where values do not go together."""
    try:
        settings.check()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
