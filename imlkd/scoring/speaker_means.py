"""Speaker embeddings: the mean over a speaker's utterances, in Kaldi's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imlkd.errors import UserError
from imlkd.files import make_dir
from imlkd.kaldi_io import ArkWriter, FloatArray, read_scp_arrays, read_table, write_table


@dataclass(frozen=True)
class SpeakerMeans:
    """Mean embedding (D,) and number of averaged utterances of each speaker; utterances that had no embedding."""

    means: dict[str, FloatArray]
    num_utts: dict[str, int]
    missing: list[str]


def write_speaker_means(
    spk2utt: Path | str, xvector_scp: Path | str, out_dir: Path | str, max_missing: int = 0
) -> SpeakerMeans:
    """Write ``spk_xvector.ark``, ``spk_xvector.scp`` and ``num_utts.ark`` (text, ``<speaker> <n>``) into ``out_dir``.

    Speakers keep the order of ``spk2utt``, which is C order. Embeddings of utterances that ``spk2utt`` does not name
    are not used, as in Kaldi's ``ivector-mean``.

    :param max_missing: how many utterances may lack an embedding; Kaldi only warns of them.
    :raises UserError: nothing is written then.
    """
    result = speaker_means(read_spk2utt(spk2utt), read_scp_arrays(xvector_scp))
    if len(result.missing) > max_missing:
        raise UserError(
            f"{spk2utt}: {len(result.missing)} utterances have no embedding in {xvector_scp} (at most {max_missing} "
            f"may); first: {', '.join(result.missing[:5])}: extract them, or raise --max-missing"
        )
    folder = make_dir(out_dir)
    with ArkWriter(folder / "spk_xvector.ark", folder / "spk_xvector.scp") as writer:
        for speaker, mean in result.means.items():
            writer.write(speaker, mean)
    write_table(folder / "num_utts.ark", {speaker: str(count) for speaker, count in result.num_utts.items()})
    return result


def speaker_means(spk2utt: Mapping[str, list[str]], xvectors: Mapping[str, FloatArray]) -> SpeakerMeans:
    """Plain mean of raw vectors (no length normalisation), summed in double precision, float32.

    :raises UserError: for a speaker none of whose utterances has an embedding; NaN or infinite values; two dimensions.
    """
    means: dict[str, FloatArray] = {}
    num_utts: dict[str, int] = {}
    missing: list[str] = []
    for speaker, utterances in spk2utt.items():
        present = [utterance for utterance in utterances if utterance in xvectors]
        missing += [utterance for utterance in utterances if utterance not in xvectors]
        if not present:
            raise UserError(f"{speaker}: none of its {len(utterances)} utterances has an embedding: extract them first")
        means[speaker] = mean_vector({utterance: xvectors[utterance] for utterance in present})
        if means[speaker].shape != (first := next(iter(means.values()))).shape:
            raise UserError(f"{speaker}: its embeddings have {len(means[speaker])} dimensions, others' {len(first)}")
        num_utts[speaker] = len(present)
    return SpeakerMeans(means, num_utts, missing)


def read_spk2utt(path: Path | str) -> dict[str, list[str]]:
    """Read ``<speaker> <utterance> ...``; UserError when an utterance occurs twice."""
    table = {speaker: rest.split() for speaker, rest in read_table(path).items()}
    owner: dict[str, str] = {}
    for speaker, utterances in table.items():
        for utterance in utterances:
            if utterance in owner:
                raise UserError(
                    f"{path}: {utterance} is listed under {owner[utterance]} and {speaker}: "
                    "make spk2utt anew (utils/utt2spk_to_spk2utt.pl)"
                )
            owner[utterance] = speaker
    return table


def mean_vector(vectors: Mapping[str, FloatArray]) -> FloatArray:
    """Plain mean of raw embeddings by id, (D,) each, summed in double precision; float32.

    :raises UserError: naming the id, for NaN or infinite values, or a shape unlike the first one's.
    """
    shape = next(iter(vectors.values())).shape
    for name, vector in vectors.items():
        if vector.shape != shape or vector.ndim != 1:
            raise UserError(f"{name}: embedding has shape {vector.shape}, expected a vector like the first's {shape}")
        if not np.isfinite(vector).all():
            raise UserError(f"{name}: embedding holds NaN or infinite values: extract it again")
    mean: npt.NDArray[np.float64] = np.stack(list(vectors.values())).mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)
