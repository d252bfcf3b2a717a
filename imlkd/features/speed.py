"""Speech faster or slower, pitch and all: as speech of new speakers or of the same ones, as is said explicitly.

Copies are made before features and targets are computed, so that labels and the teacher's rows are those of the
copies: what the teacher says of a copy, it says of the copy's own audio. A copy of factor 1.1 is called
``sp1.1-<utterance>`` of speaker ``sp1.1-<speaker>`` (new), or ``<utterance>-sp1.1`` of the same speaker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imlkd.corpora.audio import AudioReader, resolve_sources
from imlkd.corpora.kaldi_dir import DataDir, group_by_speaker, read_data_dir, seconds_text, write_data_dir
from imlkd.corpora.lhotse.interchange import refuse_existing
from imlkd.errors import UserError
from imlkd.files import atomic_open, make_dir
from imlkd.kaldi_io import sort_ids
from imlkd.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

_STEPS = 100  # factors are multiples of 0.01, so that resampling is exact


def perturbed(waveform: Tensor, factor: float) -> Tensor:
    """(samples,) -> (about samples / factor,): tempo and pitch ``factor`` times as high, as sox's ``speed``.

    :raises UserError: for a factor that is no multiple of 0.01, or not between 0.5 and 2.
    """
    from torchaudio.functional import resample

    steps = round(factor * _STEPS)
    if abs(steps - factor * _STEPS) > 1e-6 or not 50 <= steps <= 200:
        raise UserError(f"speed {factor}: expected a multiple of 0.01 between 0.5 and 2, as 0.9 or 1.1")
    faster: Tensor = resample(waveform, steps, _STEPS)
    return faster


def speed_id(name: str, factor: float, in_front: bool) -> str:
    """What the copy of an utterance or speaker is called."""
    return f"sp{factor:g}-{name}" if in_front else f"{name}-sp{factor:g}"


def speed_copies(
    source: Path, out: Path, factors: Sequence[float], speakers: str, allow_pipes: bool = False,
    say: Callable[[str], object] = print, sample_rate: int = 16000,
) -> DataDir:  # fmt: skip
    """A data directory ``out`` of ``source`` and its copies at other speeds, their audio as FLAC in ``out.audio``.

    :param speakers: new: a copy's speaker is somebody else; same: it is the one of the original.
    :raises UserError: for an ``out`` that is there already, factors that are not, and what reading audio refuses.
    """
    refuse_existing(out)
    if speakers not in ("new", "same"):
        raise UserError(f"speakers {speakers}: expected new or same")
    whole = read_data_dir(source)
    reader = AudioReader(whole, sample_rate, allow_pipes)
    sources = resolve_sources(whole, allow_pipes).by_recording
    data = replace(whole, wav={key: one.wav_scp for key, one in sources.items()})
    for factor in factors:
        data = _together(data, _copy(whole, reader, out.with_name(f"{out.name}.audio"), factor, speakers == "new"))
    write_data_dir(data, out)
    say(f"{out}: {len(data.utt2spk)} utterances, {len(data.spk2utt)} speakers (copies of {speakers} speakers)")
    return data


def _copy(whole: DataDir, reader: AudioReader, audio: Path, factor: float, as_new: bool) -> DataDir:
    """One utterance a recording, at another speed."""
    import soundfile
    import torch

    names = {name: speed_id(name, factor, as_new) for name in whole.utt2spk}
    owner = {speaker: speed_id(speaker, factor, True) if as_new else speaker for speaker in whole.spk2utt}
    wav, utt2dur = dict[str, str](), dict[str, str]()
    make_dir(audio)
    with Progress(f"speed {factor:g}", len(names)) as counted:
        for name, copy in names.items():
            samples = perturbed(torch.from_numpy(reader.read(name)), factor).clamp(-1, 1).numpy()
            path = audio / f"{copy.replace('/', '_')}.flac"
            with atomic_open(path, "wb") as stream:
                soundfile.write(stream, samples, reader.sample_rate, format="FLAC", subtype="PCM_16")
            wav[copy], utt2dur[copy] = str(path.absolute()), seconds_text(len(samples), reader.sample_rate)
            counted.update()
    utt2spk = {copy: owner[whole.utt2spk[name]] for name, copy in names.items()}
    genders = {owner[speaker]: gender for speaker, gender in (whole.spk2gender or {}).items()}
    extra = {
        name: {
            (owner if name.startswith("spk2") else names)[key]: value for key, value in table.items()
        }
        for name, table in whole.extra.items() if name != "utt2lhotse"
    }  # fmt: skip
    return DataDir(audio, wav, None, utt2spk, group_by_speaker(utt2spk), genders or None, utt2dur, extra)


def _together(one: DataDir, copy: DataDir) -> DataDir:
    """Both in one directory; where one has segments, whole recordings become segments."""
    from imlkd.corpora.kaldi_dir import Segment

    def both(a: dict[str, str] | None, b: dict[str, str] | None) -> dict[str, str] | None:
        merged = {**(a or {}), **(b or {})}
        return {key: merged[key] for key in sort_ids(merged)} if a and b else None

    segments = one.segments
    if segments is not None:
        whole = {key: Segment(key, "0", seconds) for key, seconds in (copy.utt2dur or {}).items()}
        segments = {key: {**segments, **whole}[key] for key in sort_ids({**segments, **whole})}
    utt2spk = both(one.utt2spk, copy.utt2spk) or {}
    return replace(
        one, wav=both(one.wav, copy.wav) or {}, segments=segments, utt2spk=utt2spk, spk2utt=group_by_speaker(utt2spk),
        spk2gender=both(one.spk2gender, copy.spk2gender), utt2dur=both(one.utt2dur, copy.utt2dur),
        extra={name: both(table, copy.extra.get(name)) or table for name, table in one.extra.items()},
    )  # fmt: skip
