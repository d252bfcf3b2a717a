"""Stage 1: features and speech activity of a data directory, as arks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from imlkd.features.activity import ActivityConfig, Segmenter, speech_frames
from imlkd.features.fbank import FbankConfig, LogMel
from imlkd.files import make_dir
from imlkd.kaldi_io import ArkWriter, write_table
from imlkd.progress import Progress


@dataclass(frozen=True)
class FeaturesConfig:
    """Front-end of the models trained here, and the speech detector."""

    fbank: FbankConfig = field(default_factory=FbankConfig)
    activity: ActivityConfig = field(default_factory=ActivityConfig)


def extract_features(
    data_dir: Path,
    config: FeaturesConfig,
    out: Path,
    job: int,
    progress: Path | None,
    allow_pipes: bool = False,
    segmenter: Segmenter | None = None,
) -> int:
    """Write ``feats.JOB`` (T, bins) and ``vad.JOB`` (T,), ark and scp, and ``utt2num_frames.JOB``; returns a count.

    :param segmenter: finds speech segments, if ``activity.segments`` wants any.
    """
    from imlkd.features.speech import SpeechReader

    reader = SpeechReader(data_dir, config.fbank.sample_rate, allow_pipes)
    frontend = LogMel(config.fbank)
    names = reader.names
    num_frames: dict[str, str] = {}
    make_dir(out)
    with (
        Progress(f"features.{job}", len(names), progress) as counted,
        ArkWriter(out / f"feats.{job}.ark", out / f"feats.{job}.scp") as feats,
        ArkWriter(out / f"vad.{job}.ark", out / f"vad.{job}.scp") as vad,
    ):
        for name in names:
            frames = frontend.with_energy(reader.utterance(name))
            feats.write(name, frames[:, 1:].numpy())
            vad.write(name, speech_frames(frames[:, 0].numpy(), config.activity, segmenter))
            num_frames[name] = str(len(frames))
            counted.update()
    write_table(out / f"utt2num_frames.{job}", num_frames)
    return len(names)
