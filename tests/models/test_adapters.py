import torch

from imlkd.features.fbank import FbankConfig
from imlkd.models.adapters import Adapter, adapters_of
from imlkd.models.size import count_parameters
from imlkd.models.tdnn import Tdnn, TdnnConfig


def test_begins_as_the_identity_and_is_switched_row_by_row() -> None:
    torch.manual_seed(0)
    adapter, frames = Adapter(6, 2), torch.randn(3, 6, 5)
    torch.testing.assert_close(adapter(frames), frames, rtol=0, atol=0)
    torch.nn.init.normal_(adapter.up.weight)
    whole = adapter(frames)
    change = torch.einsum("cd,bdt->bct", adapter.up.weight[:, :, 0], torch.relu(adapter.down(frames)))
    torch.testing.assert_close(whole, frames + change)
    adapter.rows = torch.tensor([1.0, 0.0, 1.0])
    mixed = adapter(frames)
    assert torch.equal(mixed[1], frames[1]) and torch.equal(mixed[[0, 2]], whole[[0, 2]])


def test_a_tdnn_with_adapters() -> None:
    fbank = FbankConfig(num_mel_bins=8)
    plain = Tdnn(TdnnConfig(width=8, blocks=3, embedding_dim=6), fbank)
    adapted = Tdnn(TdnnConfig(width=8, blocks=3, embedding_dim=6, adapters=4), fbank)
    assert adapters_of(plain) == [] and len(adapters_of(adapted)) == 3
    assert count_parameters(adapted) - count_parameters(plain) == 3 * (8 * 2 + 2 + 2 * 8 + 8)
    adapted.load_state_dict(plain.state_dict(), strict=False)
    features, lengths = torch.randn(2, 30, 8), torch.tensor([30, 21])
    ours, theirs = adapted.eval()(features, lengths), plain.eval()(features, lengths)
    torch.testing.assert_close(ours.embedding, theirs.embedding, rtol=0, atol=0)
