"""The built-in corpus: synthetic voices of espeak-ng in drawn rooms, the same bytes on every x86-64 Linux."""

from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from imlkd.config import save_config
from imlkd.corpora.fingerprint import DIGESTS
from imlkd.corpora.minivox.audio import SAMPLE_RATE
from imlkd.corpora.minivox.config import FIRST_TEST_VOICE, MinivoxConfig
from imlkd.corpora.minivox.draws import Draws
from imlkd.corpora.minivox.espeak import TESTED_VERSION, Espeak, package_version
from imlkd.corpora.minivox.recordings import VoiceTask, Wav, make_voice, recipe_digest
from imlkd.corpora.minivox.trials import draw_trials
from imlkd.corpora.minivox.voices import Utterance, draw_utterances, draw_voice
from imlkd.errors import UserError
from imlkd.files import atomic_write_text, make_dir, sha256_file
from imlkd.kaldi_io import read_table, write_table

__all__ = ["MinivoxConfig", "MinivoxSummary", "corpus_checksum", "make_minivox"]

SETS = ("minivox_teacher_train", "minivox_train", "minivox_test")
TABLES = ("spk2gender", "spk2utt", "utt2dur", "utt2spk")
_DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


@dataclass(frozen=True)
class MinivoxSummary:
    """What was made."""

    voices: int
    utterances: int
    hours: float
    megabytes: float
    trials: int
    checksum: str


def make_minivox(config: MinivoxConfig, out_dir: Path | str, nj: int = 1) -> MinivoxSummary:
    """Make Kaldi data directories ``<out_dir>/minivox_{teacher_train,train,test}`` with audio in ``<out_dir>/wav``.

    Voices that are already there and right are kept. The result does not depend on ``nj``, the number of processes.
    They are spawned: a script that calls this needs the usual ``if __name__ == "__main__":``.

    :raises UserError: values that do not go together, espeakng-loader missing, ``out_dir`` unwritable, disk full.
    """
    if nj < 1:
        raise UserError(f"nj: {nj}: give at least one process")
    config.check()
    out = make_dir(Path(out_dir).absolute())
    version = _tested_version()
    _remove_leftovers(out)
    test = range(FIRST_TEST_VOICE, FIRST_TEST_VOICE + config.test_voices)
    numbers = [*range(1, config.teacher_voices + 1), *test]
    home = out / ".espeak"
    try:
        Espeak(home).install()
        tasks = [VoiceTask(config, number, out / "wav", home) for number in numbers]
        wavs = _make_voices(tasks, recipe_digest(config, version), nj)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    sizes = (range(1, config.teacher_voices + 1), range(1, config.student_voices + 1), test)
    for name, members in zip(SETS, sizes, strict=True):
        _write_set(config, out, name, members, wavs)
    trials = _write_trials(config, out / SETS[2], test)
    save_config(config, out / "minivox.yaml")
    samples = sum(wav.samples for wav in wavs.values())
    return MinivoxSummary(
        voices=len(numbers),
        utterances=len(wavs),
        hours=samples / SAMPLE_RATE / 3600,
        megabytes=(2 * samples + 44 * len(wavs)) / 1e6,
        trials=trials,
        checksum=corpus_checksum(out),
    )


def corpus_checksum(out_dir: Path | str) -> str:
    """SHA-256 over all tables and audio of a made corpus; where it lies on the disk does not count."""
    out = Path(out_dir).absolute()
    digest = hashlib.sha256()
    for name in SETS:
        for table in [*TABLES, "trials"] if name == SETS[2] else TABLES:
            digest.update(f"{name}/{table} {sha256_file(out / name / table)}\n".encode())
    for name in (SETS[0], SETS[2]):
        for utterance, path in read_table(out / name / "wav.scp").items():
            digest.update(f"{utterance} {os.path.relpath(path, out)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _tested_version() -> str:
    version = package_version()
    if version != TESTED_VERSION:
        line = f"minivox: espeakng-loader is {version}, tested is {TESTED_VERSION}: the corpus may differ from it"
        print(line, file=sys.stderr)
    return version


def _remove_leftovers(out: Path) -> None:
    """Folders that a killed run left half written."""
    for folder in [out / ".espeak", *out.glob("wav/.mv*.tmp*")]:
        shutil.rmtree(folder, ignore_errors=True)


def _make_voices(tasks: list[VoiceTask], digest: str, nj: int) -> dict[str, Wav]:
    """Run the tasks in ``nj`` processes; utterance -> file."""
    wavs: dict[str, Wav] = {}
    pool = ProcessPoolExecutor(min(nj, len(tasks)), multiprocessing.get_context("spawn"), _start_worker, (os.getpid(),))
    try:
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the workers start with it and keep it
        futures = [pool.submit(make_voice, task, digest) for task in tasks]
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        for future in _with_progress(futures):
            wavs.update(future.result())
    except BrokenProcessPool as error:
        raise UserError(
            "minivox: a worker process ended early (killed, or out of memory): run the same command again"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return wavs


def _start_worker(parent: int) -> None:
    """Never outlive the parent; interrupts are left to it (they are blocked when a worker starts)."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _with_progress(futures: list[Future[dict[str, Wav]]]) -> Iterator[Future[dict[str, Wav]]]:
    """The futures as they end; a bar on a terminal, else a line for about every tenth part."""
    from tqdm import tqdm

    done = as_completed(futures)
    if sys.stderr.isatty():
        yield from tqdm(done, total=len(futures), desc="minivox", unit="voice")
        return
    for count, future in enumerate(done, start=1):
        yield future
        if count * 10 // len(futures) > (count - 1) * 10 // len(futures):
            print(f"minivox: {count} of {len(futures)} voices", file=sys.stderr, flush=True)


def _write_set(config: MinivoxConfig, out: Path, name: str, numbers: range, wavs: dict[str, Wav]) -> None:
    utterances = _utterances(config, numbers)
    folder = make_dir(out / name)
    by_speaker: dict[str, list[str]] = {}
    for item in utterances:
        by_speaker.setdefault(item.speaker, []).append(item.name)
    write_table(folder / "utt2spk", {item.name: item.speaker for item in utterances})
    write_table(folder / "spk2utt", {speaker: " ".join(names) for speaker, names in by_speaker.items()})
    write_table(folder / "spk2gender", {item.speaker: item.gender for item in utterances})
    write_table(folder / "utt2dur", {item.name: _seconds(wavs[item.name].samples) for item in utterances})
    paths = {item.name: f"{out}/wav/{item.speaker}/{item.name}.wav" for item in utterances}
    write_table(folder / DIGESTS, {name: sha256_file(path) for name, path in paths.items()})
    write_table(folder / "wav.scp", paths)


def _seconds(samples: int) -> str:
    """Exact: a sample lasts 62.5 microseconds."""
    return f"{samples / SAMPLE_RATE:.7f}".rstrip("0").rstrip(".")


def _utterances(config: MinivoxConfig, numbers: range) -> list[Utterance]:
    return [item for number in numbers for item in draw_utterances(config, draw_voice(config, number), number)]


def _write_trials(config: MinivoxConfig, folder: Path, test: range) -> int:
    lines = draw_trials(_utterances(config, test), config.nontargets, Draws(config.seed, "trials"))
    atomic_write_text(folder / "trials", "".join(f"{line}\n" for line in lines))
    return len(lines)
