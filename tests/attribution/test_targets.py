"""Targets of segments: each array against the model asked one segment at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd.attribution.relevance import RelevanceConfig, frame_relevance
from imlkd.attribution.targets import KINDS, Explainer, Target, device_of
from imlkd.errors import UserError
from imlkd.features.fbank import FbankConfig
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table
from imlkd.models.ge2e import Ge2e
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.tdnn import Tdnn, TdnnConfig

CLASSES = ["s0", "s1", "s2", "s3"]
SEGMENTS = [
    Segment(f"s{s}-u{u}", start, frames) for s in (0, 2, 3) for u in (1, 3) for frames in (60, 100) for start in (0, 50)
]
CONFIG = RelevanceConfig(nodes=4, batch=5)


def tdnn() -> SpeakerModel:
    torch.manual_seed(0)
    model = Tdnn(TdnnConfig(width=6, blocks=1, embedding_dim=5), FbankConfig(num_mel_bins=24))
    model.train()(torch.randn(6, 30, 24) + 8, torch.full((6,), 30))
    return with_head(model)


def ge2e() -> SpeakerModel:
    """Its forget gates wide open: untrained, it would know nothing of frames that lie before the padding."""
    torch.manual_seed(0)
    model = Ge2e()
    for layer in model.layers:
        layer.bias_hh_l0.data[256:512] = 8.0
        layer.bias_ih_l0.data[:256] = -2.0
    return with_head(model)


def with_head(model: SpeakerModel) -> SpeakerModel:
    """More speakers than the student's, in another order."""
    model.head = CosineHead(model.embedding_dim, ["s3", "x9", "s0", "s2", "s1"])
    return model.eval().requires_grad_(False)


def explainer(corpus: Path, model: SpeakerModel, config: RelevanceConfig = CONFIG) -> Explainer:
    labels = read_table(corpus / "utt2spk", fields=2)
    return Explainer(model, CLASSES, labels, SpeechReader(corpus, model.frontend.sample_rate), config)


def by_id(explained: Explainer) -> dict[str, Target]:
    found = list(explained.targets(SEGMENTS))
    assert len(found) == len(SEGMENTS)
    return {target.segment.id: target for target in found}


@pytest.mark.parametrize("make", [tdnn, ge2e])
def test_arrays_are_the_models_answers(toy_corpus: Path, make: object) -> None:
    model = make()  # type: ignore[operator]
    explained = explainer(toy_corpus, model)
    targets = by_id(explained)
    assert targets.keys() == {segment.id for segment in SEGMENTS}
    columns = [2, 4, 3, 0]  # of s0 to s3 in the teacher's head
    for segment in SEGMENTS:
        arrays = targets[segment.id].arrays
        features = model.frontend(explained.speech.segment(segment))[None]
        output = model(features, torch.tensor([features.shape[1]]))
        np.testing.assert_allclose(arrays["embedding"], output.embedding[0], atol=2e-5)
        np.testing.assert_allclose(arrays["cosines"], output.cosines[0][columns], atol=2e-5)
        relevance = arrays["relevance"]
        assert relevance.shape == (segment.frames,) and relevance.min() == 0.0 and relevance.max() <= 1.0
        assert relevance.dtype == np.float32 and relevance.max() > 0.99
        gated = features.numpy().copy()
        mean = gated[0, : segment.frames].mean(0)
        gate = 0.5 + 0.5 * relevance[:, None]
        gated[0, : segment.frames] = mean + gate * (gated[0, : segment.frames] - mean)  # padding is left alone
        expected = model(torch.from_numpy(gated), torch.tensor([gated.shape[1]])).cosines[0][columns]
        np.testing.assert_allclose(arrays["cosines_gated"], expected, atol=5e-5)


@pytest.mark.parametrize("quantity", ["cosine", "probability", "log-probability"])
def test_the_relevance_is_of_the_segments_own_speaker(toy_corpus: Path, quantity: str) -> None:
    """Against gradients of that cosine, or posterior, on a fine path, written out."""
    model = tdnn()
    config = RelevanceConfig(nodes=32, batch=5, quantity=quantity, temperature=2.0)
    explained = explainer(toy_corpus, model, config)
    targets = by_id(explained)
    assert model.head is not None
    for segment in SEGMENTS[::5]:
        x = model.frontend(explained.speech.segment(segment))[None].double()
        double = tdnn().double()
        baseline, total = x.mean(1, keepdim=True), torch.zeros_like(x)
        column = model.head.speakers.index(segment.utterance.split("-")[0])
        for k in range(200):
            at = (baseline + (k + 0.5) / 200 * (x - baseline)).requires_grad_()
            cosines = double(at, torch.tensor([segment.frames])).cosines[0]
            posterior = (30.0 * cosines / 2.0).softmax(0)[column]
            asked = {"cosine": cosines[column], "probability": posterior, "log-probability": posterior.log()}[quantity]
            total += torch.autograd.grad(asked, at)[0] / 200
        expected = frame_relevance(((x - baseline) * total).float(), config)[0]
        np.testing.assert_allclose(targets[segment.id].arrays["relevance"], expected, atol=0.03)


def test_rho_of_one_is_the_identity(toy_corpus: Path) -> None:
    for target in by_id(explainer(toy_corpus, tdnn(), RelevanceConfig(nodes=2, rho=1.0))).values():
        np.testing.assert_allclose(target.arrays["cosines_gated"], target.arrays["cosines"], atol=1e-6)


def test_rho_of_zero_moves_more_than_a_half(toy_corpus: Path) -> None:
    shifts = []
    for rho in (0.0, 0.5):
        targets = by_id(explainer(toy_corpus, tdnn(), RelevanceConfig(nodes=2, rho=rho))).values()
        shifts.append(np.mean([np.abs(t.arrays["cosines_gated"] - t.arrays["cosines"]).mean() for t in targets]))
    assert shifts[0] > shifts[1] > 0


def test_the_size_of_batches_does_not_count(toy_corpus: Path) -> None:
    model = tdnn()
    first = by_id(explainer(toy_corpus, model, RelevanceConfig(nodes=4, batch=1)))
    second = by_id(explainer(toy_corpus, model, RelevanceConfig(nodes=4, batch=4096)))
    for name, target in first.items():
        for kind in KINDS:
            np.testing.assert_allclose(target.arrays[kind], second[name].arrays[kind], atol=1e-3)


def test_heads_that_do_not_fit(toy_corpus: Path) -> None:
    model = tdnn()
    model.head = CosineHead(5, ["s1", "s3"])
    with pytest.raises(UserError, match=r"lacks 2 training speakers \(first: s0 s2\): train the teacher"):
        explainer(toy_corpus, model)
    model.head = None
    with pytest.raises(UserError, match="no speaker head: run stage 2 again"):
        explainer(toy_corpus, model)


def test_the_classes_that_stand_out(toy_corpus: Path) -> None:
    for k in (1, 3, 10):
        for target in by_id(explainer(toy_corpus, tdnn(), RelevanceConfig(nodes=2, top_k=k))).values():
            best = np.argsort(-target.arrays["cosines"], kind="stable")[:k]
            assert target.arrays["top_classes"].tolist() == best.tolist()
            np.testing.assert_array_equal(target.arrays["top_cosines"], target.arrays["cosines"][best])


def test_a_broken_teacher_is_named(toy_corpus: Path) -> None:
    model = tdnn()
    model.segment[1].bias.data.fill_(float("nan"))
    with pytest.raises(UserError, match="^s0-u1-0060-00000: the teacher's output holds NaN or infinite values"):
        list(explainer(toy_corpus, model).targets(SEGMENTS))


def test_jobs_take_turns_on_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(device_of(job)) for job in (1, 2, 3)] == ["cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert str(device_of(2)) == "cpu"
