"""Loaders of crops for ``benchmarks/data.py``: this project's, wespeaker's way, Lhotse alone, on the same real speech.

All read the same files, cut 2 s, put half of the crops into a room and noise of 0 to 15 dB over 0.6 of them, and give
80 log-mel bands, in batches of 64, by two workers of one thread each. Noise and rooms are WAV, as MUSAN and RIRS_NOISES
come.
"""

from __future__ import annotations

import functools
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RATE, CROP, BATCH = 16000, 32000, 64
FOREVER = 10**6  # batches
ROOM, NOISE, SNR = 0.5, 0.6, (0.0, 15.0)
TURNS = 3  # of all loaders, one after the other; the best of each counts


def loaders(svmini: Path, seconds: float) -> dict[str, float]:
    """Crops of 2 s a second: from the audio with augmentation and without, from arks, and by the two others.

    :param seconds: for each loader, all turns together.
    """
    import torch

    from imlkd.config import save_config
    from imlkd.features.augment import AugmentConfig
    from imlkd.features.extract import FeaturesConfig, extract_features
    from imlkd.features.segments import SegmentsConfig
    from imlkd.training.frames import FramesConfig
    from imlkd.training.pool import grid_of, load_pool, speakers_of

    found: dict[str, float] = {}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sounds = [_as_wavs(svmini, kind, Path(folder)) for kind in ("noise", "rir")]
        noisy = AugmentConfig(",".join(map(str, sounds)), room=ROOM, noise=NOISE, noise_snr=list(SNR))
        data = Path(folder, "train")
        subset = ["data", "subset", str(svmini / "train"), str(data), "--number", "300"]
        subprocess.run([sys.executable, "-m", "imlkd.cli.main", *subset], check=True, stdout=subprocess.DEVNULL)
        extract_features(data, FeaturesConfig(), data / "f", 1, Path(folder, "progress"))
        for name in ("feats", "vad"):
            (data / f"f/{name}.1.scp").rename(data / f"{name}.scp")
        (data / "f/utt2num_frames.1").rename(data / "utt2num_frames")
        save_config(FeaturesConfig(), data / "features.yaml")
        segments = grid_of(data, SegmentsConfig(durations=[2.0], hop=1.0, min_speech=0.0, max_dropped=1.0))
        sources = (("audio", "audio", noisy), ("audio_clean", "audio", None), ("ark", "ark", None))
        pools = {key: load_pool(data, segments, speakers_of(data), FramesConfig(source), augment)
                 for key, source, augment in sources}  # fmt: skip
        found["loaders_largest_difference"] = _check_equal(data, pools["audio_clean"])
        collections = [sorted(sound.glob("*.wav")) for sound in sounds]
        makers = {key: functools.partial(_own, pool) for key, pool in pools.items()}
        makers["wespeaker_style"] = functools.partial(_wespeaker_style, data, *collections)
        makers["lhotse"] = functools.partial(_lhotse, data, *collections)
        for _ in range(TURNS):
            for key, make in makers.items():
                name = f"samples_per_second_{key}"
                found[name] = max(found.get(name, 0.0), _rate(make(), seconds / TURNS))
        others = max(found[f"samples_per_second_{key}"] for key in ("wespeaker_style", "lhotse"))
        found["loader_over_others"] = found["samples_per_second_audio"] / others
    return found


class Batches:
    """What a DataLoader draws from: one batch an item."""

    def __init__(self, make: Any, count: int) -> None:
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def _workers(dataset: Any, **more: Any) -> Any:
    """Two, of one thread each, as torch has it."""
    from torch.utils.data import DataLoader

    return DataLoader(dataset, batch_size=None, num_workers=2, **more)


def _own(pool: Any) -> Any:
    batches = [batch for epoch in range(10) for batch in pool.epoch_batches(BATCH * 200, 1, 1, epoch)]
    return _workers(Batches(lambda i: pool.crops(batches[i % len(batches)]), FOREVER))


def _long_enough(data: Path) -> list[str]:
    """Utterances of 2 s and more."""
    from imlkd.kaldi_io import read_table

    return [name for name, frames in read_table(data / "utt2num_frames").items() if int(frames) >= 200]


def _as_wavs(svmini: Path, kind: str, folder: Path) -> Path:
    """A folder of the same sounds."""
    import soundfile

    from imlkd.features.sounds import Sounds

    sounds, out = Sounds(RATE), folder / kind
    sounds.add(svmini / kind)
    out.mkdir()
    for path in map(Path, sounds.files[kind]):
        soundfile.write(out / f"{path.stem}.wav", *soundfile.read(path, dtype="int16"))
    return out


def _fbank(crop: np.ndarray) -> Any:
    """torchaudio's Kaldi filterbank, one crop at a time, as wespeaker calls it; without dither."""
    import torch
    from torchaudio.compliance.kaldi import fbank

    waveform = torch.from_numpy(crop.astype(np.float32)).unsqueeze(0) * 32768
    return fbank(waveform, num_mel_bins=80, dither=0.0, high_freq=7600.0, snip_edges=False, sample_frequency=RATE)


def _wespeaker_style(data: Path, noises: list[Path], rooms: list[Path]) -> Any:
    """wespeaker's on-line pipeline in its order: the whole utterance, a random chunk, a room by convolution with the
    whole response, noise scaled to the chunk, the filterbank of each chunk. Responses and noise lie in memory as WAV
    and are decoded when they are drawn, as out of its LMDB in the page cache.
    """
    import soundfile
    import torch
    from scipy.signal import fftconvolve

    from imlkd.corpora.audio import AudioReader
    from imlkd.corpora.kaldi_dir import read_data_dir

    reader, names = AudioReader(read_data_dir(data), RATE), _long_enough(data)
    responses, sounds = ([path.read_bytes() for path in paths] for paths in (rooms, noises))

    def drawn(contents: list[bytes], random: np.random.Generator) -> Any:
        return soundfile.read(io.BytesIO(contents[random.integers(len(contents))]), dtype="float32")[0]

    def one(random: np.random.Generator) -> Any:
        samples = reader.read(names[random.integers(len(names))])
        first = int(random.integers(0, max(1, len(samples) - CROP)))
        chunk = np.resize(samples[first : first + CROP], CROP)
        if random.random() < ROOM:
            response = drawn(responses, random)
            chunk = fftconvolve(chunk, response / np.sqrt((response**2).sum()))[:CROP]
        if random.random() < NOISE:
            sound = drawn(sounds, random)
            first = int(random.integers(0, max(1, len(sound) - CROP)))
            piece = np.resize(sound[first : first + CROP], CROP)
            gain = np.sqrt((chunk**2).mean() / ((piece**2).mean() + 1e-10) / 10 ** (random.uniform(*SNR) / 10))
            chunk = chunk + gain * piece
        return _fbank(chunk)

    def make(index: int) -> Any:
        random = np.random.default_rng(index)
        return torch.stack([one(random) for _ in range(BATCH)])

    return _workers(Batches(make, FOREVER))


def _lhotse(data: Path, noises: list[Path], rooms: list[Path]) -> Any:
    """Lhotse alone: its cuts, sampler, rooms, noise and filterbank, a batch at a time."""
    from lhotse import CutSet, Fbank, FbankConfig, Recording, RecordingSet
    from lhotse.dataset import SimpleCutSampler
    from lhotse.dataset.cut_transforms import CutMix, ReverbWithImpulseResponse

    from imlkd.corpora.kaldi_dir import read_data_dir
    from imlkd.corpora.lhotse.cuts import to_cuts

    noise = CutSet.from_manifests(RecordingSet.from_recordings(map(Recording.from_file, noises)))
    responses = RecordingSet.from_recordings(map(Recording.from_file, rooms))
    cuts = [cut for cut in to_cuts(read_data_dir(data)) if cut.duration >= 2.0]
    crops = CutSet.from_cuts(cut.truncate(duration=2.0) for cut in cuts).to_eager().repeat(400)
    steps = [ReverbWithImpulseResponse(responses, p=ROOM), CutMix(noise, snr=SNR, p=NOISE, preserve_id=True)]

    class Set:
        extractor = Fbank(FbankConfig(num_filters=80, snip_edges=False))

        def __getitem__(self, chosen: Any) -> Any:
            for step in steps:
                chosen = step(chosen)
            return self.extractor.extract_batch([cut.load_audio()[0] for cut in chosen], RATE)

    sampler = SimpleCutSampler(crops, max_cuts=BATCH, shuffle=True)
    return _workers(Set(), sampler=sampler)


def _check_equal(data: Path, pool: Any) -> float:
    """The largest difference of clean log-mel frames to torchaudio's, inside a crop, over the first segments."""
    from imlkd.features.speech import SpeechReader

    reader, worst = SpeechReader(data, RATE), 0.0
    for number in range(5):
        segment = pool.segments[number]
        theirs = _fbank(reader.utterance(segment.utterance).numpy())[segment.start : segment.start + segment.frames]
        worst = max(worst, float((pool.crops(np.array([number]))[0] - theirs).abs().max()))
    if worst > 1e-2:
        raise SystemExit(f"the loaders compute other features: {worst}")
    return worst


def _rate(loader: Any, seconds: float) -> float:
    iterator: Iterator[Any] = iter(loader)
    next(iterator)  # the workers are up
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        count += len(next(iterator))
    return count / (time.perf_counter() - started)
