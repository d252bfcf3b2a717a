"""Stage 5: embeddings in Kaldi's arks."""

import os
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import soundfile
import torch

from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.kaldi_io import read_table
from imlkd.models.extraction import extract_embeddings
from imlkd.models.tdnn import Tdnn, TdnnConfig


@pytest.fixture
def model() -> Tdnn:
    torch.manual_seed(0)
    return Tdnn(TdnnConfig(width=8, blocks=1, embedding_dim=12), FbankConfig(num_mel_bins=24)).eval()


def test_one_unit_vector_an_utterance(toy_corpus: Path, tmp_path: Path, model: Tdnn) -> None:
    wav = read_table(toy_corpus / "wav.scp")
    assert extract_embeddings(model, toy_corpus, tmp_path, 3, tmp_path / "progress") == len(wav)
    assert list(read_table(tmp_path / "xvector.3.scp", fields=2)) == list(wav)
    with kaldi_native_io.RandomAccessFloatVectorReader(f"scp,s,cs:{tmp_path}/xvector.3.scp") as reader:
        for name, path in wav.items():
            vector = np.array(reader[name])
            samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
            frames = model.frontend(samples)[None]
            raw = model.encode(frames, torch.tensor([frames.shape[1]])).embedding[0].detach().numpy()
            np.testing.assert_allclose(vector, raw / np.linalg.norm(raw), atol=1e-6)
            assert vector.shape == (12,) and abs(np.linalg.norm(vector) - 1) < 1e-6


def test_a_broken_model_is_named_by_the_utterance(toy_corpus: Path, tmp_path: Path, model: Tdnn) -> None:
    model.segment[1].weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match="^s0-u0: its embedding holds NaN or infinite values"):
        extract_embeddings(model, toy_corpus, tmp_path / "x", 1, tmp_path / "progress")
    assert os.listdir(tmp_path / "x") == []
