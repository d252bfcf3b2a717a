"""Audio of a data directory: where ``wav.scp`` points to, headers, and samples as float32 in [-1, 1).

Files are read through libsndfile (package soundfile), m4a through PyAV or ffmpeg.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imlkd.corpora.disk_table import DiskTable
from imlkd.corpora.kaldi_dir import DataDir, Segment
from imlkd.corpora.m4a import M4aProblem, as_wav, is_m4a
from imlkd.errors import UserError

Samples = npt.NDArray[np.float32]

_PROBED_PATHS = 100  # relative paths that are looked for before a rule is chosen
_UNKNOWN_LENGTH = 2**62  # libsndfile gives 2**63 - 1 for a FLAC that was written to a pipe
_STREAMED_SIZE = 0x7FFF0000  # header sizes from here on stand for "not known", as sox and flac write to a pipe
_SHORT_CONTAINER = re.compile(r"^\s*(?:data|SSND|riff|Riff size) : (\d+) \(should be (\d+)\)", re.MULTILINE)


class AudioProblem(UserError):
    """Audio that can't be used: ``place`` says where, ``what`` is wrong, ``remedy`` what to do."""

    def __init__(self, place: str, what: str, remedy: str) -> None:
        super().__init__(f"{place}: {what}: {remedy}")
        self.place, self.what, self.remedy = place, what, remedy


@dataclass(frozen=True, slots=True)
class Source:
    """Where a recording's audio comes from.

    :param value: an absolute path, or a shell command (without the bar) when ``is_pipe``.
    :param place: file and id, for messages.
    """

    recording: str
    value: str
    is_pipe: bool
    place: str

    @property
    def wav_scp(self) -> str:
        """The value of its line in ``wav.scp``."""
        return f"{self.value} |" if self.is_pipe else self.value


@dataclass(frozen=True)
class Sources:
    """All recordings of a data directory, and in words what their relative paths are relative to."""

    by_recording: dict[str, Source]
    rule: str


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a header says. ``samples`` counts one channel."""

    samples: int
    sample_rate: int
    channels: int


def resolve_sources(data: DataDir, allow_pipes: bool = False) -> Sources:
    """Find the audio of each recording: absolute paths, or relative ones under one rule for the whole directory.

    The rule is Kaldi's (relative to the working directory) unless more of the first hundred files lie under the data
    directory's parent.

    :raises UserError: for a pipe without ``allow_pipes``, and when neither folder has any of the files.
    """
    base, rule = _base_folder(data)
    sources: dict[str, Source] = {}
    for recording, value in data.wav.items():
        place = f"{data.table('wav.scp')}: {recording}"
        sources[recording] = _source_of(recording, value, base, place, allow_pipes)
    return Sources(sources, rule)


def _source_of(recording: str, value: str, base: Path, place: str, allow_pipes: bool) -> Source:
    if not value.endswith("|"):
        return Source(recording, str(base / value), False, place)
    if allow_pipes:
        return Source(recording, value[:-1].strip(), True, place)
    raise UserError(f"{place}: a pipe, which runs a command: allow it with `--allow-pipes true` (`run.sh`)")


def _base_folder(data: DataDir) -> tuple[Path, str]:
    relative = [
        (recording, value) for recording, value in data.wav.items() if not value.endswith("|") and value[0] != "/"
    ][:_PROBED_PATHS]
    here, beside = Path.cwd(), Path(data.path).absolute().parent
    if not relative:
        only_pipes = all(value.endswith("|") for value in data.wav.values())
        return here, "none: all are pipes" if only_pipes else "absolute"
    parent = "where the manifest lies" if data.is_manifest else "the data directory's parent"
    found_here, found_beside = (
        sum(os.path.isfile(folder / value) for _, value in relative) for folder in (here, beside)
    )
    if not found_here and not found_beside:
        recording, value = relative[0]
        raise UserError(
            f"{data.table('wav.scp')}: {recording}: no such file {value}: looked in the working directory {here} and "
            f"in {beside} ({parent}): start from the folder the paths are relative to"
        )
    if found_here >= found_beside:
        return here, f"relative to the working directory {here}"
    return beside, f"relative to {beside} ({parent})"


def probe(source: Source) -> AudioInfo:
    """Read length, sampling rate and channels from the header (a pipe is run).

    :raises AudioProblem: when the file is gone, empty, not audio, cut off, or doesn't state its length.
    """
    with open_audio(source) as file:
        return AudioInfo(file.frames, file.samplerate, file.channels)


def check_format(source: Source, info: AudioInfo, sample_rate: int) -> None:
    """Refuse all but mono at ``sample_rate`` (Hz)."""
    if info.channels != 1:
        raise AudioProblem(
            named(source), f"{info.channels} channels, expected 1", "take one (`sox IN OUT remix 1`) or mix them down"
        )
    if info.sample_rate != sample_rate:
        raise AudioProblem(
            named(source),
            f"sampled at {info.sample_rate} Hz, configured are {sample_rate} Hz",
            f"resample (`sox IN -r {sample_rate} OUT`) or set --sample-rate {info.sample_rate}",
        )


def read_source(source: Source, sample_rate: int, first: int = 0, count: int | None = None) -> Samples:
    """Read ``count`` samples (None: all) from sample ``first`` on; only that part of a file is decoded.

    :returns: (samples,) float32.
    :raises AudioProblem: for what ``probe`` and ``check_format`` refuse, undecodable, missing, NaN or infinite samples.
    """
    with open_audio(source) as file:
        return read_open(file, source, sample_rate, first, count)


def read_open(file: Any, source: Source, sample_rate: int, first: int = 0, count: int | None = None) -> Samples:
    """``read_source`` on a file that is already open."""
    check_format(source, AudioInfo(file.frames, file.samplerate, file.channels), sample_rate)
    count = file.frames - first if count is None else count
    if first < 0 or first + count > file.frames:
        raise AudioProblem(
            named(source),
            f"has {file.frames} samples, samples {first} to {first + count} were asked for",
            "mend segments, or run stage 0 again",
        )
    samples = decode(file, source, first, count)
    if not np.isfinite(samples).all():
        raise AudioProblem(named(source), "holds NaN or infinite samples", "make the file again or remove it")
    return samples


def decode(file: Any, source: Source, first: int, count: int) -> Samples:
    """``count`` samples from sample ``first`` on: (count,) float32, or (count, channels) of several channels.

    :raises AudioProblem: when they can't all be decoded.
    """
    import soundfile

    samples: Samples = np.zeros(0, np.float32)
    with contextlib.suppress(soundfile.LibsndfileError):
        file.seek(first)
        samples = file.read(count, dtype="float32")
    if len(samples) == count:
        return samples
    raise AudioProblem(
        named(source),
        f"cut off or damaged: its header says {file.frames} samples, they can't all be decoded",
        "copy the file again or remove it",
    )


@contextlib.contextmanager
def open_audio(source: Source, content: bytes | None = None) -> Iterator[Any]:
    """Open a source as ``soundfile.SoundFile``; ``content`` saves running a pipe a second time.

    :raises AudioProblem: see ``probe``.
    """
    import soundfile

    stream: Any
    if source.is_pipe:
        stream = io.BytesIO(run_pipe(source) if content is None else content)
    elif is_m4a(source.value):
        stream = io.BytesIO(_decoded(source))
    else:
        stream = _existing(source)
    try:
        file = soundfile.SoundFile(stream)
    except soundfile.LibsndfileError as error:
        what = f"not readable as audio ({error.error_string.rstrip('.')})"
        if isinstance(stream, str) and _begins_as_m4a(stream):
            raise AudioProblem(named(source), "m4a by its content, not by its name", "call it .m4a") from None
        raise AudioProblem(named(source), what, "make the file again or remove it") from None
    with file:
        _check_container(file, source)
        yield file


def _begins_as_m4a(path: str) -> bool:
    with open(path, "rb") as stream:
        return stream.read(8)[4:] == b"ftyp"


def _decoded(source: Source) -> bytes:
    try:
        return as_wav(source.value)
    except M4aProblem as problem:
        raise AudioProblem(named(source), str(problem), "copy the file again or remove it") from None


def _existing(source: Source) -> str:
    try:
        status = os.stat(source.value)
    except (OSError, ValueError):  # a name that is too long, or holds a NUL, too
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        in_ark = re.search(r":\d+$", source.value)
        remedy = "audio inside an ark isn't read, copy it out" if in_ark else "mend the path or put the file back"
        raise AudioProblem(named(source), "no such file", remedy)
    if status.st_size == 0:
        raise AudioProblem(named(source), "empty file of 0 bytes", "make the file again or remove it")
    return source.value


def _check_container(file: Any, source: Source) -> None:
    for stated, present in _SHORT_CONTAINER.findall(file.extra_info):
        if int(present) < int(stated) < _STREAMED_SIZE:
            raise AudioProblem(
                named(source),
                f"cut off: its header says {stated} bytes of audio, {present} are there",
                "copy the file again or remove it",
            )
    if file.frames >= _UNKNOWN_LENGTH:
        raise AudioProblem(named(source), "its header states no length", "encode it again to a file, not a pipe")
    if file.frames == 0:
        raise AudioProblem(named(source), "zero-length audio", "make the file again or remove it")


def run_pipe(source: Source) -> bytes:
    """Run the command of a pipe and return its standard output."""
    done = subprocess.run(["bash", "-c", source.value], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = f"exit status {done.returncode}" if done.returncode else "no output"
        raise AudioProblem(named(source), f"the command failed ({'; '.join([why, *said[-1:]])})", "run it by hand")
    return done.stdout


def named(source: Source) -> str:
    """File, id and audio path, for messages; an audio file that no table names goes by its path."""
    return f"{source.place}: {source.value}" if source.place else source.value


class AudioReader:
    """Reads the utterances of one data directory.

    :param sample_rate: Hz; audio at another rate is refused.
    :raises UserError: see ``resolve_sources``.
    """

    def __init__(self, data: DataDir, sample_rate: int, allow_pipes: bool = False) -> None:
        self.data, self.sample_rate = data, sample_rate
        self.sources = resolve_sources(data, allow_pipes).by_recording
        self._piped: tuple[str, bytes] = ("", b"")

    def read(self, utterance: str, first: int = 0, count: int | None = None) -> Samples:
        """Samples of an utterance, or ``count`` of them from its sample ``first`` on: (samples,) float32 in [-1, 1).

        :raises AudioProblem: see ``read_source``.
        :raises UserError: for an unknown utterance.
        """
        source = self._source(utterance)
        with open_audio(source, self._content(source)) as file:
            start, end = self._bounds(utterance, file.frames)
            end = end if count is None else min(end, start + first + count)
            return read_open(file, source, self.sample_rate, start + first, max(0, end - start - first))

    def num_samples(self, utterance: str) -> int:
        """Length of an utterance, from ``segments`` and the header."""
        source = self._source(utterance)
        with open_audio(source, self._content(source)) as file:
            start, end = self._bounds(utterance, file.frames)
        return end - start

    def _source(self, utterance: str) -> Source:
        if utterance not in self.data.utt2spk:
            raise UserError(f"{self.data.table('utt2spk')}: no utterance {utterance}: mend the list that names it")
        return self.sources[self.data.recording(utterance)]

    def _bounds(self, utterance: str, recording_samples: int) -> tuple[int, int]:
        if self.data.segments is None:
            return 0, recording_samples
        return self.data.segments[utterance].bounds(self.sample_rate, recording_samples)

    def _content(self, source: Source) -> bytes | None:
        """Output of a pipe; utterances are sorted, so remembering the last one runs each command once."""
        if not source.is_pipe:
            return None
        recording, content = self._piped
        if recording != source.recording:
            content = run_pipe(source)
            self._piped = (source.recording, content)
        return content


class DiskAudioReader(AudioReader):
    """The same of a directory that stage 0 has checked: its tables stay on the disk, whatever their size."""

    def __init__(self, path: Path, sample_rate: int, allow_pipes: bool = False) -> None:
        self._wav = DiskTable(path / "wav.scp")
        self._segments = DiskTable(path / "segments") if (path / "segments").is_file() else None
        head = dict(itertools.islice(self._wav.lines(), _PROBED_PATHS))
        super().__init__(DataDir(path, head, None, {}, {}), sample_rate, allow_pipes)
        self._base, self._allow_pipes = _base_folder(self.data)[0], allow_pipes

    def _source(self, utterance: str) -> Source:
        recording = utterance if self._segments is None else self._segments.get(utterance, " ").split(" ")[0]
        value = self._wav.get(recording)
        if value is None:
            raise UserError(f"{self.data.table('wav.scp')}: no audio of {utterance}: run stage 0 again")
        place = f"{self.data.table('wav.scp')}: {recording}"
        return _source_of(recording, value, self._base, place, self._allow_pipes)

    def _bounds(self, utterance: str, recording_samples: int) -> tuple[int, int]:
        if self._segments is None:
            return 0, recording_samples
        return Segment(*self._segments[utterance].split()).bounds(self.sample_rate, recording_samples)


def read_utterance(data: DataDir, utterance: str, sample_rate: int, allow_pipes: bool = False) -> Samples:
    """One utterance as (samples,) float32; use an ``AudioReader`` for many."""
    return AudioReader(data, sample_rate, allow_pipes).read(utterance)
