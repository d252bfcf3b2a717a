"""Classes from a teacher's own embeddings: what they are, that their head holds prototypes, and students of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch.nn import functional

from imlkd.corpora.utterance_classes import utterance_classes
from imlkd.errors import UserError
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_scp_arrays, read_table
from imlkd.models.store import load_model
from imlkd.recipe import check_classes
from imlkd.training.classes import make_classes
from tests.training.stages import STUDENT, explained, student
from tests.training.test_table_teacher import vectors_of, write


def make(corpus: Path, folder: Path, classes: str) -> Path:
    """Of a table, whose speakers lie well apart."""
    folder.mkdir()
    make_classes("xvectors", write(vectors_of(corpus), folder), corpus, classes, folder / "teacher", folder / "p")
    return folder / "teacher"


@pytest.fixture(scope="module")
def clustered(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(toy_corpus, tmp_path_factory.mktemp("classes") / "x", "clusters:4")


def test_clusters_find_the_speakers(clustered: Path, toy_corpus: Path) -> None:
    found, speakers = read_table(clustered / "utt2class", fields=2), read_table(toy_corpus / "utt2spk", fields=2)
    names = list(speakers)
    assert adjusted_rand_score([speakers[name] for name in names], [found[name] for name in names]) == 1.0
    assert sorted(set(found.values())) == [f"cluster-{i}" for i in range(4)]


def test_prototypes_by_hand(clustered: Path, toy_corpus: Path) -> None:
    model, found, vectors = load_model(clustered), read_table(clustered / "utt2class"), vectors_of(toy_corpus)
    assert model.head is not None and model.head.speakers == sorted(set(found.values()))
    for row, name in enumerate(model.head.speakers):
        own = [vectors[u] / np.linalg.norm(vectors[u]) for u, label in found.items() if label == name]
        mean = np.mean(own, axis=0)
        np.testing.assert_allclose(model.head.weight[row].numpy(), mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize("method", ["none", "kd", "mlld"])
def test_students(clustered: Path, toy_corpus: Path, tmp_path: Path, method: str) -> None:
    targets, _ = explained(clustered, toy_corpus)
    assert utterance_classes(toy_corpus, targets) == read_table(clustered / "utt2class", fields=2)
    cosines = read_scp_arrays(targets / "cosines.scp")
    assert {len(row) for row in cosines.values()} == {4}
    found = student(method, toy_corpus, targets, tmp_path)
    assert found.head is not None and found.head.speakers == [f"cluster-{i}" for i in range(4)]


def test_without_the_margin_loss_the_classes_do_not_teach(clustered: Path, toy_corpus: Path, tmp_path: Path) -> None:
    targets, _ = explained(clustered, toy_corpus)
    silent = replace(STUDENT, label_weight=0.0)
    first = student("kd", toy_corpus, targets, tmp_path / "a", silent).state_dict()
    table = read_table(targets / "utt2class", fields=2)
    turned = dict(zip(table, [*list(table.values())[5:], *list(table.values())[:5]], strict=True))
    (targets / "utt2class").write_text("".join(f"{name} {label}\n" for name, label in turned.items()))
    second = student("kd", toy_corpus, targets, tmp_path / "b", silent).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    loud = student("kd", toy_corpus, targets, tmp_path / "c").state_dict()
    assert any(not torch.equal(value, loud[name]) for name, value in first.items())
    with pytest.raises(UserError, match="label_weight: 0 and method none: nothing is left to learn from"):
        student("none", toy_corpus, targets, tmp_path / "d", silent)


def test_an_utterance_without_a_class_is_named(clustered: Path, toy_corpus: Path, tmp_path: Path) -> None:
    targets, _ = explained(clustered, toy_corpus)
    lines = (targets / "utt2class").read_text().splitlines(keepends=True)
    (targets / "utt2class").write_text("".join(line for line in lines if not line.startswith("s2-u3 ")))
    with pytest.raises(UserError, match=r"1 utterances have no class \(first: s2-u3\): give them a speaker"):
        student("kd", toy_corpus, targets, tmp_path)


def test_recordings_of_a_network(toy_corpus: Path, tmp_path: Path) -> None:
    """The recordings of the toy corpus are its utterances, so each is its own prototype."""
    from tests.training.test_averaged_teacher import FbankConfig, TdnnConfig, build_network, save_model

    torch.manual_seed(0)
    save_model(build_network(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig()), tmp_path / "own")
    make_classes("model", tmp_path / "own", toy_corpus, "recordings", tmp_path / "teacher", tmp_path / "p")
    model, names = load_model(tmp_path / "teacher"), sorted(read_table(toy_corpus / "utt2spk"))
    assert model.head is not None and model.head.speakers == names
    speech = SpeechReader(toy_corpus, 16000)
    for row in (0, 7, 15):
        prototype = functional.normalize(model.head.weight)[row]
        torch.testing.assert_close(prototype, model.embed_utterance(names[row], speech))


def test_what_is_refused(toy_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--classes clusters:16: there are 16 utterances: give fewer clusters"):
        make(toy_corpus, tmp_path / "x", "clusters:16")
    for classes in ("clusters", "clusters:1", "clusters:x", "voices", ""):
        with pytest.raises(UserError, match=f"--classes {classes}: give speakers, recordings, or clusters:K"):
            check_classes(classes)
