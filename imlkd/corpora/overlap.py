"""What two sets of one experiment may share: test sets their audio, training and test sets nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from imlkd.corpora.audio import Source, resolve_sources
from imlkd.corpora.kaldi_dir import DataDir
from imlkd.errors import UserError
from imlkd.files import sha256_file

_LISTED = 5
_KEEP_APART = "keep each in one of the two, or rename those that are only called alike (utils/copy_data_dir.sh)"
_RENAME = "rename them in one of the two (utils/copy_data_dir.sh)"


def check_overlap(train: Sequence[DataDir], tests: Sequence[DataDir]) -> None:
    """Refuse ids that mean two things, and speakers or recordings that are in training and in a test set.

    Two training sets, or two test sets, may share recordings and utterances when these are the same audio.

    :raises UserError: naming both sets, how many ids they share, the first five, and the remedy.
    """
    for one in train:
        for other in tests:
            _refuse(one, other, "speakers", _shared(one.spk2utt, other.spk2utt), _KEEP_APART)
            _refuse(one, other, "recordings", _shared(one.wav, other.wav), _KEEP_APART)
            _refuse(one, other, "utterances", _shared(one.utt2spk, other.utt2spk), _KEEP_APART)
    for group in (train, tests):
        check_shared_ids(group)


def check_shared_ids(dirs: Sequence[DataDir]) -> None:
    """Refuse sets that use one recording or utterance id for different audio, or one utterance for two speakers."""
    for index, one in enumerate(dirs):
        for other in dirs[index + 1 :]:
            recordings, utterances = _different_recordings(one, other), _different_utterances(one, other)
            _refuse(one, other, "recording ids for different audio", recordings, _RENAME)
            _refuse(one, other, "utterance ids for different audio or speakers", utterances, _RENAME)


def _shared(ids: Collection[str], others: Collection[str]) -> list[str]:
    return [key for key in ids if key in others]


def _different_recordings(one: DataDir, other: DataDir) -> list[str]:
    shared = _shared(one.wav, other.wav)
    if not shared:
        return []
    ours, theirs = (resolve_sources(data, allow_pipes=True).by_recording for data in (one, other))
    return [recording for recording in shared if not _same_audio(ours[recording], theirs[recording])]


def _different_utterances(one: DataDir, other: DataDir) -> list[str]:
    return [key for key in _shared(one.utt2spk, other.utt2spk) if _identity(one, key) != _identity(other, key)]


def _identity(data: DataDir, utterance: str) -> tuple[str, str, float, float]:
    speaker = data.utt2spk[utterance]
    if data.segments is None:
        return speaker, utterance, 0.0, -1.0
    segment = data.segments[utterance]
    return speaker, segment.recording, float(segment.start), float(segment.end)


def _same_audio(one: Source, other: Source) -> bool:
    if one.wav_scp == other.wav_scp:
        return True
    paths = Path(one.value), Path(other.value)
    if one.is_pipe or other.is_pipe or not all(path.is_file() for path in paths):
        return False
    return paths[0].stat().st_size == paths[1].stat().st_size and sha256_file(paths[0]) == sha256_file(paths[1])


def _refuse(one: DataDir, other: DataDir, what: str, ids: list[str], remedy: str) -> None:
    if ids:
        first = ", ".join(ids[:_LISTED])
        raise UserError(f"{one.path} and {other.path} share {len(ids)} {what}, first: {first}: {remedy}")
