#!/usr/bin/env python3
"""Two training loops over the same crops, each a process of its own that counts: ours, and SpeechBrain's.

`benchmarks/training.py` starts them. Both train an ECAPA-TDNN of 128 channels with an additive angular margin on crops
of 2 s that are read, put into a room and under noise, and made into 80 log-mel bands on the fly. SpeechBrain's loop is
its ``Brain.fit`` with what its VoxCeleb recipe (`train_speaker_embeddings.py`) does in a step: audio in loader workers,
augmentation of the batch by its own ``AddReverb`` and ``AddNoise``, ``Fbank``, ``InputNormalization``, its network, its
loss. It draws one room a batch, ours one a crop; the rest is alike.
"""

from __future__ import annotations

import mmap
import os
import random
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

RATE, SECONDS, BINS = 16000, 2.0, 80
CHANNELS, EMBEDDING, BATCH, MARGIN, SCALE = 128, 192, 64, 0.2, 30.0
EVER = 100000  # epochs: whoever started a loop ends it
CROPS = 4  # of an utterance an epoch
SNR = (0.0, 15.0)
COUNT = struct.Struct("dddd")  # time of the last step, samples, seconds waited for batches, loss


@dataclass(frozen=True)
class Setting:
    """How both loops run."""

    threads: int
    workers: int


class Counter:
    """What a loop has done so far, in a file that others read."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(COUNT.size))
        self._stream = open(path, "r+b")  # noqa: SIM115
        self._map = mmap.mmap(self._stream.fileno(), COUNT.size)
        self.samples = 0

    def step(self, samples: int, waited: float, loss: float) -> None:
        self.samples += samples
        self._map[:] = COUNT.pack(time.monotonic(), self.samples, waited, loss)


def read_counter(path: Path) -> tuple[float, float, float, float]:
    """Time of the last step (monotonic), samples, seconds waited for batches, loss."""
    content = path.read_bytes() if path.is_file() else b""
    found: tuple[float, float, float, float] = COUNT.unpack(content) if content else (0.0, 0.0, 0.0, 0.0)
    return found


def ours(data: Path, sounds: str, folder: Path, setting: Setting) -> None:
    """`train_teacher` as stage 2 calls it, method `none`."""
    from imlkd.features.augment import AugmentConfig
    from imlkd.features.segments import SegmentsConfig
    from imlkd.models.ecapa import EcapaConfig
    from imlkd.training.config import LoaderConfig, TrainingConfig
    from imlkd.training.frames import FramesConfig
    from imlkd.training.stepper import Stepper
    from imlkd.training.teacher import TeacherConfig, train_teacher
    from imlkd.training.trainer import Pace

    counter, losses = Counter(folder / "count"), [0.0]
    take_step, note_pace = Stepper.step, Pace.step

    def step(self: Any, work: Any, batch: Any) -> Any:
        found = take_step(self, work, batch)
        losses[0] = found["loss"]
        return found

    def pace(self: Any, samples: int, waited: float) -> None:
        note_pace(self, samples, waited)
        counter.step(samples, waited, losses[0])

    Stepper.step, Pace.step = step, pace  # type: ignore[method-assign]
    config = TeacherConfig(
        network=EcapaConfig(channels=CHANNELS, embedding_dim=EMBEDDING),
        training=TrainingConfig(
            epochs=EVER, batch=BATCH, crops=CROPS, learning_rate=1e-3, warm_up=0.0, margin=MARGIN, scale=SCALE,
            threads=setting.threads, loader=LoaderConfig(workers=setting.workers),
        ),
        segments=SegmentsConfig(durations=[SECONDS], hop=0.1, min_speech=0.0, max_dropped=1.0),
        frames=FramesConfig("audio"),
        augment=AugmentConfig(sounds, room=1.0, noise=1.0, noise_snr=list(SNR)),
    )  # fmt: skip
    train_teacher(data, config, folder / "model", {})


def speechbrain(data: Path, sounds: str, folder: Path, setting: Setting) -> None:
    """`Brain.fit` over the same utterances."""
    import torch
    from speechbrain.augment.augmenter import Augmenter
    from speechbrain.augment.time_domain import AddNoise, AddReverb
    from speechbrain.core import Brain
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, Classifier
    from speechbrain.nnet.losses import AdditiveAngularMargin, LogSoftmaxWrapper
    from speechbrain.processing.features import InputNormalization

    torch.set_num_threads(setting.threads)
    torch.manual_seed(1)
    dataset, classes = _speechbrain_dataset(data)
    counter = Counter(folder / "count")
    noise, rooms = (_sounds_csv(sounds, kind, folder) for kind in ("noise", "rir"))
    augment = Augmenter(
        min_augmentations=2, max_augmentations=2,
        augmentations=[AddReverb(str(rooms)), AddNoise(str(noise), snr_low=SNR[0], snr_high=SNR[1])],
    )  # fmt: skip
    network = ECAPA_TDNN(BINS, channels=[CHANNELS] * 4 + [3 * CHANNELS], lin_neurons=EMBEDDING)
    head = Classifier(EMBEDDING, out_neurons=classes)
    loss = LogSoftmaxWrapper(AdditiveAngularMargin(MARGIN, SCALE))

    class SpeakerBrain(Brain):  # type: ignore[misc]
        def compute_forward(self, batch: Any, stage: Any) -> Any:
            waveforms, lengths = batch.sig
            waveforms, lengths = augment(waveforms, lengths)
            features = self.modules.mean_var_norm(self.modules.compute_features(waveforms), lengths)
            return self.modules.classifier(self.modules.embedding_model(features, lengths)), lengths

        def compute_objectives(self, predictions: Any, batch: Any, stage: Any) -> Any:
            return loss(predictions[0], batch.spk.data, predictions[1])

        def on_fit_batch_end(self, batch: Any, outputs: Any, loss: Any, should_step: bool) -> None:
            counter.step(len(batch.id), 0.0, float(loss))

    modules = {
        "compute_features": Fbank(n_mels=BINS), "embedding_model": network, "classifier": head,
        "mean_var_norm": InputNormalization(norm_type="sentence", std_norm=False),
    }  # fmt: skip
    brain = SpeakerBrain(modules, lambda parameters: torch.optim.Adam(parameters, 1e-3, weight_decay=2e-6))
    loading = {"batch_size": BATCH, "num_workers": setting.workers, "shuffle": True, "drop_last": True}
    if setting.workers:
        loading |= {"persistent_workers": True, "prefetch_factor": 4}
    brain.fit(range(EVER), dataset, train_loader_kwargs=loading, progressbar=False)


def _speechbrain_dataset(data: Path) -> tuple[Any, int]:
    """The utterances of a data directory as its dataset, each ``CROPS`` times, cut as its recipe cuts them."""
    import torch
    from speechbrain.dataio import audio_io
    from speechbrain.dataio.dataset import DynamicItemDataset
    from speechbrain.utils.data_pipeline import provides, takes

    from imlkd.corpora.audio import resolve_sources
    from imlkd.corpora.kaldi_dir import read_data_dir

    tables = read_data_dir(data)
    classes = {speaker: i for i, speaker in enumerate(sorted(set(tables.utt2spk.values())))}
    places = {name: source.value for name, source in resolve_sources(tables, False).by_recording.items()}
    length, entries = int(SECONDS * RATE), {}
    for name, speaker in tables.utt2spk.items():
        segment = (tables.segments or {}).get(name)
        first, last = segment.bounds(RATE) if segment else (0, 0)
        entry = {"wav": places[segment.recording if segment else name], "start": first, "spk_id": classes[speaker]}
        entry["free"] = (last - first or audio_io.info(entry["wav"]).num_frames) - length
        if entry["free"] >= 0:
            entries |= {f"{name}-{copy}": entry for copy in range(CROPS)}

    @takes("wav", "start", "free")  # type: ignore[untyped-decorator]
    @provides("sig")  # type: ignore[untyped-decorator]
    def audio(wav: str, start: int, free: int) -> Any:
        return audio_io.load(wav, num_frames=length, frame_offset=start + random.randint(0, free))[0][0]

    @takes("spk_id")  # type: ignore[untyped-decorator]
    @provides("spk")  # type: ignore[untyped-decorator]
    def label(spk_id: int) -> Any:
        return torch.tensor([spk_id])

    return DynamicItemDataset(entries, [audio, label], ["id", "sig", "spk"]), len(classes)


def _sounds_csv(sounds: str, kind: str, folder: Path) -> Path:
    """The files that ours draws from, as SpeechBrain wants them listed."""
    import soundfile

    from imlkd.features.sounds import Sounds

    known, path = Sounds(RATE), folder / f"{kind}.csv"
    for where in sounds.split(","):
        known.add(Path(where))
    rows = [(i, soundfile.info(name).duration, name) for i, name in enumerate(known.files[kind])]
    lines = [f"{kind}{i},{duration},{name},{Path(name).suffix[1:]},\n" for i, duration, name in rows]
    path.write_text("ID,duration,wav,wav_format,wav_opts\n" + "".join(lines))
    return path


def make_trainer(
    folder: Path, network: Any, classes: int, utterances: int = 64, frames: int = 60, method: str = "none",
    **settings: Any,
) -> Any:  # fmt: skip
    """A trainer over crops of noise, with answers of a teacher that are noise as well."""
    import torch

    from imlkd.distillation.batch import DistillationBatch
    from imlkd.distillation.objective import Objective, build_method
    from imlkd.features.fbank import FbankConfig
    from imlkd.features.segments import Segment
    from imlkd.training.config import TrainingConfig
    from imlkd.training.identity import Identity
    from imlkd.training.sampling import SegmentPool
    from imlkd.training.teacher import build_model
    from imlkd.training.trainer import Trainer, prepare_torch

    names = [f"u{i:04d}" for i in range(utterances)]
    config = TrainingConfig(threads=1, learning_rate=1e-3, **settings)
    prepare_torch(1, 1)
    pool = SegmentPool(
        torch.randn(utterances * frames, BINS), {name: i * frames for i, name in enumerate(names)},
        {name: i % classes for i, name in enumerate(names)}, [Segment(name, 0, frames) for name in names],
    )  # fmt: skip
    model = build_model(network, FbankConfig(num_mel_bins=BINS), [f"s{i}" for i in range(classes)], torch.zeros(BINS))
    objective = Objective(build_method(method, None), config.margin, config.scale)
    logits = torch.randn(config.batch * 200 // frames + 1, classes)

    def batch(chosen: Any) -> DistillationBatch:
        crops, answer = pool.crops(chosen), logits[: len(chosen)]
        return DistillationBatch(crops, pool.classes(chosen), answer, torch.rand(crops.shape[:2]), answer)

    return Trainer(config, model, objective, pool, batch, folder, Identity())


def main() -> None:
    name, data, sounds, folder, threads, workers = sys.argv[1:]
    os.chdir(ROOT)
    setting = Setting(int(threads), int(workers))
    {"ours": ours, "speechbrain": speechbrain}[name](Path(data), sounds, Path(folder), setting)


if __name__ == "__main__":
    main()
