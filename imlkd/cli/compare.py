"""`imlkd compare`: is one system better than others on the same trials?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imlkd.cli.lists import id_map_of, id_map_option, models_option, say_layout
from imlkd.cli.measures import choices_of, drawn, measure_options

if TYPE_CHECKING:
    from imlkd.scoring.compare import Comparison, Difference
    from imlkd.scoring.evaluate import Choices
    from imlkd.scoring.metrics import Floats
    from imlkd.scoring.resampling import SpeakerTrials

FILE = click.Path(path_type=Path)
LEVEL = 0.05  # that p is usually compared with


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("systems", metavar="FIRST SECOND [...]", nargs=-1, required=True)
@click.argument("trials_path", metavar="TRIALS", type=FILE)
@click.option("--utt2spk", multiple=True, type=FILE, required=True, help="Speakers of the utterances; repeatable.")
@measure_options
@click.option("--json", "json_path", type=FILE, help="Also write everything as JSON (error rates as fractions).")
@click.option("--bootstrap", type=click.IntRange(min=1), default=1000, help="Draws of speakers.")
@click.option("--det", type=FILE, help="Also draw the DET curves of all systems over each other, as PNG.")
@models_option
@id_map_option
def compare(
    systems: tuple[str, ...], trials_path: Path, utt2spk: tuple[Path, ...], json_path: Path | None, det: Path | None,
    models: Path | None, id_map: str | None, **options: Any,
) -> None:  # fmt: skip
    """EER (%) and normalised DCFs of systems on TRIALS: FIRST minus each other, 95 % interval, p.

    A system is a score file, or those of several seeds of its training, joined by commas (a.1,a.2,a.3). All are
    measured on the same draws of speakers, a system of several seeds also on draws of them. Below zero: FIRST has
    fewer errors. With more than two systems p is also given after Holm's correction for all comparisons of a measure.
    """
    if len(systems) < 2:
        raise click.UsageError("two score files or more and their trials: FIRST SECOND [...] TRIALS")
    from imlkd.corpora.trials.lists import read_trials
    from imlkd.errors import UserError
    from imlkd.files import atomic_write_text
    from imlkd.reporting.det import draw_det
    from imlkd.scoring.compare import compare_systems
    from imlkd.scoring.score_file import read_scores
    from imlkd.scoring.speakers import read_speakers, speaker_trials, speakers_by_id

    files = [score_files(system) for system in systems]
    choices = choices_of(**options)
    trials = read_trials(trials_path)
    say_layout(trials)
    speakers = speakers_by_id(trials, read_speakers(utt2spk), models, id_map_of(id_map))
    scores = [[speaker_trials(trials, read_scores(path, trials), speakers) for path in paths] for paths in files]
    found = compare_systems(scores, choices.costs, choices.draws, choices.seed, choices.interval, choices.llr)
    if not found:
        raise UserError(f"{trials_path}: no draw of its speakers has target and nontarget trials: raise --bootstrap")
    if det:
        draw_det(det, curves(files, scores), choices.costs.p_targets[0])
    if json_path:
        atomic_write_text(json_path, as_json(files, found, choices))
    click.echo(table(systems, found, choices.interval))


def curves(files: list[list[Path]], scores: list[list[SpeakerTrials]]) -> dict[str, tuple[Floats, Floats]]:
    """Target and nontarget scores by name of the file: a curve for each seed of each system."""
    runs = (run for pair in zip(files, scores, strict=True) for run in zip(*pair, strict=True))
    return {str(path): (one.target, one.nontarget) for path, one in runs}


def score_files(system: str) -> list[Path]:
    """The score files that one argument names; a file whose own name holds a comma is one file."""
    from imlkd.errors import UserError

    names = [system] if Path(system).is_file() else system.split(",")
    if not all(names):
        raise UserError(f"{system!r}: an empty name between commas: join score files as a.1,a.2,a.3")
    if len(set(names)) < len(names):
        raise UserError(f"{system}: a score file twice: each seed of a training counts once")
    return [Path(name) for name in names]


def as_json(files: list[list[Path]], found: list[Comparison], choices: Choices) -> str:
    """One object: what was compared, and the first system against each other one."""
    names = [[str(path) for path in paths] for paths in files]
    shared = ("speakers", "draws", "few_speakers")
    content: dict[str, Any] = {name: getattr(found[0], name) for name in shared}
    content |= {"interval": choices.interval, "c_miss": choices.costs.c_miss, "c_fa": choices.costs.c_fa}
    content |= {"first": names[0], "comparisons": []}
    for second, comparison in zip(names[1:], found, strict=True):
        fields = {name: value for name, value in dataclasses.asdict(comparison).items() if name not in shared}
        content["comparisons"].append({"second": second, **fields})
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def table(systems: tuple[str, ...], found: list[Comparison], interval: str) -> str:
    """The lines that are printed."""
    many, lines = len(found) > 1, []
    for name, one in zip(systems[1:], found, strict=True):
        if many:
            lines.append(f"{systems[0]} against {name}")
        lines.append(_row("EER", one.eer, 100.0, ".2f", " %", many))
        lines += [_row(f"minDCF({p:g})", found, 1.0, ".4f", "", many) for p, found in one.min_dcf.items()]
        lines += [_row(f"actDCF({p:g})", found, 1.0, ".4f", "", many) for p, found in one.act_dcf.items()]
        if one.cllr:
            lines.append(_row("Cllr", one.cllr, 1.0, ".4f", " bits", many))
    counts = [found[0].seeds[0], *(one.seeds[1] for one in found)]
    seeds = f", and of {', '.join(map(str, counts))} seeds" if max(counts) > 1 else ""
    lines.append(drawn(found[0].draws, f"{found[0].speakers} speakers{seeds}", interval, found[0].few_speakers))
    if many:
        lines.append(f"Holm          p corrected for {len(found)} comparisons of each measure{_grain(found, interval)}")
    return "\n".join(lines)


def _grain(found: list[Comparison], interval: str) -> str:
    """What keeps every p from being small, if anything does."""
    from imlkd.scoring.compare import least_p

    one = found[0]
    least = least_p(one.draws, len(found), one.speakers if interval == "corrected" else None)
    return f"; none below {least:.2g} with {one.draws} draws: raise --bootstrap" if least >= LEVEL else ""


def _row(name: str, found: Difference, scale: float, form: str, unit: str, many: bool) -> str:
    low, high = scale * found.interval.low, scale * found.interval.high
    values = f"{scale * found.first:{form}} - {scale * found.second:{form}} = {scale * found.difference:+{form}}{unit}"
    holm = f"  Holm {found.p_holm:.3g}" if many else ""
    return f"{name:13} {values}  [{low:+{form}}, {high:+{form}}]  p {found.p:.3g}{holm}"
