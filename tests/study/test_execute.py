"""The part of a fold that is trained on. The runs themselves: tests/recipe."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.errors import UserError
from imlkd.study import execute
from imlkd.study.execute import Places, write_training_part
from imlkd.study.folds import read_fold, write_folds
from imlkd.study.plan import Run, StudyConfig, read_study, runs_of
from imlkd.study.record import Record, packed
from tests.study.test_folds import make_data


def two_speakers(folder: Path) -> Path:
    (folder / "whole").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)
    for name in ("a-1", "b-1"):
        soundfile.write(folder / f"{name}.wav", noise, 16000)
    (folder / "whole/wav.scp").write_text("".join(f"{name} {folder}/{name}.wav\n" for name in ("a-1", "b-1")))
    (folder / "whole/utt2spk").write_text("a-1 a\nb-1 b\n")
    return folder / "whole"


def test_copies_at_other_speeds_are_new_speakers_and_made_once(tmp_path: Path) -> None:
    whole, out = read_data_dir(two_speakers(tmp_path)), tmp_path / "fold/train"
    out.parent.mkdir()
    write_training_part(StudyConfig(), whole, {"a"}, out)
    assert read_data_dir(out).utt2spk == {"a-1": "a"}
    fast = StudyConfig(speeds=[1.1])
    write_training_part(fast, whole, {"a"}, out)
    made = read_data_dir(out)
    assert made.utt2spk == {"a-1": "a", "sp1.1-a-1": "sp1.1-a"}
    assert soundfile.info(made.wav["sp1.1-a-1"]).frames == 14546  # 16000 / 1.1, rounded up
    before = (out / "utt2spk").stat().st_mtime_ns
    write_training_part(fast, whole, {"a"}, out)
    assert (out / "utt2spk").stat().st_mtime_ns == before
    write_training_part(fast, whole, {"b"}, out)  # other speakers: made again
    assert set(read_data_dir(out).spk2utt) == {"b", "sp1.1-b"}


def test_main_rows_come_first_and_their_tries_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, results = tmp_path / "toy.yaml", tmp_path / "results"
    tries = "tries: ['kd: method.weight=2', 'none: training.epochs=3']"
    file.write_text(f"rows: [kd, none]\nmain: [none]\nfolds: 2\nseeds: 1\nmain_seeds: 1\nreference: kd\n{tries}\n")
    write_folds(make_data(tmp_path), results, 2, 4, 4, 0)
    places = Places(file, tmp_path, tmp_path, results)
    made: list[set[str]] = []

    def pretend(config: StudyConfig, places: Places, runs: list[Run], jobs: int) -> None:
        made.append({run.row.label for run in runs})
        for run in runs:
            trials = read_fold(results, run.fold).trials
            scores = packed(0.5 * trials.is_target + 0.1 * np.random.default_rng(0).normal(size=len(trials)))
            label, fold, trials_hash = run.row.label, run.fold, execute._hash(places, run.fold)
            record = Record(
                "toy", label, "small", fold, run.seed, run.settings(), trials_hash, "", 1, 1.0, {"full": scores}
            )
            record.write(places.records / f"{run.name}.json")

    monkeypatch.setattr(execute, "_execute", pretend)
    assert execute.execute(read_study(file), places, 1) == 12
    assert made == [{"none.t0", "none.t1"}, {"none"}, {"kd.t0", "kd.t1"}, {"kd"}]


def lives(path: Path) -> bool:
    try:
        os.kill(int(path.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interrupt_ends_what_is_under_way_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def pretend(places: Places, run: Run, stop: threading.Event) -> str:
        begun.append(run.name)
        execute._call(["bash", "-c", f"sleep 1000 & echo $! > {tmp_path}/{run.name}; wait"], tmp_path / "log", stop)
        return run.name

    def interrupted(futures: object) -> None:
        limit = time.monotonic() + 60
        while not list(tmp_path.glob("*.s1")) and time.monotonic() < limit:
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "_run_apart", pretend)
    monkeypatch.setattr(execute, "as_completed", interrupted)
    (tmp_path / "toy.yaml").write_text("rows: [none, kd]\nreference: kd\n")
    runs = runs_of(read_study(tmp_path / "toy.yaml"), tmp_path / "toy.yaml")
    with pytest.raises(KeyboardInterrupt):
        execute.run_all(Places(tmp_path / "toy.yaml", tmp_path, tmp_path, tmp_path), runs, 1)
    limit = time.monotonic() + 60
    while lives(tmp_path / begun[0]) and time.monotonic() < limit:  # what the script has started ends by itself
        time.sleep(0.05)
    assert begun == [runs[0].name] and not lives(tmp_path / begun[0])


def test_a_failure_is_told_by_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^bash failed \(see .*/log\): of this$"):
        execute._call(["bash", "-c", "echo died; echo of this; echo; exit 3"], tmp_path / "log")
