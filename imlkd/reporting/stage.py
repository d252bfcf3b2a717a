"""Stage 7: the table, RESULTS.md, and each student's own report folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imlkd.corpora.fingerprint import data_hash
from imlkd.corpora.sets import read_sets
from imlkd.corpora.trials.lists import read_trials
from imlkd.files import atomic_open, atomic_write_text
from imlkd.reporting.results import COLUMNS, rows_of
from imlkd.reporting.table import git_hash, markdown_table, printed, results_markdown
from imlkd.scoring.score_file import read_scores

DET_POINTS = 200


def write_report(sets_path: Path, data: Path, exp: Path, models: list[Path], command: str) -> str:
    """Write ``exp/RESULTS.md``, ``report/`` of each model and ``exp/results.txt``; returns the table as text."""
    sets = read_sets(sets_path)
    results = rows_of(models, sets.lists)
    hashes = {name: data_hash(data / name) for name in dict.fromkeys([sets.teacher, sets.train, *sets.tests])}
    git = git_hash(Path(__file__).parents[2])
    atomic_write_text(exp / "RESULTS.md", results_markdown(results, hashes, command, git))
    for index, folder in enumerate(models):
        rows = [[name, *results[name][index].cells()] for name in sets.lists]
        atomic_write_text(folder / "report" / "row.md", markdown_table(["trials", *COLUMNS], rows) + "\n")
        for name in sets.lists:
            _write_det(folder, data, name)
    table = f"{printed(results)}\n\nalso in {exp / 'RESULTS.md'}"
    atomic_write_text(exp / "results.txt", f"{table}\n")
    return table


def _write_det(folder: Path, data: Path, name: str) -> None:
    """``report/det.SET.LIST.tsv``: threshold, false alarm rate and miss rate along the score range."""
    trials = read_trials(data / name)
    scores = np.asarray(read_scores(folder / "scores" / name, trials))
    thresholds = np.quantile(scores, np.linspace(0, 1, DET_POINTS))
    targets, nontargets = np.sort(scores[trials.is_target]), np.sort(scores[~trials.is_target])
    misses = np.searchsorted(targets, thresholds) / len(targets)
    alarms = 1 - np.searchsorted(nontargets, thresholds) / len(nontargets)
    with atomic_open(folder / "report" / f"det.{name.replace('/', '.')}.tsv") as stream:
        stream.write("threshold\tfalse_alarm\tmiss\n")
        stream.writelines(f"{t:.6g}\t{a:.6g}\t{m:.6g}\n" for t, a, m in zip(thresholds, alarms, misses, strict=True))
