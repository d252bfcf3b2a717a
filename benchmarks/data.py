#!/usr/bin/env python3
"""Stage 0 and the opening of a training at VoxCeleb2's size, entries only; and loaders on real speech.

The corpus has the shape of VoxCeleb2's dev part: 5,994 speakers, 145,569 videos, 1,092,009 utterances, whose files are
not there (`--check none`). Each piece of work runs in a process of its own, whose wall-clock and processor seconds and
peak memory are taken. Bounds of the project: prepare 300 s and 3,000 MB, growth 12, open 20 s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SPEAKERS, VIDEOS, UTTERANCES = 5994, 145569, 1092009
TENTH = 10
EACH_OF_VOX1 = 148642  # recordings that Lhotse's recipe looks up in a list of as many ids


def make_corpus(folder: Path, share: int) -> tuple[Path, Path]:
    """A training and a test directory of names; one ``share``-th of the speakers, videos and utterances."""
    speakers, videos, utterances = SPEAKERS // share, VIDEOS // share, UTTERANCES // share
    rows = []
    for number in range(utterances):
        video = number * videos // utterances
        speaker = f"id{video * speakers // videos:05d}"
        rows.append((f"{speaker}-v{video:010d}-{number:07d}", speaker))
    _tables(folder / "train", rows)
    test = [(f"id{10270 + s}-v0000000000-{u:05d}", f"id{10270 + s}") for s in range(2) for u in range(2)]
    _tables(folder / "test", test)
    pairs = [(test[0], test[1], "target"), (test[0], test[2], "nontarget")]
    (folder / "test/trials").write_text("".join(f"{a[0]} {b[0]} {label}\n" for a, b, label in pairs))
    return folder / "train", folder / "test"


def _tables(folder: Path, rows: list[tuple[str, str]]) -> None:
    folder.mkdir(parents=True)
    with open(folder / "utt2spk", "w") as utt2spk, open(folder / "wav.scp", "w") as wav:
        with open(folder / "utt2dur", "w") as utt2dur:
            for name, speaker in rows:
                utt2spk.write(f"{name} {speaker}\n")
                wav.write(f"{name} /corpora/voxceleb2/dev/flac/{name.replace('-', '/')}.flac\n")
                utt2dur.write(f"{name} 4.000\n")


def measured(command: list[str]) -> dict[str, float]:
    """Seconds, processor seconds and peak memory (MB) of a command and what it starts."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LC_ALL": "C"}
    started = time.perf_counter()
    done = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(done.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:6])} ... failed")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024}


def prepare(folder: Path, share: int) -> dict[str, float]:
    """Stage 0: tables checked, directories and cuts written, Kaldi's own check passed."""
    train, test = make_corpus(folder / "raw", share)
    out = folder / "data"
    stage = measured([
        sys.executable, "-m", "imlkd.cli.main", "data", "prepare", "--train", str(train), "--test", str(test),
        "--trials", str(test / "trials"), "--out", str(out), "--check", "none",
    ])  # fmt: skip
    check = measured(["utils/validate_data_dir.sh", "--no-text", "--no-feats", str(out / "train")])
    return {"seconds": stage["seconds"] + check["seconds"], "cpu": stage["cpu"] + check["cpu"],
            "mb": max(stage["mb"], check["mb"])}  # fmt: skip


OPEN = """
import sys; from pathlib import Path
from imlkd.features.segments import SegmentsConfig
from imlkd.training.frames import FramesConfig
from imlkd.training.pool import grid_of, load_pool, speakers_of
data = Path(sys.argv[1])
segments = grid_of(data, SegmentsConfig(durations=[2.0], hop=2.0))
pool = load_pool(data, segments, speakers_of(data), FramesConfig("ark"))
batch = pool.crops(pool.epoch_batches(64 * 200, 1, 1, 0)[0])
assert batch.shape[1:] == (200, 80) and len(batch) > 30, batch.shape
"""


def open_training(data: Path) -> dict[str, float]:
    """From process start to the first batch, with features in an ark and speech activity known."""
    import numpy as np

    from imlkd.config import save_config
    from imlkd.features.extract import FeaturesConfig
    from imlkd.kaldi_io import ArkWriter, read_table, write_table

    with ArkWriter(data / "one.ark", data / "one.scp") as writer:
        writer.write("feats", np.zeros((400, 80), np.float32))
        writer.write("vad", np.ones(400, np.float32))
    places = read_table(data / "one.scp")
    names = read_table(data / "utt2spk")
    write_table(data / "feats.scp", dict.fromkeys(names, places["feats"]))
    write_table(data / "vad.scp", dict.fromkeys(names, places["vad"]))
    write_table(data / "utt2num_frames", dict.fromkeys(names, "400"))
    save_config(FeaturesConfig(), data / "features.yaml")
    return measured([sys.executable, "-c", OPEN, str(data)])


def membership() -> dict[str, float]:
    """What looking each recording up in a list costs beside a set: lhotse/recipes/voxceleb.py, ``r.id in split_ids``.

    Measured on 4,000 and 8,000 ids, a quadratic through both at the size of VoxCeleb1's dev part.
    """
    def seconds(count: int, kind: type) -> float:
        ids = [f"id10001-{number:011d}-00001" for number in range(count)]
        known, started = kind(ids), time.process_time()
        assert sum(name in known for name in ids) == count
        return time.process_time() - started

    small, large = seconds(4000, list), seconds(8000, list)
    whole = large * (EACH_OF_VOX1 / 8000) ** 2
    return {"lhotse_growth_of_double": large / small, "lhotse_membership_seconds": whole,
            "lhotse_membership_ratio": whole / max(1e-9, seconds(EACH_OF_VOX1, set))}  # fmt: skip


def loaders(svmini: Path, seconds: float) -> dict[str, float]:
    """Segments of 2 s a second through two workers: from the audio with augmentation, and from arks."""
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
        data = Path(folder, "train")
        measured([sys.executable, "-m", "imlkd.cli.main", "data", "subset", str(svmini / "train"), str(data),
                  "--number", "300"])  # fmt: skip
        extract_features(data, FeaturesConfig(), data / "f", 1, Path(folder, "progress"))
        for name in ("feats", "vad"):
            (data / f"f/{name}.1.scp").rename(data / f"{name}.scp")
        (data / "f/utt2num_frames.1").rename(data / "utt2num_frames")
        save_config(FeaturesConfig(), data / "features.yaml")
        noisy = AugmentConfig(f"{svmini}/noise,{svmini}/rir", room=0.5, noise=0.6, volume=0.5)
        segments = grid_of(data, SegmentsConfig(durations=[2.0], hop=1.0, min_speech=0.0, max_dropped=1.0))
        for key, source, augment in (("audio", "audio", noisy), ("audio_clean", "audio", None), ("ark", "ark", None)):
            pool = load_pool(data, segments, speakers_of(data), FramesConfig(source), augment)
            found[f"samples_per_second_{key}"] = _rate(pool, seconds)
        found["samples_per_second_lhotse"] = _lhotse_rate(data, noisy, seconds)
    return found


def _rate(pool: Any, seconds: float) -> float:
    from torch.utils.data import DataLoader

    batches = [batch for epoch in range(40) for batch in pool.epoch_batches(64 * 200, 1, 1, epoch)]
    return _count(DataLoader(_Batches(pool, batches), batch_size=None, num_workers=2), seconds)


class _Batches:
    """What a DataLoader draws from: one batch an item."""

    def __init__(self, pool: Any, batches: list[Any]) -> None:
        self.pool, self.batches = pool, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.pool.crops(self.batches[index])


def _lhotse_rate(data: Path, noisy: Any, seconds: float) -> float:
    """Lhotse alone: the same cuts, crops, rooms, noise and filterbank, by its own transforms and sampler."""
    from lhotse import CutSet, Fbank, FbankConfig, Recording, RecordingSet
    from lhotse.dataset import K2SpeechRecognitionDataset as _  # noqa: F401  (imports the transforms' needs)
    from lhotse.dataset import SimpleCutSampler
    from lhotse.dataset.cut_transforms import CutMix, ReverbWithImpulseResponse
    from torch.utils.data import DataLoader

    from imlkd.corpora.cuts import to_cuts
    from imlkd.corpora.kaldi_dir import read_data_dir
    from imlkd.features.sounds import Sounds

    sounds = Sounds(16000)
    for where in noisy.sounds.split(","):
        sounds.add(Path(where))
    noise = CutSet.from_manifests(RecordingSet.from_recordings(map(Recording.from_file, sounds.files["noise"])))
    rooms = RecordingSet.from_recordings(map(Recording.from_file, sounds.files["rir"]))
    cuts = [cut for cut in to_cuts(read_data_dir(data)) if cut.duration >= 2.0]
    crops = CutSet.from_cuts(cut.truncate(duration=2.0) for cut in cuts).to_eager().repeat(40)
    steps = [ReverbWithImpulseResponse(rooms, p=0.5), CutMix(noise, snr=(0, 15), p=0.6, preserve_id=True)]

    class Set:
        extractor = Fbank(FbankConfig(num_filters=80, snip_edges=False))

        def __getitem__(self, chosen: Any) -> Any:
            for step in steps:
                chosen = step(chosen)
            return self.extractor.extract_batch([cut.load_audio()[0] for cut in chosen], 16000)

    sampler = SimpleCutSampler(crops, max_cuts=64, shuffle=True)
    return _count(DataLoader(Set(), sampler=sampler, batch_size=None, num_workers=2), seconds)  # type: ignore[arg-type]


def _count(loader: Any, seconds: float) -> float:
    iterator = iter(loader)
    next(iterator)  # the workers are up
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        count += len(next(iterator))
    return count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth and a hundredth of the corpus; loaders for 3 s")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    share = TENTH if options.quick else 1
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    found: dict[str, Any] = {**machine, "utterances": UTTERANCES // share}
    with tempfile.TemporaryDirectory() as folder:
        tenth = prepare(Path(folder, "tenth"), share * TENTH)
        whole = prepare(Path(folder, "whole"), share)
        for key, value in whole.items():
            found[{"seconds": "prepare_seconds", "cpu": "prepare_cpu_seconds", "mb": "prepare_peak_mb"}[key]] = value
        found["prepare_growth"] = whole["cpu"] / tenth["cpu"]  # of processor seconds: others may use the machine
        found["prepare_growth_wall"] = whole["seconds"] / tenth["seconds"]
        opened = open_training(Path(folder, "whole/data/train"))
        found |= {"open_seconds": opened["seconds"], "open_cpu_seconds": opened["cpu"], "open_peak_mb": opened["mb"]}
        opened = open_training(Path(folder, "tenth/data/train"))
        found["open_peak_mb_of_tenth"] = opened["mb"]
    found |= membership()
    if os.environ.get("SVMINI"):
        found |= loaders(Path(os.environ["SVMINI"]), 3 if options.quick else 15)
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in found.items()}
    options.json.write_text(json.dumps(rounded, indent=1) + "\n")
    for key, value in rounded.items():
        print(f"{key:32} {value}")


if __name__ == "__main__":
    main()
