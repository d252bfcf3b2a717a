"""Stage 1: features and speech activity of a data directory, as arks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from imlkd.config import chosen, text
from imlkd.features.activity import ActivityConfig, Segmenter
from imlkd.features.detectors import DETECTORS, SileroConfig, build_detector
from imlkd.features.fbank import FbankConfig, LogMel
from imlkd.files import make_dir
from imlkd.kaldi_io import ArkWriter, write_table
from imlkd.progress import Progress


@dataclass(frozen=True)
class FeaturesConfig:
    """Front-end of the models trained here, and the speech detector."""

    fbank: FbankConfig = field(default_factory=FbankConfig)
    activity: ActivityConfig = field(default_factory=ActivityConfig)
    detector: str = chosen("energy", DETECTORS, help="of speech: Kaldi's energy rule, Silero's network, marks given")
    silero: SileroConfig = field(default_factory=SileroConfig)
    vad_scp: str = text("", help="for detector given: vad.scp files, separated by commas, that cover all utterances")


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
    detect = build_detector(
        config.detector, config.activity, config.silero, config.vad_scp, config.fbank.sample_rate, segmenter
    )
    names = reader.names
    num_frames: dict[str, str] = {}
    make_dir(out)
    with (
        Progress(f"features.{job}", len(names), progress) as counted,
        ArkWriter(out / f"feats.{job}.ark", out / f"feats.{job}.scp") as feats,
        ArkWriter(out / f"vad.{job}.ark", out / f"vad.{job}.scp") as vad,
    ):
        for name in names:
            waveform = reader.utterance(name)
            frames = frontend.with_energy(waveform)
            feats.write(name, frames[:, 1:].numpy())
            vad.write(name, detect(name, waveform, frames[:, 0].numpy()))
            num_frames[name] = str(len(frames))
            counted.update()
    write_table(out / f"utt2num_frames.{job}", num_frames)
    return len(names)
