"""A model on a data directory, as a test of its maps needs it: untouched embeddings, classes, segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from imlkd.attribution.baselines import Baseline, baseline_of
from imlkd.errors import UserError
from imlkd.features.fbank import FRAMES_PER_SECOND, num_frames
from imlkd.features.segments import Segment
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import sort_ids
from imlkd.models.speaker_model import CosineHead, SpeakerModel
from imlkd.progress import Progress


class Subject:
    """A model with what it says of utterances as they are.

    :param utt2spk: speaker of each utterance of the data directory.
    """

    def __init__(
        self, model: SpeakerModel, data_dir: Path, utt2spk: Mapping[str, str], allow_pipes: bool = False
    ) -> None:
        self.model, self.utt2spk = model, utt2spk
        self.speech = SpeechReader(data_dir, model.frontend.sample_rate, allow_pipes)
        self.embeddings: dict[str, Tensor] = {}

    def unknown_speakers(self) -> list[str]:
        """Speakers of the data that the model's head lacks; all without a head."""
        head = self.model.head
        return sort_ids(set(self.utt2spk.values()) - set(head.speakers if head is not None else ()))

    def embed(self, names: Iterable[str], progress: Progress) -> None:
        """Unit embeddings of whole utterances, for ``embeddings``.

        :raises UserError: where one is not finite, naming the utterance.
        """
        for name in names:
            self.embeddings[name] = self.model.embed(self.speech.utterance(name))
            if not torch.isfinite(self.embeddings[name]).all():
                raise UserError(f"{name}: its embedding holds NaN or infinite values: check the audio and the model")
            progress.update()

    def enrol(self, names: Sequence[str]) -> None:
        """Replace the head by the classes at hand: of each speaker the mean of these embedded utterances."""
        speakers = sort_ids({self.utt2spk[name] for name in names})
        rows = {speaker: row for row, speaker in enumerate(speakers)}
        total = torch.zeros(len(speakers), self.model.embedding_dim)
        for name in names:
            total[rows[self.utt2spk[name]]] += self.embeddings[name]
        head = CosineHead(self.model.embedding_dim, speakers)
        head.weight = torch.nn.Parameter(functional.normalize(total), requires_grad=False)
        self.model.head = head

    def another_of(self, name: str) -> Tensor:
        """Embedding of the first other embedded utterance of the same speaker.

        :raises UserError: when there is none.
        """
        speaker = self.utt2spk[name]
        for other in sort_ids(self.embeddings):
            if other != name and self.utt2spk[other] == speaker:
                return self.embeddings[other]
        raise UserError(f"{name}: {speaker} has no other utterance to enrol: explain another quantity")

    def baseline(self, name: str) -> Baseline:
        """By name; ``average`` is over the embedded utterances."""
        return baseline_of(name, self.model, (self.model.frontend(self.speech.utterance(u)) for u in self.embeddings))

    def centre(self, name: str, seconds: float) -> Segment | None:
        """The middle of an utterance, or None where it is shorter."""
        frames = num_frames(len(self.speech.utterance(name)), self.speech.sample_rate)
        wanted = round(seconds * FRAMES_PER_SECOND)
        return Segment(name, (frames - wanted) // 2, wanted) if wanted <= frames else None

    def features(self, segment: Segment) -> Tensor:
        """(T, F) of the model's own front-end; behind ``segment.frames`` lies its padding."""
        return self.model.frontend(self.speech.segment(segment))
