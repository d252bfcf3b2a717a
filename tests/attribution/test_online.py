"""The teacher in the training loop: equal to the cache on the clean crop, and to itself on the augmented one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imlkd.attribution.online import OnlineTeacher
from imlkd.attribution.relevance import RelevanceConfig
from imlkd.attribution.targets import Explainer
from imlkd.features.fbank import FbankConfig
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import read_table
from imlkd.models.ge2e import Ge2e
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.models.tdnn import Tdnn, TdnnConfig

SEGMENTS = [Segment(f"s{s}-u{u}", 10 * u, 100) for s in (0, 1, 3) for u in (0, 2)]
CONFIG = RelevanceConfig(nodes=16, max_nodes=16)


def with_head(model: SpeakerModel) -> SpeakerModel:
    model.head = CosineHead(model.embedding_dim, ["s3", "s0", "s2", "s1"])
    return model.eval().requires_grad_(False)


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


def explainer(corpus: Path, model: SpeakerModel, config: RelevanceConfig = CONFIG) -> Explainer:
    labels = read_table(corpus / "utt2spk", fields=2)
    return Explainer(model, ["s0", "s1", "s2", "s3"], labels, SpeechReader(corpus, 16000), config)


@pytest.mark.parametrize("make", [tdnn, ge2e])
def test_online_and_cached_agree_on_the_clean_crop(toy_corpus: Path, make: object) -> None:
    """At the same nodes to 1e-3 of relevance, the share that min-max of float32 sums leaves open; cosines to 5e-5."""
    explained = explainer(toy_corpus, make())  # type: ignore[operator]
    cached = {target.segment.id: target.arrays for target in explained.targets(SEGMENTS)}
    online = OnlineTeacher(explained, nodes=16)
    heard = online.hear(SEGMENTS)
    relevance = online.relevance(online.attribution(heard))
    gated = online.cosines_gated(heard, 0.5 + 0.5 * relevance)
    for row, segment in enumerate(SEGMENTS):
        arrays = cached[segment.id]
        np.testing.assert_allclose(relevance[row], arrays["relevance"], atol=1e-3)
        np.testing.assert_allclose(online.cosines(heard)[row], arrays["cosines"], atol=5e-5)
        np.testing.assert_allclose(gated[row], arrays["cosines_gated"], atol=5e-5)


def test_the_relevance_is_of_the_augmented_crop(toy_corpus: Path) -> None:
    """Half of each crop drowned in noise: another map than the clean one, and that of just this waveform."""
    explained = explainer(toy_corpus, tdnn())
    online, generator = OnlineTeacher(explained, nodes=16), torch.Generator().manual_seed(0)
    clean = [explained.speech.segment(segment) for segment in SEGMENTS]
    drowned = [wave.clone() for wave in clean]
    for wave in drowned:
        wave[:8000] += 0.3 * torch.randn(8000, generator=generator)
    maps = {}
    for name, waves in (("clean", clean), ("drowned", drowned)):
        maps[name] = online.relevance(online.attribution(online.hear(SEGMENTS, waves)))
    torch.testing.assert_close(maps["clean"], online.relevance(online.attribution(online.hear(SEGMENTS))))
    assert (maps["clean"] - maps["drowned"]).abs().mean() > 0.05
    features = [explained.model.frontend(wave) for wave in drowned]
    alone = torch.stack([explained.explain([s], [f])[0].map for s, f in zip(SEGMENTS, features, strict=True)])
    torch.testing.assert_close(maps["drowned"], online.relevance(alone.float()), atol=1e-3, rtol=0)


@pytest.mark.parametrize("nodes", [2, 8])
def test_the_nodes_are_the_users(toy_corpus: Path, nodes: int) -> None:
    """Whatever the tolerance: n pieces of the path, n + 1 gradients."""
    explained = explainer(toy_corpus, tdnn(), RelevanceConfig(tolerance=1e-6))
    online = OnlineTeacher(explained, nodes)
    found = online.explainer.explain(SEGMENTS, list(online.hear(SEGMENTS).features))
    assert {one.gradients for one in found} == {nodes + 1}


def test_a_frontends_padding_is_no_relevance(toy_corpus: Path) -> None:
    online = OnlineTeacher(explainer(toy_corpus, ge2e()), nodes=4)
    heard = online.hear(SEGMENTS)
    assert heard.features.shape[1] == 161 and online.attribution(heard).shape[:2] == (len(SEGMENTS), 100)
