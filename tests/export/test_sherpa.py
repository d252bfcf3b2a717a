"""features.onnx: its names and keys, loaded by sherpa-onnx itself."""

import numpy as np
import pytest
import torch

from imlkd.export.front_end import front_end_facts
from imlkd.export.sherpa import mismatch, sherpa_keys
from imlkd.export.stage import FEATURES
from imlkd.features.fbank import FbankConfig, LogMel
from imlkd.features.teacher_fbanks import SnippedFbankConfig, SnippedLogMel
from imlkd.onnx_session import open_session


@pytest.mark.parametrize("samples", [8000, 16001, 48123])
def test_sherpa_onnx_gives_the_recipes_embeddings(student, samples: int) -> None:
    sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed (requirements-dev.txt)")
    config = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(student.out / FEATURES), num_threads=1)
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(config)
    assert extractor.dim == 16
    waveform = (0.1 * np.random.default_rng(samples).standard_normal(samples)).astype(np.float32)
    stream = extractor.create_stream()
    stream.accept_waveform(16000, waveform)
    stream.input_finished()
    expected = student.load().embed(torch.from_numpy(waveform)).numpy()
    assert np.abs(np.array(extractor.compute(stream)) - expected).max() < 1e-5


def test_names_and_keys(student) -> None:
    session = open_session(student.out / FEATURES)
    told = session.get_modelmeta().custom_metadata_map
    assert session.get_inputs()[0].name == "feats" and session.get_outputs()[0].name == "embs"
    assert session.get_inputs()[0].shape == ["batch", "frames", 80]
    assert told["imlkd.input"] == "features" and told["framework"] == "wespeaker"
    assert (told["sample_rate"], told["output_dim"], told["normalize_samples"]) == ("16000", "16", "0")
    assert told["feature_normalize_type"] == "" and {"language", "url", "comment"} <= told.keys()


def test_features_of_the_models_own_front_end_give_its_embedding(student) -> None:
    model, waveform = student.load(), 0.1 * torch.randn(20000, generator=torch.Generator().manual_seed(0))
    found = open_session(student.out / FEATURES).run(None, {"feats": model.frontend(waveform)[None].numpy()})[0][0]
    assert np.abs(found - model.embed(waveform).numpy()).max() < 1e-5


def test_sherpas_keys_are_left_out_where_its_features_are_not_the_models() -> None:
    narrow = front_end_facts(LogMel(FbankConfig(num_mel_bins=40, high_freq=7000.0)))
    assert mismatch(narrow) == "num_mel_bins is 40, not 80, high_freq is 7000, not 7600"
    assert sherpa_keys(narrow, 16, "m") == {}
    assert mismatch(front_end_facts(SnippedLogMel(SnippedFbankConfig()))) == "its front-end is snipped"
    assert not mismatch(front_end_facts(LogMel(FbankConfig(sample_rate=8000, high_freq=3600.0))))
