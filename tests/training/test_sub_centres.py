"""A head with several weights a class: the nearest counts, and a model with one comes back from the disk."""

from pathlib import Path

import torch

from imlkd.features.fbank import FbankConfig
from imlkd.models.speaker_model import CosineHead
from imlkd.models.store import load_model, save_model
from imlkd.models.tdnn import TdnnConfig
from imlkd.training.teacher import build_model


def test_the_nearest_counts() -> None:
    torch.manual_seed(0)
    head, embedding = CosineHead(4, ["a", "b", "c"], sub_centres=2), torch.randn(5, 4)
    found = head(embedding)
    for row in range(5):
        for label in range(3):
            own = [torch.nn.functional.cosine_similarity(embedding[row], head.weight[2 * label + i], 0) for i in (0, 1)]
            torch.testing.assert_close(found[row, label], torch.stack(own).max())


def test_it_comes_back_from_the_disk(tmp_path: Path) -> None:
    model = build_model(TdnnConfig(width=4, blocks=1, embedding_dim=4), FbankConfig(), ["a", "b"], torch.zeros(80), 3)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.head is not None and again.head.sub_centres == 3 and again.head.speakers == ["a", "b"]
    features, lengths = torch.randn(2, 60, 80), torch.tensor([60, 60])
    cosines = again(features, lengths).cosines
    assert cosines is not None and torch.equal(cosines, model.eval()(features, lengths).cosines)
