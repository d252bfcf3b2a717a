"""Several teachers as one: averaged targets.

The embedding is the members' unit embeddings one after the other, over the square root of their number. The cosine of
two utterances is then the mean of the members' cosines, and so is every Gram matrix of them, whatever the members'
dimensions are. The head is made of the members' heads likewise, so that class cosines are the mean too; logits are
cosines times a scale, so the posteriors at any temperature are the members' geometric mean, normalised:

    softmax(s/t mean_m c_m)  ~  prod_m softmax(s/t c_m)^(1/M)

An arithmetic mean of posteriors is not the softmax of any cosines and would depend on the temperature that it is taken
at; methods here take several (docs/models.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imlkd.errors import UserError
from imlkd.features.wave_frames import waveform_parts
from imlkd.models.speaker_model import CosineHead, FrontEnd, SpeakerModel, SpeakerOutput


class JoinedFrontEnd:
    """Features of several front-ends side by side: (T, sum of their values + one each).

    A front-end may pad; what is behind its own frames is zero, and how many it has stands in the last columns, the same
    in each frame, so that neither a gate nor a path of Integrated Gradients moves it.

    :raises UserError: when they hear different sampling rates.
    """

    def __init__(self, members: Sequence[FrontEnd]) -> None:
        rates = {one.sample_rate for one in members}
        if len(rates) > 1:
            raise UserError(f"teachers of {' and '.join(map(str, sorted(rates)))} Hz do not go together: take one rate")
        self.members, self.sample_rate = list(members), members[0].sample_rate
        ends = [sum(one.dim for one in self.members[: i + 1]) for i in range(len(self.members))]
        self.columns = [slice(end - one.dim, end) for end, one in zip(ends, self.members, strict=True)]
        self.dim = ends[-1] + len(self.members)
        self.counts = slice(ends[-1], self.dim)
        self.waveform_parts = [
            slice(own.start + part.start, own.start + part.stop)
            for own, one in zip(self.columns, self.members, strict=True)
            for part in waveform_parts(one)
        ]

    def __call__(self, waveform: Tensor) -> Tensor:
        parts = [one(waveform) for one in self.members]
        longest = max(map(len, parts))
        padded = [functional.pad(part, (0, 0, 0, longest - len(part))) for part in parts]
        counts = torch.tensor([len(part) for part in parts], dtype=padded[0].dtype)
        return torch.cat([*padded, counts.expand(longest, -1)], 1)


class Ensemble(SpeakerModel):
    """Members that hear the same audio, each with its own front-end; their own heads are not used."""

    architecture = "ensemble"
    has_stages = False

    def __init__(self, members: Sequence[SpeakerModel]) -> None:
        for member in members:
            if not member.frontend.dim:
                raise UserError("a table of embeddings hears nothing and cannot be averaged with other teachers")
        self._joined = JoinedFrontEnd([member.frontend for member in members])
        super().__init__(self._joined, sum(member.embedding_dim for member in members))
        self.members = nn.ModuleList(members)
        self.is_opaque = any(member.is_opaque for member in members)
        self.min_frames = max(member.min_frames for member in members)

    def encode(self, features: Tensor, lengths: Tensor) -> SpeakerOutput:
        """Each member by the number of frames that its own front-end gave."""
        embeddings = []
        for i, member in enumerate(self.networks()):
            own = features[:, 0, self._joined.dim - len(self.members) + i].detach().round().long()
            own = own.clamp(min(member.min_frames, features.shape[1]), features.shape[1])  # a probe may hold anything
            part = features[:, : int(own.max()), self._joined.columns[i]]
            embeddings.append(member.encode(part, own).embedding)
        joined = joined_unit(embeddings)
        return SpeakerOutput([joined[:, :, None]], joined, joined, None)

    def named(self) -> list[tuple[str, SpeakerModel]]:
        """Members with the names of their folders inside the ensemble's."""
        return [(f"member{i}", member) for i, member in enumerate(self.networks())]

    def settings(self) -> dict[str, Any]:
        return {"members": [name for name, _ in self.named()]}

    def networks(self) -> list[SpeakerModel]:
        """The members."""
        return [member for member in self.members if isinstance(member, SpeakerModel)]


def joined_unit(embeddings: Sequence[Tensor]) -> Tensor:
    """(N, D_m) of each member -> (N, sum of D_m) of unit length, whose cosines are the mean of the members'."""
    return torch.cat([functional.normalize(one) for one in embeddings], 1) / math.sqrt(len(embeddings))


@torch.no_grad()
def joined_head(heads: Sequence[CosineHead]) -> CosineHead:
    """A head whose cosines are the mean of those of the members' heads, all over the same speakers."""
    weight = joined_unit([head.weight for head in heads])
    head = CosineHead(weight.shape[1], heads[0].speakers)
    head.weight.copy_(weight)
    return head.requires_grad_(False)
