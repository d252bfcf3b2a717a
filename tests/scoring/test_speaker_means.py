"""Kaldi's files of speaker means, read back by an independent reader."""

from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest

from imlkd.errors import UserError
from imlkd.kaldi_io import ArkWriter
from imlkd.scoring.speaker_means import mean_vector, read_spk2utt, write_speaker_means

SPK2UTT = {"anna": ["anna-1", "anna-2", "anna-3"], "bert": ["bert-1"], "carl": ["carl-1", "carl-2"]}


def xvectors() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    names = [utterance for utterances in SPK2UTT.values() for utterance in utterances] + ["zoe-1"]
    return {name: generator.normal(0.0, 3.0, 8).astype(np.float32) for name in names}


def write_input(
    folder: Path, vectors: dict[str, np.ndarray], spk2utt: dict[str, list[str]] = SPK2UTT
) -> tuple[Path, Path]:
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as writer:
        for name, vector in vectors.items():
            writer.write(name, vector)
    (folder / "spk2utt").write_text("".join(f"{speaker} {' '.join(utts)}\n" for speaker, utts in spk2utt.items()))
    return folder / "spk2utt", folder / "xvector.scp"


def test_files_by_an_independent_reader(tmp_path: Path) -> None:
    vectors = xvectors()
    out = tmp_path / "out"
    write_speaker_means(*write_input(tmp_path, vectors), out)
    assert sorted(path.name for path in out.iterdir()) == ["num_utts.ark", "spk_xvector.ark", "spk_xvector.scp"]
    with kaldi_native_io.SequentialFloatVectorReader(f"scp,s,cs:{out}/spk_xvector.scp") as reader:
        means = {speaker: np.array(value) for speaker, value in reader}
    assert list(means) == ["anna", "bert", "carl"]
    for speaker, mean in means.items():
        expected = np.mean([vectors[name].astype(np.float64) for name in SPK2UTT[speaker]], axis=0)
        assert mean.dtype == np.float32
        np.testing.assert_array_equal(mean, expected.astype(np.float32))
    with kaldi_native_io.SequentialFloatVectorReader(f"ark:{out}/spk_xvector.ark") as reader:
        assert [speaker for speaker, _ in reader] == list(means)
    with kaldi_native_io.RandomAccessFloatVectorReader(f"scp,s,cs:{out}/spk_xvector.scp") as lookup:
        np.testing.assert_array_equal(lookup["carl"], means["carl"])
    with kaldi_native_io.SequentialInt32Reader(f"ark:{out}/num_utts.ark") as counts:
        assert list(counts) == [("anna", 3), ("bert", 1), ("carl", 2)]
    assert (out / "num_utts.ark").read_text() == "anna 3\nbert 1\ncarl 2\n"


def test_scp_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spk2utt, scp = write_input(tmp_path, xvectors())
    monkeypatch.chdir(tmp_path)
    write_speaker_means(spk2utt, scp, "relative/out")
    for line in (tmp_path / "relative/out/spk_xvector.scp").read_text().splitlines():
        assert line.split(" ")[1].startswith(f"{tmp_path}/relative/out/spk_xvector.ark:")


def test_missing_utterances_are_refused_or_counted(tmp_path: Path) -> None:
    vectors = xvectors()
    del vectors["anna-2"]
    paths = write_input(tmp_path, vectors)
    with pytest.raises(UserError, match=r"spk2utt: 1 utterances have no embedding .* first: anna-2: .*--max-missing"):
        write_speaker_means(*paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = write_speaker_means(*paths, tmp_path / "out", max_missing=1)
    assert (result.missing, result.num_utts["anna"]) == (["anna-2"], 2)
    np.testing.assert_allclose(result.means["anna"], (vectors["anna-1"] + vectors["anna-3"]) / 2, rtol=1e-6)


def test_speaker_without_any_embedding(tmp_path: Path) -> None:
    vectors = xvectors()
    del vectors["bert-1"]
    with pytest.raises(UserError, match="bert: none of its 1 utterances has an embedding"):
        write_speaker_means(*write_input(tmp_path, vectors), tmp_path / "out", max_missing=5)


def test_two_dimensions_are_refused(tmp_path: Path) -> None:
    for name, message in (("anna-3", "anna-3: embedding has shape"), ("bert-1", "bert: its embeddings have 5 dim")):
        vectors = {**xvectors(), name: np.ones(5, np.float32)}
        with pytest.raises(UserError, match=message):
            write_speaker_means(*write_input(tmp_path, vectors), tmp_path / "out")


def test_mean_vector_names_the_bad_utterance() -> None:
    with pytest.raises(UserError, match="b: embedding holds NaN"):
        mean_vector({"a": np.ones(2, np.float32), "b": np.array([1.0, np.nan], np.float32)})
    with pytest.raises(UserError, match="a: embedding has shape"):
        mean_vector({"a": np.ones((2, 2), np.float32)})


@pytest.mark.parametrize(
    "spk2utt", [{"anna": ["u1", "u2"], "bert": ["u2"]}, {"anna": ["u1", "u1"]}], ids=["two speakers", "one speaker"]
)
def test_utterance_listed_twice(tmp_path: Path, spk2utt: dict[str, list[str]]) -> None:
    paths = write_input(tmp_path, {"u1": np.ones(2, np.float32)}, spk2utt)
    with pytest.raises(UserError, match="is listed under anna and"):
        read_spk2utt(paths[0])


def test_unsorted_spk2utt(tmp_path: Path) -> None:
    (tmp_path / "spk2utt").write_text("bert b1\nanna a1\n")
    with pytest.raises(UserError, match="spk2utt:2: anna is not in C order"):
        read_spk2utt(tmp_path / "spk2utt")
