"""Check the audio of a corpus before anything is computed from it: every recording is decoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

from imlkd.corpora.audio import (
    AudioInfo,
    AudioProblem,
    Samples,
    Source,
    check_format,
    named,
    open_audio,
    read_open,
    resolve_sources,
    run_pipe,
)
from imlkd.corpora.kaldi_dir import DataDir
from imlkd.errors import UserError
from imlkd.files import atomic_write_text, sha256_file

SHORTEST_SECONDS = 0.025  # one analysis window
_ONE_STEP = 1 / 32768  # of 16-bit audio
_FULL_SCALE = 1 - 2 * _ONE_STEP
_LOUDEST = 16.0  # float audio may exceed 1 a little; samples at 16-bit scale exceed it a thousandfold
_LISTED = 5


@dataclass(frozen=True)
class BadAudio:
    """A recording or utterance that can't be used; ``utterances`` counts those lost by it."""

    id: str
    place: str
    what: str
    remedy: str
    utterances: int = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of a recording after the check.

    :param sha256: of the file, or of the output of the pipe; None when it wasn't decoded.
    """

    source: Source
    info: AudioInfo
    sha256: str | None


@dataclass(frozen=True)
class Examined:
    """One directory after the check: good recordings by id, and what is bad."""

    recordings: dict[str, Recording]
    bad: list[BadAudio]


@dataclass(frozen=True, slots=True)
class _Task:
    data: DataDir
    source: Source
    utterances: list[str]
    sample_rate: int
    decode: bool


def check_corpus(
    dirs: Sequence[DataDir],
    sample_rate: int,
    allow_pipes: bool = False,
    decode: bool = True,
    nj: int = 1,
    bad_list: Path | None = None,
) -> list[dict[str, Recording]]:
    """Check the audio of every utterance of ``dirs`` with ``nj`` threads; nothing may be bad.

    :param sample_rate: Hz, the only one accepted.
    :param decode: decode everything; False: headers and segments only.
    :param bad_list: where to write all bad ids with reasons, one a line, when there are any.
    :returns: for each directory its recordings by id.
    :raises UserError: one line: how many utterances are bad, the first five and what to do.
    """
    examined = examine_corpus(dirs, sample_rate, allow_pipes, decode, nj)
    refuse_bad(examined, sum(len(data.utt2spk) for data in dirs), bad_list)
    return [one.recordings for one in examined]


def examine_corpus(
    dirs: Sequence[DataDir], sample_rate: int, allow_pipes: bool = False, decode: bool = True, nj: int = 1
) -> list[Examined]:
    """``check_corpus`` that leaves it to the caller what becomes of bad audio."""
    from tqdm import tqdm

    by_dir = [_tasks(data, sample_rate, allow_pipes, decode) for data in dirs]
    tasks = [(index, task) for index, tasks_of_dir in enumerate(by_dir) for task in tasks_of_dir]
    examined = [Examined({}, []) for _ in dirs]
    # Threads are enough: libsndfile and the hash run without Python's lock.
    with ThreadPool(max(1, nj)) as pool:
        results = pool.imap(_examine, (task for _, task in tasks), chunksize=4)
        shown = tqdm(results, "checking audio", len(tasks), unit="rec", disable=None)
        for (index, _), (recording, problems) in zip(tasks, shown, strict=True):
            examined[index].bad.extend(problems)
            if recording is not None:
                examined[index].recordings[recording.source.recording] = recording
    return examined


def refuse_bad(
    examined: Sequence[Examined], total: int, bad_list: Path | None = None, max_bad: float = 0.0
) -> list[BadAudio]:
    """Write the list of bad audio; refuse more of it than is tolerated, and return what is.

    :param total: utterances in all.
    :param max_bad: share of the utterances that may be bad.
    :raises UserError: see ``check_corpus``.
    """
    bad = [problem for one in examined for problem in one.bad]
    if bad and bad_list is not None:
        lines = (f"{one.id} {one.place}: {one.what}: {one.remedy}\n" for one in bad)
        atomic_write_text(bad_list, "".join(lines))
    if sum(one.utterances for one in bad) > max_bad * total:
        _refuse(bad, total, bad_list, max_bad)
    return bad


def check_samples(samples: Samples) -> tuple[str, str] | None:
    """What is wrong with an utterance's samples, and the remedy; None when they can be used.

    Refused are audio without any change above one step of 16 bit (silence, or stuck at one value), audio of which half
    is at full scale, and samples far outside -1..1.
    """
    remedy = "remove the utterance or make its audio again"
    low, high = float(samples.min()), float(samples.max())
    if high - low <= _ONE_STEP:
        return f"silent: all samples lie within one 16-bit step of {low:.4g}", remedy
    peak = max(high, -low)
    if peak > _LOUDEST:
        return f"samples up to {peak:.4g}, expected -1 to 1", "divide float audio at 16-bit scale by 32768"
    if peak >= _FULL_SCALE:
        clipped = float(((samples >= _FULL_SCALE) | (samples <= -_FULL_SCALE)).mean())
        if clipped >= 0.5:
            return f"clipped: {100 * clipped:.0f} % of the samples are at full scale", remedy
    return None


def _tasks(data: DataDir, sample_rate: int, allow_pipes: bool, decode: bool) -> list[_Task]:
    utterances: dict[str, list[str]] = {recording: [] for recording in data.wav}
    for utterance in data.utt2spk:
        utterances[data.recording(utterance)].append(utterance)
    sources = resolve_sources(data, allow_pipes).by_recording
    return [_Task(data, sources[recording], inside, sample_rate, decode) for recording, inside in utterances.items()]


def _examine(task: _Task) -> tuple[Recording | None, list[BadAudio]]:
    source = task.source
    try:
        content = run_pipe(source) if source.is_pipe else None
        with open_audio(source, content) as file:
            info = AudioInfo(file.frames, file.samplerate, file.channels)
            check_format(source, info, task.sample_rate)
            samples = read_open(file, source, task.sample_rate) if task.decode else None
        examined = [_examine_utterance(task, info, samples, utterance) for utterance in task.utterances]
        digest = _digest(source, content) if task.decode else None
        return Recording(source, info, digest), [bad for bad in examined if bad is not None]
    except AudioProblem as problem:
        bad = BadAudio(source.recording, problem.place, problem.what, problem.remedy, len(task.utterances))
        return None, [bad]


def _digest(source: Source, content: bytes | None) -> str:
    return sha256_file(source.value) if content is None else hashlib.sha256(content).hexdigest()


def _examine_utterance(task: _Task, info: AudioInfo, samples: Samples | None, utterance: str) -> BadAudio | None:
    data, place = task.data, named(task.source)
    first, end = 0, info.samples
    if data.segments is not None:
        segment = data.segments[utterance]
        first, end = segment.bounds(info.sample_rate, info.samples)
        place = f"{data.table('segments')}: {utterance}: {task.source.value}"
        if end > info.samples:
            length = info.samples / info.sample_rate
            what = f"ends at {segment.end} s, the recording at {length:.4f} s (up to 10 ms are tolerated)"
            return BadAudio(utterance, place, what, "mend the line or remove the utterance")
    if end - first < SHORTEST_SECONDS * info.sample_rate:
        what = f"holds {max(0, end - first)} samples, fewer than one frame of {1000 * SHORTEST_SECONDS:.0f} ms"
        return BadAudio(utterance, place, what, "remove the utterance or mend its times")
    wrong = check_samples(samples[first:end]) if samples is not None else None
    return BadAudio(utterance, place, *wrong) if wrong else None


def _refuse(bad: list[BadAudio], total: int, bad_list: Path | None, max_bad: float) -> None:
    if len(bad) == 1 and bad[0].utterances == 1 and not max_bad:
        raise UserError(f"{bad[0].place}: {bad[0].what}: {bad[0].remedy}")
    listed = "; ".join(f"{one.place}: {one.what}" for one in bad[:_LISTED])
    more = f"; and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
    remedies = ", or ".join(dict.fromkeys(one.remedy for one in bad))
    everything = f" (all in {bad_list})" if bad_list else ""
    count = sum(one.utterances for one in bad)
    if count == total and all(one.what == "no such file" for one in bad):
        remedies += ", or, where all of it has moved, say so (`imlkd data relocate`)"
    allowed = f", more than --max-bad {100 * max_bad:g}%" if max_bad else ""
    raise UserError(f"{count} of {total} utterances have bad audio{allowed}{everything}: {listed}{more}: {remedies}")
