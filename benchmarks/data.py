#!/usr/bin/env python3
"""Stage 0 and the opening of a training at VoxCeleb2's size, entries only; and loaders on real speech.

The corpus has the shape of VoxCeleb2's dev part: 5,994 speakers, 145,569 videos, 1,092,009 utterances, whose files are
not there (`--check none`); headers are read of real files, apart. Each piece of work runs in a process of its own,
whose wall-clock and processor seconds and peak memory are taken. Bounds of the project: prepare 300 s and 3,000 MB,
growth 12, open 20 s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import launched

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
    return launched.measured(command, environment, str(ROOT))


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
    write_one_ark(data)
    return measured([sys.executable, "-c", OPEN, str(data)])


OPEN_STUDENT = """
import sys; from pathlib import Path
from imlkd.attribution.origin import training_table
from imlkd.attribution.targets import classes_of
from imlkd.distillation.objective import build_method
from imlkd.training.frames import FramesConfig
from imlkd.training.pool import load_pool
from imlkd.training.student import TeacherTargets
data, folder = Path(sys.argv[1]), Path(sys.argv[2])
segments, classes = training_table(folder, data), classes_of(data, folder)
pool = load_pool(data, segments, classes, FramesConfig("ark"), None, folder)
targets = TeacherTargets(folder, segments, build_method("imlkd"), 30.0)
batch = targets.batch(pool, pool.epoch_batches(64 * 200, 1, 1, 0)[0])
assert batch.teacher_logits_gated.shape == (len(batch.labels), len(classes)) and len(batch.labels) > 30
"""


def open_student(data: Path, folder: Path) -> dict[str, float]:
    """The same of a student of method imlkd, with a segment an utterance and its targets in arks."""
    write_one_target(data, folder)
    return measured([sys.executable, "-c", OPEN_STUDENT, str(data), str(folder)])


def write_one_target(data: Path, folder: Path) -> None:
    """The targets of one segment in the name of all."""
    import numpy as np

    from imlkd.attribution.relevance import RelevanceConfig
    from imlkd.config import save_config
    from imlkd.features.segments import SegmentsConfig, write_segments
    from imlkd.kaldi_io import ArkWriter, read_table, write_table
    from imlkd.training.pool import grid_of, speakers_of

    config, classes = RelevanceConfig(segments=SegmentsConfig(durations=[2.0], hop=8.0)), len(speakers_of(data))
    segments = grid_of(data, config.segments)
    write_segments(folder / "segments", segments)
    save_config(config, folder / "config.yaml")
    with ArkWriter(folder / "one.ark", folder / "one.scp") as writer:
        for kind, length in (("cosines", classes), ("cosines_gated", classes), ("relevance", 200)):
            writer.write(kind, np.full(length, 0.5, np.float32))
    for kind, place in read_table(folder / "one.scp").items():
        write_table(folder / f"{kind}.scp", dict.fromkeys(segments.ids(), place))


def write_one_ark(data: Path) -> None:
    """Features and speech activity of one utterance in the name of all."""
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


def headers(folder: Path, count: int) -> dict[str, float]:
    """``imlkd data prepare --check headers`` on ``count`` real FLAC files of half a second."""
    import numpy as np
    import soundfile

    generator = np.random.default_rng(0)
    audio = folder / "audio"
    audio.mkdir(parents=True)
    soundfile.write(folder / "one.flac", (3000 * generator.standard_normal(8000)).astype(np.int16), 16000)
    content = (folder / "one.flac").read_bytes()
    for name, speakers, number in (("train", 100, count - 4), ("test", 2, 4)):
        rows = [(f"{name}{i * speakers // number:03d}-{i:06d}", f"{name}{i * speakers // number:03d}")
                for i in range(number)]  # fmt: skip
        for key, _ in rows:
            (audio / f"{key}.flac").write_bytes(content)
        _tables(folder / name, rows)
        (folder / name / "wav.scp").write_text("".join(f"{key} {audio}/{key}.flac\n" for key, _ in rows))
    pairs = ("test000-000000 test000-000001 target", "test000-000000 test001-000002 nontarget")
    (folder / "test/trials").write_text("".join(f"{pair}\n" for pair in pairs))
    done = measured([
        sys.executable, "-m", "imlkd.cli.main", "data", "prepare", "--train", str(folder / "train"), "--test",
        str(folder / "test"), "--trials", str(folder / "test/trials"), "--out", str(folder / "data"), "--check",
        "headers", "--nj", "2",
    ])  # fmt: skip
    return {"header_files": count, "header_seconds": done["seconds"], "header_cpu_seconds": done["cpu"]}


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 headers instead of 20,000; loaders for 3 s")
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    found: dict[str, Any] = {**machine, "utterances": UTTERANCES}
    with tempfile.TemporaryDirectory() as folder:
        tenth = prepare(Path(folder, "tenth"), TENTH)
        whole = prepare(Path(folder, "whole"), 1)
        for key, value in whole.items():
            found[{"seconds": "prepare_seconds", "cpu": "prepare_cpu_seconds", "mb": "prepare_peak_mb"}[key]] = value
        found["prepare_growth"] = whole["cpu"] / tenth["cpu"]  # of processor seconds: others may use the machine
        found["prepare_growth_wall"] = whole["seconds"] / tenth["seconds"]
        opened = open_training(Path(folder, "whole/data/train"))
        found |= {"open_seconds": opened["seconds"], "open_cpu_seconds": opened["cpu"], "open_peak_mb": opened["mb"]}
        opened = open_training(Path(folder, "tenth/data/train"))
        found["open_peak_mb_of_tenth"] = opened["mb"]
        more = UTTERANCES - UTTERANCES // TENTH
        found["open_bytes_an_utterance"] = (found["open_peak_mb"] - opened["mb"]) * 2**20 / more
        opened, tenth = (
            open_student(Path(folder, name, "data/train"), Path(folder, name, "targets")) for name in ("whole", "tenth")
        )
        found |= {"student_open_seconds": opened["seconds"], "student_open_cpu_seconds": opened["cpu"],
                  "student_open_peak_mb": opened["mb"], "student_open_peak_mb_of_tenth": tenth["mb"],
                  "student_open_bytes_a_segment": (opened["mb"] - tenth["mb"]) * 2**20 / more}  # fmt: skip
        found |= headers(Path(folder, "headers"), 2000 if options.quick else 20000)
    found |= membership()
    if os.environ.get("SVMINI"):
        from benchmarks.loaders import loaders

        found |= loaders(Path(os.environ["SVMINI"]), 3 if options.quick else 15)
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in found.items()}
    options.json.write_text(json.dumps(rounded, indent=1) + "\n")
    for key, value in rounded.items():
        print(f"{key:32} {value}")


if __name__ == "__main__":
    main()
