"""What a smaller variant costs in errors: every one scored on the recipe's own trials, beside the float32 graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imlkd.corpora.trials.join import join_check
from imlkd.corpora.trials.lists import Trials, read_trials
from imlkd.errors import UserError
from imlkd.export.measure import Cost, embed
from imlkd.features.speech import SpeechReader
from imlkd.kaldi_io import FloatArray
from imlkd.onnx_session import open_session
from imlkd.scoring.compare import Difference, compare_systems
from imlkd.scoring.cosine import cosine_scores
from imlkd.scoring.evaluate import Choices, Evaluation, measure
from imlkd.scoring.metrics import Floats
from imlkd.scoring.speakers import read_speakers, speaker_trials

REFERENCE = "fp32"


@dataclass(frozen=True)
class Scored:
    """A variant on one list: its error rates, and its EER minus that of float32 on the same trials."""

    evaluation: Evaluation
    difference: Difference | None


@dataclass(frozen=True)
class Variant:
    """One file and what was measured of it.

    :param lists: by ``set/list``; empty when the model was exported without data.
    :param farthest: largest cosine distance of its embeddings of the test utterances to float32's.
    """

    name: str
    file: str
    cost: Cost
    lists: dict[str, Scored]
    farthest: float
    refused: bool = False


def read_test_audio(data: Path, lists: list[str], rate: int, shortest: int, pipes: bool) -> dict[str, Any]:
    """Waveforms, (samples,) float32, of the utterances of every set, by set and id.

    :raises UserError: naming the first utterance that is too short for the exported model.
    """
    found = {}
    for set_name in dict.fromkeys(name.partition("/")[0] for name in lists):
        reader = SpeechReader(data / set_name, rate, pipes)
        found[set_name] = {name: reader.utterance(name).numpy() for name in reader.names}
        for name, waveform in found[set_name].items():
            if len(waveform) < shortest:
                raise UserError(f"{set_name}: {name} has {len(waveform)} samples: the model needs {shortest} or more")
    return found


def embeddings(path: Path, audio: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, FloatArray]]:
    """Of every utterance, by set and id.

    :raises UserError: for an embedding that is not finite.
    """
    session = open_session(path)
    found: dict[str, dict[str, FloatArray]] = {}
    for set_name, waveforms in audio.items():
        found[set_name] = {name: embed(session, waveform) for name, waveform in waveforms.items()}
        for name, vector in found[set_name].items():
            if not np.isfinite(vector).all():
                raise UserError(f"{path}: {name}: its embedding holds NaN or infinite values: export the model again")
    return found


def score(
    data: Path, lists: list[str], own: dict[str, dict[str, FloatArray]], reference: dict[str, dict[str, FloatArray]],
    draws: int,
) -> dict[str, Scored]:
    """Cosines of ``own`` embeddings on every list, and the paired difference to those of ``reference``."""
    return {name: _scored(data, name, own, reference, draws) for name in lists}


def _scored(data: Path, name: str, own: Any, reference: Any, draws: int) -> Scored:
    set_name = name.partition("/")[0]
    trials = read_trials(data / name)
    speakers = read_speakers([data / set_name / "utt2spk"])
    first = _cosines(trials, own[set_name])
    by_speaker = speaker_trials(trials, first, speakers)
    target = trials.is_target
    evaluation = measure(first[target], first[~target], by_speaker, Choices(draws=draws))
    if own is reference:
        return Scored(evaluation, None)
    second = speaker_trials(trials, _cosines(trials, reference[set_name]), speakers)
    found = compare_systems([[by_speaker], [second]], draws=max(1, draws))
    return Scored(evaluation, found[0].eer if found else None)


def _cosines(trials: Trials, vectors: dict[str, FloatArray]) -> Floats:
    join_check(trials, vectors.keys(), source="the exported model's embeddings")
    return cosine_scores(trials, vectors, vectors)


def farthest(own: dict[str, dict[str, FloatArray]], reference: dict[str, dict[str, FloatArray]]) -> float:
    """Largest 1 - cosine of two embeddings of one utterance."""
    pairs = ((own[s][u], reference[s][u]) for s in own for u in own[s])
    return max(0.0, 1.0 - min(float(np.dot(a, b)) / float(np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs))


@dataclass(frozen=True)
class MaxLoss:
    """The largest EER above float32's: a share of that (``5%``) or a difference of the two as fractions (``0.005``)."""

    value: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> MaxLoss:
        """From the option's text; UserError when it is no bound."""
        match = re.fullmatch(r"(\d+\.?\d*|\.\d+)(%?)", text)
        if not match:
            raise UserError(f"--max-loss {text}: give a share of the EER as 5%, or a difference of EERs as 0.005")
        return cls(float(match[1]) / (100.0 if match[2] else 1.0), bool(match[2]))

    def exceeded(self, lists: Mapping[str, Scored], reference: Mapping[str, Scored]) -> str | None:
        """The first list on which a variant loses more; None when it keeps within the bound on all."""
        for name, scored in lists.items():
            whole = reference[name].evaluation.eer.value
            allowed = self.value * whole if self.relative else self.value
            if scored.evaluation.eer.value - whole > allowed + 1e-9:
                return name
        return None
