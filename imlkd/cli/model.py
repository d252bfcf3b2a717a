"""`imlkd model`: the stages that run a network (2 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

PATH = click.Path(path_type=Path)
config_option = click.option("--config", type=PATH, help="YAML file; without it the defaults.")
set_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of --config.")
progress_option = click.option("--progress", type=PATH, help="File to count in (default: a bar).")
pipes_option = click.option("--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds.")
job_option = click.option("--job", type=click.IntRange(1), default=1, help="Number of this job.")
nj_option = click.option("--nj", type=click.IntRange(1), default=1, help="Number of jobs.")
threads_option = click.option("--threads", type=click.IntRange(0), default=1, help="Threads of this job, 0: all cores.")


@click.group()
def model() -> None:
    """Teachers and students: train, import, explain, distil, embed."""


@model.command("train-teacher")
@click.argument("data_dir", type=PATH)
@click.argument("out", type=PATH)
@config_option
@progress_option
@pipes_option
def train_teacher(
    data_dir: Path, out: Path, config: Path | None, progress: Path | None, allow_pipes: bool
) -> None:
    """Train a teacher on the speakers of DATA_DIR (with features) into OUT."""
    from imlkd.config import load_config
    from imlkd.done import DoneMarker
    from imlkd.training.curve import curve_beside
    from imlkd.training.teacher import TeacherConfig
    from imlkd.training.teacher import train_teacher as train

    settings = load_config(TeacherConfig, config)
    inputs = DoneMarker(out / ".done").begun_inputs(without=[str(config)])
    train(data_dir, settings, out, inputs, progress, curve_beside(config, "teacher"), allow_pipes)


@model.command("import-teacher")
@click.argument("name")
@click.argument("data_dir", type=PATH)
@click.argument("out", type=PATH)
@config_option
@progress_option
@pipes_option
@click.option("--weights", type=PATH, help="File of weights (default: the installed package's).")
@threads_option
def import_teacher(
    name: str, data_dir: Path, out: Path, config: Path | None, progress: Path | None, allow_pipes: bool,
    weights: Path | None, threads: int,
) -> None:
    """Import teacher NAME, fit its speaker head on DATA_DIR, and leave both in OUT."""
    from imlkd.config import load_config
    from imlkd.training.head import HeadConfig
    from imlkd.training.imported_teacher import import_teacher as do_import

    settings = load_config(HeadConfig, config)
    do_import(name, weights, data_dir, settings, out, progress, allow_pipes, threads)


@model.command("classes")
@click.argument("name")
@click.argument("data_dir", type=PATH)
@click.argument("out", type=PATH)
@click.option("--classes", required=True, metavar="KIND", help="recordings, or clusters:K.")
@progress_option
@pipes_option
@click.option("--weights", type=PATH, help="File of weights (default: the installed package's).")
@threads_option
def make_classes(
    name: str, data_dir: Path, out: Path, classes: str, progress: Path | None, allow_pipes: bool, weights: Path | None,
    threads: int,
) -> None:
    """Give teacher NAME classes made of its own embeddings of DATA_DIR, and leave it in OUT."""
    from imlkd.training.classes import make_classes as make

    make(name, weights, data_dir, classes, out, progress, allow_pipes, threads)


@model.command()
@click.argument("data_dir", type=PATH)
@click.argument("out", type=PATH)
@config_option
@set_option
@click.option("--teacher", type=PATH, help="Its folder: of a table, utterances that it lacks give no segment.")
def segments(
    data_dir: Path, out: Path, config: Path | None, overrides: tuple[str, ...], teacher: Path | None
) -> None:
    """Lay the grid of training segments over DATA_DIR: OUT/segments, with the resolved configuration beside it."""
    from imlkd.attribution import table_targets
    from imlkd.attribution.relevance import RelevanceConfig
    from imlkd.config import load_config, save_config
    from imlkd.features.segments import Segment, write_segments
    from imlkd.models.store import build_model
    from imlkd.models.xvector_table import XvectorTable
    from imlkd.training.pool import grid_of

    settings = load_config(RelevanceConfig, config, overrides)
    found: Sequence[Segment] = grid_of(data_dir, settings.segments)
    table = None if teacher is None else build_model(teacher)
    if isinstance(table, XvectorTable):
        found = table_targets.known_segments(found, table, settings.segments.max_dropped)
    write_segments(out / "segments", found)
    save_config(settings, out / "config.yaml")
    click.echo(f"{out}/segments: {len(found)} segments")


@model.command()
@click.argument("teacher", type=PATH)
@click.argument("data_dir", type=PATH)
@click.argument("out", type=PATH)
@job_option
@nj_option
@progress_option
@pipes_option
@threads_option
def explain(
    teacher: Path, data_dir: Path, out: Path, job: int, nj: int, progress: Path | None, allow_pipes: bool, threads: int
) -> None:
    """Targets of one job's share of OUT/segments: relevance, embeddings and cosines of TEACHER."""
    from imlkd.attribution.stage import explain_job

    explain_job(teacher, data_dir, out, job, nj, progress, allow_pipes, threads)


@model.command("join-targets")
@click.argument("out", type=PATH)
@click.argument("cuts", type=PATH)
@nj_option
def join_targets(out: Path, cuts: Path, nj: int) -> None:
    """Join the jobs' arks and tables in OUT, and attach the arrays to the CUTS of the utterances."""
    from imlkd.attribution.stage import join_jobs

    click.echo(join_jobs(out, cuts, nj))


@model.command()
@click.argument("method")
@click.argument("data_dir", type=PATH)
@click.argument("targets", type=PATH)
@click.argument("out", type=PATH)
@config_option
@set_option
@click.option("--method-config", type=PATH, help="YAML file of the method; without it the defaults.")
@progress_option
@pipes_option
@click.option("--gate", help="soft, tf, top, add, del, path, perm, energy, id (default: gate.kind of --config).")
@click.option("--teacher", type=PATH, help="Model folder that TARGETS must come from (default: the one they lie in).")
@click.option("--init", type=PATH, help="Folder of a finished student whose weights are the first ones.")
@click.option("--lm-epochs", type=click.IntRange(0), default=0, help="Fine-tune --init with a large margin, 0: train.")
def distil(
    method: str, data_dir: Path, targets: Path, out: Path, config: Path | None, overrides: tuple[str, ...],
    method_config: Path | None, progress: Path | None, allow_pipes: bool, gate: str | None, teacher: Path | None,
    init: Path | None, lm_epochs: int,
) -> None:
    """Distil a student by METHOD (none, kd, imlkd) from TARGETS of stage 3 into OUT."""
    from dataclasses import replace

    from imlkd.config import load_config
    from imlkd.distillation.integrated_inputs import check_gate_name
    from imlkd.done import DoneMarker
    from imlkd.training.curve import curve_beside
    from imlkd.training.student import StudentConfig, fine_tuned, method_of, train_student

    settings = load_config(StudentConfig, config, overrides)
    if gate is not None:
        check_gate_name(gate)
        settings = replace(settings, gate=replace(settings.gate, kind=gate))
    if lm_epochs:
        settings = fine_tuned(settings, lm_epochs)
    built = method_of(method, method_config, out, [])
    compared_by_key = [str(config), str(method_config), "--set"]
    inputs = DoneMarker(out / ".done").begun_inputs(without=compared_by_key)
    altered = overrides or gate is not None  # then another curve is to be expected, and nobody knows which
    expected = None if altered else curve_beside(config, f"{method}_lm" if lm_epochs else method)
    train_student(data_dir, targets, settings, built, out, inputs, progress, teacher, init, expected, allow_pipes)


@model.command()
@click.argument("folder", type=PATH)
@click.argument("data_dir", type=PATH)
@click.argument("out", type=PATH)
@job_option
@progress_option
@pipes_option
@threads_option
def embed(
    folder: Path, data_dir: Path, out: Path, job: int, progress: Path | None, allow_pipes: bool, threads: int
) -> None:
    """Embeddings of every utterance of DATA_DIR by the model in FOLDER: OUT/xvector.JOB.ark and scp."""
    import torch

    from imlkd.models.extraction import extract_embeddings
    from imlkd.models.store import load_model

    if threads:
        torch.set_num_threads(threads)
    count = extract_embeddings(load_model(folder), data_dir, out, job, progress, allow_pipes)
    click.echo(f"{out}: {count} utterances")


@model.command()
@click.argument("folder", type=PATH)
@click.argument("data_dirs", nargs=-1, required=True, type=PATH)
def covers(folder: Path, data_dirs: tuple[Path, ...]) -> None:
    """Leave with 3, and say why, when the model in FOLDER is a table that lacks utterances of DATA_DIRS."""
    from imlkd.kaldi_io import read_table
    from imlkd.models.store import build_model
    from imlkd.models.xvector_table import XvectorTable

    table = build_model(folder)
    if not isinstance(table, XvectorTable):
        return
    for data_dir in data_dirs:
        lacking = table.lacks(read_table(data_dir / "utt2spk", fields=2))
        if lacking:
            click.echo(f"{folder}: lacks {len(lacking)} utterances of {data_dir} (first: {lacking[0]}): not scored")
            raise SystemExit(3)


@model.command()
@click.argument("folder", type=PATH)
@click.option("--keep", type=PATH, help="Write it as a curve to expect: CONF/curves/METHOD.jsonl, or teacher.jsonl.")
@click.option("--draw", type=PATH, help="PNG to draw it into.")
@click.option("--expected", type=PATH, help="Curve to draw it against.")
def curve(folder: Path, keep: Path | None, draw: Path | None, expected: Path | None) -> None:
    """The losses of the training in FOLDER, epoch by epoch."""
    from imlkd.training.curve import read_curve, write_curve

    own = read_curve(folder / "log" / "train.jsonl")
    if keep is not None:
        write_curve(own.entries, keep)
    if draw is not None:
        from imlkd.reporting.curves import draw_curves

        draw_curves(draw, own, read_curve(expected) if expected is not None else None)
    if keep is None and draw is None:
        for entry in own.entries:
            click.echo(f"{entry['epoch']:g} loss {entry['loss']:.5g}")


@model.command("check")
@click.argument("conf", type=PATH)
@click.option("--teacher", default="own", help="Name of the teacher.")
@click.option("--methods", default="none", help="Methods, comma-separated.")
def check(conf: Path, teacher: str, methods: str) -> None:
    """Read every configuration in the folder CONF, and look up the names, before anything is computed."""
    from imlkd.training.check import check_recipe

    check_recipe(teacher, methods, conf)
