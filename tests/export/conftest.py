"""One small student with its data, as the stages leave them, exported once into every format."""

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from imlkd.corpora.sets import RecipeSets, write_sets
from imlkd.corpora.trials.lists import read_trials
from imlkd.export.stage import FORMATS, ExportOptions, export_model
from imlkd.export.variants import MaxLoss
from imlkd.features.fbank import FbankConfig
from imlkd.kaldi_io import join_scps, read_table
from imlkd.models.extraction import extract_embeddings
from imlkd.models.networks import build_network
from imlkd.models.speaker_model import SpeakerModel
from imlkd.models.store import load_model, save_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.scoring.cosine import score_trials
from imlkd.scoring.evaluate import evaluate

torch.set_num_threads(1)


def drawn(config: Any, fbank: Any = None) -> SpeakerModel:
    """A network whose batch norms do something, in evaluation mode."""
    torch.manual_seed(0)
    model = build_network(config, fbank or FbankConfig())
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0.0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Student:
    """``folder``: exp/student; ``sets``: data/toy.sets.yaml; ``out``: its export in all formats; ``table``: printed."""

    folder: Path
    sets: Path
    out: Path
    table: str

    def load(self) -> SpeakerModel:
        return load_model(self.folder)


def write_toy_trials(data: Path) -> None:
    speakers = read_table(data / "utt2spk")
    lines = [
        f"{a} {b} {'target' if speakers[a] == speakers[b] else 'nontarget'}\n"
        for a, b in itertools.combinations(speakers, 2)
    ]
    (data / "trials").write_text("".join(lines))


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory, toy_corpus: Path) -> Student:
    root = tmp_path_factory.mktemp("export")
    shutil.copytree(toy_corpus, root / "data/toy")
    write_toy_trials(root / "data/toy")
    sets = root / "data/toy.sets.yaml"
    write_sets(RecipeSets("toy", "toy", ["toy"], ["toy/trials"]), sets)
    folder = root / "exp/student"
    model = drawn(TdnnConfig(width=8, blocks=1, embedding_dim=16))
    model.normalization.bin_mean.normal_(10.0, 2.0)  # type: ignore[union-attr, operator]
    save_model(model, folder)
    (folder / "method.yaml").write_text(yaml.safe_dump({"weight": 1.0}))
    embed_and_score(folder, root / "data/toy")
    options = ExportOptions(FORMATS, sets, "CC0-1.0", MaxLoss(0.5, relative=False), utterances=4, draws=20)
    table = export_model(folder, folder / "export", options)
    return Student(folder, sets, folder / "export", table)


def embed_and_score(folder: Path, data: Path) -> None:
    """What stages 5 and 6 leave."""
    vectors = folder / f"xvectors_{data.name}"
    extract_embeddings(load_model(folder), data, vectors, 1, vectors / "progress")
    join_scps([vectors / "xvector.1.scp"], vectors / "xvector.scp")
    scores = folder / f"scores/{data.name}/trials"
    score_trials(read_trials(data / "trials"), vectors / "xvector.scp", vectors / "xvector.scp", scores)
    found = evaluate(scores, data / "trials", [data / "utt2spk"], draws=20)
    found.write_json(folder / f"metrics/{data.name}/trials.json")
