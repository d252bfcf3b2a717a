"""`imlkd recipe`: what run.sh asks before it starts."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.group()
def recipe() -> None:
    """Checks and names that run.sh needs."""


@recipe.command()
@click.option("--corpus", required=True, help="Name of the corpus.")
@click.option("--stage", required=True, help="First stage.")
@click.option("--stop-stage", required=True, help="Last stage.")
@click.option("--nj", required=True, help="Number of parallel jobs.")
@click.option("--teacher", required=True, help="Name of the teacher.")
@click.option("--methods", required=True, help="Methods, comma-separated.")
@click.option("--conf", required=True, type=PATH, help="Folder of configurations.")
@click.option("--exp", required=True, type=PATH, help="Folder of results.")
@click.option("--data", required=True, type=PATH, help="Folder of prepared data.")
@click.option("--bootstrap", default="1000", help="Draws of the intervals.")
@click.option("--own-data", default="", help="What the options of --corpus kaldi hold, joined.")
@click.option("--voxceleb", default="", help="What the options of --corpus voxceleb hold, joined.")
@click.option("--teacher-weights", default="", help="File of the teacher's weights.")
@click.option("--classes", default="speakers", help="speakers, recordings or clusters:K.")
@click.option("--relevance-set", default="", help="Overrides of relevance.yaml, separated by white space.")
@click.option("--student-set", default="", help="Overrides of student.yaml, separated by white space.")
@click.option("--backend", default="cosine", help="What compares embeddings.")
@click.option("--score-norm", default="none", help="Normalisation of scores.")
@click.option("--top-k", default="300", help="Members of the cohort that count.")
@click.option("--lda-dim", default="", help="Dimensions before PLDA.")
@click.option("--export", "formats", default="", help="Formats of the export, comma-separated.")
@click.option("--ngpu", default="0", help="GPUs of each machine for one training.")
@click.option("--nproc", default="1", help="Processes of each machine for one training.")
@click.option("--nodes", default="", help="Machines for one training.")
@click.option("--cmd", "runner", default="run.pl", help="Job runner of the trainings.")
def check(
    corpus: str, stage: str, stop_stage: str, nj: str, teacher: str, methods: str, conf: Path, exp: Path, data: Path,
    bootstrap: str, own_data: str, voxceleb: str, teacher_weights: str, relevance_set: str, student_set: str,
    backend: str, score_norm: str, top_k: str, lda_dim: str, formats: str, ngpu: str, nproc: str, nodes: str,
    runner: str, classes: str,
) -> None:
    """Refuse a run that cannot work before it has computed anything."""
    from imlkd.recipe import (
        check_belongings,
        check_classes,
        check_folders,
        check_packages,
        check_scoring,
        check_stages,
    )

    check_stages(corpus, stage, stop_stage, nj, bootstrap)
    check_scoring(backend, score_norm, top_k, lda_dim)
    check_classes(classes)
    check_belongings(corpus, own_data, voxceleb, teacher, teacher_weights)
    check_folders(conf, [exp, data])
    check_packages()
    from imlkd.training.check import check_recipe  # loads those packages

    check_recipe(teacher, methods, conf, relevance_set.split(), student_set.split())
    from imlkd.training.check import check_machines

    check_machines(ngpu, nproc, nodes, runner)
    if formats:
        from imlkd.export.stage import check_formats

        check_formats(formats.split(","))


@recipe.command("check-cohort")
@click.argument("spk2utt", type=PATH)
@click.option("--backend", default="cosine", help="What compares embeddings.")
@click.option("--score-norm", default="none", help="Normalisation of scores.")
@click.option("--top-k", default="300", help="Members of the cohort that count.")
@click.option("--lda-dim", default="", help="Dimensions before PLDA.")
def check_cohort(spk2utt: Path, backend: str, score_norm: str, top_k: str, lda_dim: str) -> None:
    """Refuse a training set SPK2UTT that is too small for the way of scoring."""
    from imlkd.recipe import check_cohort as check

    check(spk2utt, backend, score_norm, top_k, lda_dim)


@recipe.command("check-speakers")
@click.argument("data", type=PATH)
@click.argument("teacher_set")
@click.argument("tests", nargs=-1)
@click.option("--teacher", default="own", help="Name of the teacher.")
@click.option("--teacher-speakers", default="", help="Whom an imported teacher was trained on, one a line.")
def check_speakers(data: Path, teacher_set: str, tests: tuple[str, ...], teacher: str, teacher_speakers: str) -> None:
    """Refuse TESTS below DATA with speakers that the teacher was trained on; a teacher of one's own by TEACHER_SET."""
    from imlkd.corpora.speaker_overlap import check_teacher

    known = Path(teacher_speakers) if teacher_speakers else data / teacher_set / "spk2utt" if teacher == "own" else None
    check_teacher(known, [data / name / "spk2utt" for name in tests], f"the teacher {teacher}", click.echo)


@recipe.command()
@click.argument("path", type=PATH)
def sets(path: Path) -> None:
    """Print the sets that stage 0 made, as assignments for a shell."""
    from imlkd.corpora.sets import read_sets, to_shell

    click.echo(to_shell(read_sets(path)))


@recipe.command("write-sets")
@click.argument("path", type=PATH)
@click.option("--train", required=True, help="Training set.")
@click.option("--teacher", required=True, help="Set of a teacher of one's own.")
@click.option("--list", "lists", multiple=True, required=True, metavar="SET/LIST", help="A trial list.")
def write_sets(path: Path, train: str, teacher: str, lists: tuple[str, ...]) -> None:
    """Write the names of the sets to PATH."""
    from imlkd.corpora.sets import RecipeSets
    from imlkd.corpora.sets import write_sets as write

    tests = list(dict.fromkeys(name.split("/")[0] for name in lists))
    write(RecipeSets(train, teacher, tests, list(lists)), path)


@recipe.command("report-inputs")
@click.argument("sets", type=PATH)
@click.argument("data", type=PATH)
@click.argument("models", nargs=-1, required=True, type=PATH)
@click.option("--page", is_flag=True, help="Of their pages, the teacher first.")
@click.option("--teacher-unscored", is_flag=True, help="The teacher has no scores.")
def report_inputs(sets: Path, data: Path, models: tuple[Path, ...], page: bool, teacher_unscored: bool) -> None:
    """Print what `imlkd report` reads of MODELS, as options of `imlkd marker check`, a word a line."""
    from imlkd.corpora.sets import read_sets
    from imlkd.reporting.inputs import page_inputs, results_inputs

    known = read_sets(sets)
    found = page_inputs(models, known, data, not teacher_unscored) if page else results_inputs(models, known)
    words = [word for path in found for word in ("--from", str(path))]
    if page:
        words += [word for name in known.tests for word in ("--data", str(data / name))]
    click.echo("\n".join(words))


@recipe.command()
@click.option("--corpus", required=True, help="Name of the corpus.")
@click.option("--teacher", required=True, help="Name of the teacher, or KIND:PATH,KIND:PATH.")
@click.option("--classes", default="speakers", help="speakers, recordings or clusters:K.")
@click.option("--methods", required=True, help="Methods, comma-separated.")
@click.option("--lm-epochs", default=0, help="Epochs of the students' large-margin copies.")
@click.option("--exp", required=True, type=PATH, help="Folder of results.")
def folders(corpus: str, teacher: str, classes: str, methods: str, lm_epochs: int, exp: Path) -> None:
    """Print where the models of a run lie, as assignments for a shell."""
    from imlkd.recipe import model_folders

    click.echo(model_folders(exp, corpus, teacher, classes, methods.split(","), lm_epochs > 0).to_shell())
