"""A run behind stage 6 whose ids would be markup: a teacher, a student without it and one with."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd.corpora.sets import RecipeSets, write_sets
from imlkd.features.fbank import FbankConfig
from imlkd.kaldi_io import ArkWriter, read_table, write_table
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import save_model
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.models.xvector_table import load_table
from imlkd.reporting.page.stage import PageOptions, write_pages
from imlkd.scoring.evaluate import evaluate

EVIL = "<script>window.heard=1</script>"
COMMAND = "./run.sh --data '<b>here</b>'"
MODELS = {"toy_teacher": 2.5, "toy_none": 0.5, "toy_kd": 1.5}


@dataclass(frozen=True)
class Run:
    """Where it lies."""

    data: Path
    models: list[Path]

    @property
    def sets(self) -> Path:
        return self.data / "toy.sets.yaml"

    def page(self, model: str) -> Path:
        return next(folder for folder in self.models if folder.name == model) / "report/index.html"


def add_model(folder: Path, data: Path, quality: float, seed: int) -> Path:
    """A network that nobody trained, scores of a quality, and their metrics."""
    for part in ("scores/toy", "metrics/toy", "log"):
        (folder / part).mkdir(parents=True)
    torch.manual_seed(seed)
    network = Tdnn(TdnnConfig(width=4, blocks=1), FbankConfig(num_mel_bins=24))
    network.head = CosineHead(192, ["a", "b"])
    save_model(network, folder)
    (folder / "config.yaml").write_text(f"seed: {seed}\n")
    generator = np.random.default_rng(seed)
    lines = [line.split() for line in (data / "toy/trials").read_text().splitlines()]
    scores = [f"{a} {b} {generator.normal(quality * (label == 'target')):.5f}\n" for a, b, label in lines]
    (folder / "scores/toy/trials").write_text("".join(scores))
    evaluate(folder / "scores/toy/trials", data / "toy/trials", [data / "toy/utt2spk"], draws=20).write_json(
        folder / "metrics/toy/trials.json"
    )
    epochs = [json.dumps({"epoch": i, "loss": 4.0 / i + quality, "aam": 3.0 / i, "kd": 1.0}) for i in range(1, 6)]
    (folder / "log/train.jsonl").write_text("\n".join(epochs) + "\n")
    (folder / "log/seconds").write_text("90.0\n")
    return folder


def make_run(folder: Path, corpus: Path) -> Run:
    """From the toy corpus, its ids renamed."""
    data = folder / "data"
    renamed = {name: f"{name}-{EVIL}" for name in read_table(corpus / "utt2spk")}
    (data / "toy").mkdir(parents=True)
    for table in ("wav.scp", "utt2spk"):
        write_table(data / "toy" / table, {renamed[name]: one for name, one in read_table(corpus / table).items()})
    names = sorted(renamed.values())
    labels = {True: "target", False: "nontarget"}
    pairs = [(a, b, labels[a[:2] == b[:2]]) for i, a in enumerate(names) for b in names[i + 1 :]]
    (data / "toy/trials").write_text("".join(f"{a} {b} {label}\n" for a, b, label in pairs))
    write_sets(RecipeSets("toy", "toy", ["toy"], ["toy/trials"]), data / "toy.sets.yaml")
    models = [add_model(folder / "exp" / name, data, q, seed) for seed, (name, q) in enumerate(MODELS.items())]
    return Run(data, models)


def make_table(folder: Path) -> None:
    """The model there becomes a table of embeddings."""
    for part in ("final.pt", "model.yaml", "log/train.jsonl", "log/seconds"):
        (folder / part).unlink()
    with ArkWriter(folder / "own.ark", folder / "own.scp") as writer:
        for name in ("x", "y"):
            writer.write(name, np.arange(1.0, 6.0))
    table = load_table(folder / "own.scp")
    table.head = CosineHead(5, ["a", "b"])
    save_model(table, folder)


def forget_scores(folder: Path) -> None:
    """Nothing of stages 5 and 6 is left."""
    for part in ("scores", "metrics"):
        shutil.rmtree(folder / part)


@pytest.fixture(scope="session")
def run(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With its pages. To be read only."""
    made = make_run(tmp_path_factory.mktemp("pages"), toy_corpus)
    write_pages(made.sets, made.data, made.models, PageOptions(COMMAND, draws=20))
    return made
