"""Kaldi directories and Lhotse manifests of other programs in, ours out; what is used and what is left is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from imlkd.corpora.audio import AudioProblem, Source, probe, resolve_sources
from imlkd.corpora.kaldi_dir import DataDir, is_manifest, read_data_dir, seconds_text, write_data_dir
from imlkd.corpora.lhotse.cuts import from_cuts, read_cuts, to_cuts, write_cuts
from imlkd.corpora.pipes import file_of, flac_pipe
from imlkd.corpora.utterance_set import BY_RECORDING, BY_SPEAKER, BY_UTTERANCE, KaldiSet, read_set
from imlkd.errors import UserError
from imlkd.files import make_dir, os_errors

Say = Callable[[str], object]
MANIFESTS = ("recordings.jsonl.gz", "supervisions.jsonl.gz", "cuts.jsonl.gz")


def import_kaldi(source: Path, out: Path, allow_pipes: bool = False, say: Say = print) -> DataDir:
    """A checked directory ``out`` of any Kaldi directory: absolute paths, exact lengths, ``spk2utt``.

    Pipes that only decode a file give way to the file; others stay, and are run with ``allow_pipes`` alone.

    :raises UserError: see ``read_data_dir``; for audio whose header can't be read, an ``out`` that is there already.
    """
    refuse_existing(out)
    own = read_set(source)
    if not isinstance(own, KaldiSet):
        raise UserError(f"{source}: a cut manifest: imlkd data from-lhotse reads it")
    wav = {key: _plain(value, f"{own.data.table('wav.scp')}: {key}") for key, value in own.data.wav.items()}
    unpiped = sum(wav[key] != own.data.wav[key] for key in wav)
    data = replace(own.data, wav=wav)
    sources = resolve_sources(data, allow_pipes)
    infos = {key: probe(one) for key, one in sources.by_recording.items()}
    data = replace(
        data,
        wav={key: one.wav_scp for key, one in sources.by_recording.items()},
        utt2dur={key: _duration(data, key, infos[data.recording(key)]) for key in data.utt2spk},
    )
    lengths = {key: seconds_text(info.samples, info.sample_rate) for key, info in infos.items()}
    KaldiSet(source, data, {**own.more, "reco2dur": lengths}).write(out)
    _say_what_became_of(source, own, say)
    say(f"{source}: audio paths are {sources.rule}; {unpiped} pipes became the files that they decode")
    say(f"{out}: {len(data.utt2spk)} utterances in {len(data.wav)} recordings, {len(data.spk2utt)} speakers")
    return data


def export_kaldi(source: Path, out: Path, flac: str = "path", say: Say = print) -> DataDir:
    """A data directory ``out`` of a data directory or a cut manifest, as Kaldi's own scripts want it.

    :param flac: path: FLAC stays a path, as kaldiio and this program read it; pipe: ``flac -c -d -s PATH |``, which
        Kaldi's programs need. No pipe through ffmpeg is ever written.
    :raises UserError: see ``from_cuts`` and ``read_data_dir``; for an ``out`` that is there already.
    """
    refuse_existing(out)
    found = read_set(source)
    own = found if isinstance(found, KaldiSet) else KaldiSet(source, from_cuts(read_cuts(source), source, say))
    sources = resolve_sources(own.data, allow_pipes=True).by_recording
    wav = {key: one.wav_scp for key, one in sources.items()}
    if flac == "pipe":
        wav = {key: flac_pipe(value) if value.lower().endswith(".flac") else value for key, value in wav.items()}
    data = replace(own.data, wav=wav)
    replace(own, data=data).write(out)
    say(f"{out}: {len(data.utt2spk)} utterances in {len(data.wav)} recordings, {len(data.spk2utt)} speakers")
    return data


def import_lhotse(source: Path, out: Path, supervisions: Path | None = None, say: Say = print) -> DataDir:
    """A data directory ``out`` of cuts, or of recordings (``source``) with their supervisions.

    :raises UserError: see ``from_cuts``; for an ``out`` that is there already.
    """
    refuse_existing(out)
    cuts = read_cuts(source) if supervisions is None else _cuts_of(source, supervisions, say)
    data = from_cuts(cuts, source, say)
    write_data_dir(data, out)
    say(f"{out}: {len(data.utt2spk)} utterances in {len(data.wav)} recordings, {len(data.spk2utt)} speakers")
    return data


def export_lhotse(source: Path, out: Path, allow_pipes: bool = False, say: Say = print) -> int:
    """Cuts ``out`` (``.jsonl.gz``) of a data directory; into a folder, its recordings and supervisions too."""
    cuts = to_cuts(read_data_dir(source), allow_pipes)
    if is_manifest(out):
        write_cuts(cuts, out)
    else:
        _write_manifests(cuts, out)
    say(f"{out}: {len(cuts)} cuts")
    return len(cuts)


def refuse_existing(out: Path) -> None:
    """UserError for a place that something stands at."""
    if out.exists():
        raise UserError(f"{out}: is there already: remove it, or choose another name")


def _plain(value: str, place: str) -> str:
    """The file of a pipe that does nothing but decode it."""
    if not value.endswith("|"):
        return value
    path = file_of(value) or file_of(value, _rate(value, place))
    return path or value


def _rate(value: str, place: str) -> int | None:
    """Sampling rate of the file that a pipe through ffmpeg names, from its header."""
    words = value.split()
    if "-i" not in words[:-1] or "-ar" not in words:
        return None
    path = words[words.index("-i") + 1].strip("'\"")
    try:
        return probe(Source("", path, False, place)).sample_rate
    except AudioProblem:
        return None


def _duration(data: DataDir, utterance: str, info: Any) -> str:
    first, end = 0, info.samples
    if data.segments is not None:
        first, end = data.segments[utterance].bounds(info.sample_rate, info.samples)
    return seconds_text(end - first, info.sample_rate)


def _say_what_became_of(source: Path, own: KaldiSet, say: Say) -> None:
    """A line on the files that were used and one on those that were not."""
    used = {"wav.scp", "utt2spk", "spk2utt", "segments", "spk2gender", *own.data.extra, *own.more}
    used -= {"utt2dur", "reco2dur"}  # made anew from the headers
    names = sorted(one.name for one in source.iterdir() if not one.name.startswith("."))
    say(f"{source}: used {' '.join(name for name in names if name in used)}")
    left = [name for name in names if name not in used]
    if left:
        known = {"utt2dur", "reco2dur", *BY_UTTERANCE, *BY_RECORDING, *BY_SPEAKER}
        say(f"{source}: made anew or left behind: {' '.join(name + ('*' if name in known else '') for name in left)}")


def _cuts_of(recordings: Path, supervisions: Path, say: Say) -> list[Any]:
    """One cut a supervision, on the recording it names."""
    from lhotse import CutSet, RecordingSet, SupervisionSet

    for path in (recordings, supervisions):
        if not path.is_file():
            raise UserError(f"{path}: no such file: give a manifest (.jsonl.gz)")
    try:
        sets = RecordingSet.from_file(recordings), SupervisionSet.from_file(supervisions)
        whole = CutSet.from_manifests(recordings=sets[0].to_eager(), supervisions=sets[1].to_eager())
        cuts = list(whole.trim_to_supervisions(keep_overlapping=False, keep_all_channels=False))
    except Exception as error:  # Lhotse raises whatever its constructors meet
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        raise UserError(f"{recordings} and {supervisions}: not Lhotse manifests that fit ({reason})") from error
    for cut in cuts:
        cut.id = cut.supervisions[0].id
    say(f"{recordings}: {len(sets[0])} recordings, {supervisions}: {len(sets[1])} supervisions, {len(cuts)} cuts")
    if not cuts:
        raise UserError(f"{supervisions}: no supervision of a recording of {recordings}: give two that belong together")
    return cuts


def _write_manifests(cuts: list[Any], out: Path) -> None:
    from lhotse import RecordingSet, SupervisionSet

    recordings = {cut.recording.id: cut.recording for cut in cuts}
    supervisions = [
        one.with_offset(cut.start) for cut in cuts for one in cut.supervisions
    ]  # in a cut their times are relative to its start, in a manifest to the recording's
    make_dir(out)
    with os_errors(out):
        RecordingSet.from_recordings(recordings.values()).to_file(out / MANIFESTS[0])
        SupervisionSet.from_segments(supervisions).to_file(out / MANIFESTS[1])
    write_cuts(cuts, out / MANIFESTS[2])
