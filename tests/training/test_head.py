"""The head of an imported teacher."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import imlkd.training.head as module
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import write_table
from imlkd.models.speaker_model import CosineHead
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.progress import Progress
from imlkd.training.head import HeadConfig, _held_out, embed_segments, fit_head

CONFIG = HeadConfig(epochs=15, batch=8, held_out=0.3)


def toy(folder: Path, utterances: dict[str, int], spread: float = 0.3) -> tuple[torch.Tensor, list[Segment], list[str]]:
    """Embeddings around one direction a speaker, two segments an utterance; utt2spk in ``folder``."""
    generator = torch.Generator().manual_seed(0)
    names = sorted(utterances)
    centres = {name: functional.normalize(torch.randn(6, generator=generator), dim=0) for name in names}
    owner = {f"{name}-u{i}": name for name in names for i in range(utterances[name])}
    write_table(folder / "utt2spk", owner)
    segments = [Segment(utterance, start, 100) for utterance in owner for start in (0, 50)]
    rows = [3 * centres[owner[s.utterance]] + spread * torch.randn(6, generator=generator) for s in segments]
    return torch.stack(rows), segments, names


def test_separable_speakers_are_all_recognised(tmp_path: Path) -> None:
    embeddings, segments, names = toy(tmp_path, {"c": 4, "a": 5, "b": 3})
    head, accuracy = fit_head(embeddings, segments, tmp_path, names, CONFIG)
    assert accuracy == 1.0 and head.speakers == ["a", "b", "c"] and not head.weight.requires_grad
    labels = torch.tensor([names.index(s.utterance[0]) for s in segments])
    cosines = head(embeddings)
    assert (cosines.argmax(1) == labels).all() and cosines.gather(1, labels[:, None]).min() > 0.8


def test_labels_that_mean_nothing_are_not_recognised(tmp_path: Path) -> None:
    """The accuracy is that of utterances the head has not seen: noise gives chance, though the head fits it."""
    embeddings, segments, names = toy(tmp_path, {"a": 40, "b": 40})
    noise = torch.randn(embeddings.shape[0], 200, generator=torch.Generator().manual_seed(1))
    _, accuracy = fit_head(noise, segments, tmp_path, names, HeadConfig(epochs=40, held_out=0.5, margin=0.0))
    assert accuracy is not None and 0.3 < accuracy < 0.7


def test_the_best_pass_is_kept_and_training_stops_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes whose held-out accuracy is said to be 0.5, 0.9, 0.9, 0.6, 0.7, ...: the third one is kept."""
    embeddings, segments, names = toy(tmp_path, {"a": 4, "b": 4, "c": 4}, spread=2.0)
    weights: list[torch.Tensor] = []

    def said(model: CosineHead, *rest: object) -> float:
        weights.append(model.weight.detach().clone())
        return [0.5, 0.9, 0.9, 0.6, 0.7, 0.8, 0.1, 0.2][min(len(weights) - 1, 7)]

    monkeypatch.setattr(module, "_accuracy", said)
    head, _ = fit_head(embeddings, segments, tmp_path, names, replace(CONFIG, patience=3))
    assert len(weights) == 6 + 1  # six passes, and what the caller is told
    assert torch.equal(head.weight, weights[2]) and not torch.equal(weights[2], weights[3])


def test_the_same_seed_gives_the_same_head(tmp_path: Path) -> None:
    embeddings, segments, names = toy(tmp_path, {"a": 4, "b": 4})
    heads = []
    for _ in range(2):
        torch.manual_seed(len(heads))
        heads.append(fit_head(embeddings, segments, tmp_path, names, CONFIG)[0])
    assert torch.equal(heads[0].weight, heads[1].weight)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whole_utterances_are_held_out_and_one_of_each_speaker_stays(tmp_path: Path, share: float, seed: int) -> None:
    utterances = {"a": 1, "b": 2, "c": 9, "d": 1, "e": 3}
    _, segments, names = toy(tmp_path, utterances)
    labels = torch.tensor([names.index(s.utterance[0]) for s in segments])
    held = _held_out(segments, labels, HeadConfig(held_out=share, seed=seed))
    by_utterance: dict[str, set[bool]] = {}
    for segment, out in zip(segments, held.tolist(), strict=True):
        by_utterance.setdefault(segment.utterance, set()).add(out)
    assert all(len(marks) == 1 for marks in by_utterance.values())
    out = Counter(name[0] for name, marks in by_utterance.items() if marks == {True})
    assert all(out[name] < count for name, count in utterances.items())
    assert abs(out.total() - share * 16) < 1 or (share == 0.5 and out.total() == 8)


def test_nothing_to_hold_out_is_no_hundred_percent(tmp_path: Path) -> None:
    embeddings, segments, names = toy(tmp_path, {"a": 1, "b": 1})
    assert fit_head(embeddings, segments, tmp_path, names, CONFIG)[1] is None


def test_a_speaker_without_a_segment_is_named(tmp_path: Path) -> None:
    embeddings, segments, names = toy(tmp_path, {"a": 2, "b": 2, "c": 2})
    kept = [i for i, segment in enumerate(segments) if segment.utterance[0] != "b"]
    with pytest.raises(
        UserError, match=rf"^{tmp_path}: 1 speakers have no training segment \(first: b\): lower min_speech"
    ):
        fit_head(embeddings[kept], [segments[i] for i in kept], tmp_path, names, CONFIG)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_embeddings_stay_with_their_segments(toy_corpus: Path, tmp_path: Path, batch: int) -> None:
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=24)).eval()
    speech = SpeechReader(toy_corpus, 16000)
    places = [("s0-u1", 0, 60), ("s2-u0", 10, 100), ("s0-u1", 20, 100), ("s1-u3", 0, 60), ("s3-u2", 5, 80)]
    segments = [Segment(*place) for place in places]
    with Progress("x", 5, tmp_path / "progress") as counted:
        found = embed_segments(model, speech, segments, counted, batch)
    assert counted.count == 5 and not found.requires_grad
    for row, segment in zip(found, segments, strict=True):
        features = model.frontend(speech.segment(segment))[None]
        alone = model(features, torch.tensor([segment.frames])).embedding[0].detach()
        np.testing.assert_allclose(row.numpy(), alone.numpy(), atol=1e-4)
