"""A teacher that is a table of Kaldi embeddings: imported, looked up, distilled from; what it cannot do is refused."""

import shutil
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch

from imlkd.errors import UserError
from imlkd.features.segments import read_segments
from imlkd.kaldi_io import ArkWriter, read_scp_arrays, read_table
from imlkd.models.extraction import extract_embeddings
from imlkd.models.size import count_macs, count_parameters
from imlkd.models.store import load_model
from imlkd.models.xvector_table import XvectorTable, load_table
from imlkd.training.check import check_recipe
from tests.training.stages import explained, imported, student

Vectors = dict[str, np.ndarray]


def vectors_of(corpus: Path, dim: int = 7) -> Vectors:
    """Around a direction that each speaker has."""
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(4, dim))
    names = read_table(corpus / "utt2spk", fields=2)
    return {n: (5 * centres[int(s[1])] + generator.normal(size=dim)).astype(np.float32) for n, s in names.items()}


def write(vectors: Vectors, folder: Path) -> Path:
    """By another writer than ours."""
    with kaldi_native_io.FloatVectorWriter(f"ark,scp:{folder}/x.ark,{folder}/x.scp") as writer:
        for name, vector in vectors.items():
            writer.write(name, vector)
    return folder / "x.scp"


@pytest.fixture(scope="module")
def made(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Vectors]:
    """Teacher, targets, vectors; two of the sixteen utterances have none."""
    folder = tmp_path_factory.mktemp("table")
    vectors = vectors_of(toy_corpus)
    del vectors["s1-u2"]
    imported("xvectors", write(vectors, folder), toy_corpus, folder / "teacher")
    (folder / "x.ark").unlink()  # the teacher's folder is whole without it
    (folder / "teacher").rename(folder / "moved")
    targets, said = explained(folder / "moved", toy_corpus, nj=2)
    assert said.endswith("embeddings and cosines of the table, no relevance")
    return folder / "moved", targets, vectors


def test_every_segment_has_its_utterances_vector(made: tuple[Path, Path, Vectors]) -> None:
    teacher, targets, vectors = made
    segments = read_segments(targets / "segments")
    assert {segment.utterance for segment in segments} == set(vectors) and len(segments) > 2 * len(vectors)
    embeddings, cosines = (read_scp_arrays(targets / f"{kind}.scp") for kind in ("embedding", "cosines"))
    head = load_model(teacher).head
    assert head is not None
    weights = head.weight.numpy() / np.linalg.norm(head.weight.numpy(), axis=1, keepdims=True)
    for segment in segments:
        vector = vectors[segment.utterance]
        assert np.array_equal(embeddings[segment.id], vector)
        np.testing.assert_allclose(cosines[segment.id], weights @ vector / np.linalg.norm(vector), atol=1e-6)
        assert cosines[segment.id].argmax() == int(segment.utterance[1])
    assert not (targets / "relevance.scp").exists()


@pytest.mark.parametrize("method", ["emb-cos", "emb-mse", "rkd", "sp", "kd", "mlld"])
def test_students(made: tuple[Path, Path, Vectors], toy_corpus: Path, tmp_path: Path, method: str) -> None:
    assert torch.isfinite(student(method, toy_corpus, made[1], tmp_path).embed(torch.randn(16000))).all()


@pytest.mark.parametrize("method", ["imlkd", "ig-match"])
def test_what_needs_relevance_is_refused(
    made: tuple[Path, Path, Vectors], toy_corpus: Path, tmp_path: Path, method: str
) -> None:
    with pytest.raises(UserError, match="its teacher is a table of embeddings, which has no relevance"):
        student(method, toy_corpus, made[1], tmp_path)
    with pytest.raises(UserError, match=f"--methods {method} needs a network to explain or to run, and xvectors"):
        check_recipe("xvectors", f"kd,{method}", tmp_path)


def test_what_needs_stages_is_refused(made: tuple[Path, Path, Vectors], toy_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--methods at needs a network"):
        check_recipe("xvectors", "at", tmp_path)
    with pytest.raises(UserError, match="has no stages inside"):
        student("at", toy_corpus, made[1], tmp_path)


def test_its_embeddings_of_a_set_and_its_size(
    made: tuple[Path, Path, Vectors], toy_corpus: Path, tmp_path: Path
) -> None:
    table, vectors = load_model(made[0]), made[2]
    assert isinstance(table, XvectorTable)
    with pytest.raises(UserError, match="s1-u2: has no embedding in the teacher's table"):
        extract_embeddings(table, toy_corpus, tmp_path / "x", 1, tmp_path / "progress")
    assert table.lacks(read_table(toy_corpus / "utt2spk", fields=2)) == ["s1-u2"]
    place = table.places.pop("s1-u1")
    table.places |= {"s1-u1": place, "s1-u2": place}
    extract_embeddings(table, toy_corpus, tmp_path / "x", 1, tmp_path / "progress")
    found = read_scp_arrays(tmp_path / "x/xvector.1.scp")
    np.testing.assert_allclose(found["s3-u0"], vectors["s3-u0"] / np.linalg.norm(vectors["s3-u0"]), atol=1e-6)
    assert (count_parameters(table), count_macs(table)) == (0, 0)


def test_too_many_utterances_lack(toy_corpus: Path, tmp_path: Path) -> None:
    vectors = vectors_of(toy_corpus)
    for name in ("s0-u0", "s1-u2"):
        del vectors[name]
    with pytest.raises(UserError, match=r"2 of 16 utterances have no embedding \(first: s0-u0 s1-u2\), more than max"):
        imported("xvectors", write(vectors, tmp_path), toy_corpus, tmp_path / "teacher")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(6, np.float32), "s2-u1 has shape .6,., the first entry 7 values"),
        (np.zeros(7, np.float32), "s2-u1 is zero, or holds NaN"),
        (np.full(7, np.nan, np.float32), "s2-u1 is zero, or holds NaN"),
    ],
)
def test_vectors_that_are_none(toy_corpus: Path, tmp_path: Path, value: np.ndarray, message: str) -> None:
    vectors = vectors_of(toy_corpus) | {"s2-u1": value}
    with pytest.raises(UserError, match=message):
        imported("xvectors", write(vectors, tmp_path), toy_corpus, tmp_path / "teacher")


def test_tables_that_are_none(made: tuple[Path, Path, Vectors], tmp_path: Path) -> None:
    with ArkWriter(tmp_path / "m.ark", tmp_path / "m.scp") as writer:
        writer.write("a", np.ones((3, 2)))
    with pytest.raises(UserError, match="m.scp: its first entry has shape .3, 2.: give a scp of vectors"):
        load_table(tmp_path / "m.scp")
    with pytest.raises(UserError, match="gone.scp: no such file"):
        load_table(tmp_path / "gone.scp")
    shutil.copytree(made[0], tmp_path / "damaged")
    with open(tmp_path / "damaged/embeddings.ark", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match="embeddings.ark: missing or damaged: import the teacher again"):
        load_model(tmp_path / "damaged")
