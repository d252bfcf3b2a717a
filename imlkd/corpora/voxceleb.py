"""VoxCeleb1 as it is handed out: folders of wav files and a trial list, to Kaldi data directories. Nothing is fetched.

Nagrani, Chung, Zisserman, "VoxCeleb: a large-scale speaker identification dataset", Interspeech 2017. The test
speakers are those of the verification list (in the published lists the 40 whose names begin with E), all others train.
Utterance ids are Kaldi's: ``id10270/x6uYqmx31kE/00001.wav`` is ``id10270-x6uYqmx31kE-00001``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from imlkd.corpora.kaldi_dir import DataDir, group_by_speaker, write_data_dir
from imlkd.corpora.trials import Trials, join_check, read_trials, write_trials
from imlkd.errors import UserError
from imlkd.files import os_errors
from imlkd.kaldi_io import sort_ids

TRAIN, TEST = "vox1_dev", "vox1_test"
PUBLISHED = {TRAIN: (1211, 148642), TEST: (40, 4874)}  # speakers, utterances of the whole corpus
_PARTS = ("", "wav", "dev", "dev/wav", "test", "test/wav")  # where speakers' folders may lie below the root
_SPEAKER = re.compile(r"id\d{5}")
_UTTERANCE = re.compile(r"(id\d{5})/([^/\s]+)/([^/\s]+)\.wav")
Say = Callable[[str], object]


@dataclass(frozen=True)
class Voxceleb1:
    """The two data directories; ``TEST`` holds ``trials``."""

    train: Path
    test: Path

    @property
    def trials(self) -> Path:
        """The converted list."""
        return self.test / "trials"


def prepare_voxceleb1(root: Path, trials_file: Path, out: Path, say: Say = print) -> Voxceleb1:
    """Write ``out/vox1_dev`` and ``out/vox1_test`` (with ``trials``), absolute paths in ``wav.scp``.

    :param root: holds ``wav/idNNNNN/VIDEO/NNNNN.wav``, in one folder or below ``dev`` and ``test``.
    :param trials_file: ``1|0 enroll.wav test.wav`` as published (veri_test2.txt, voxceleb1_test_v2.txt), or Kaldi's.
    :param say: receives one line for each set.
    :raises UserError: when there is no such tree, an utterance is there twice, the list names an utterance that is not
        there, or it leaves no speakers to train on.
    """
    wavs = find_wavs(root)
    trials = with_kaldi_ids(read_trials(trials_file))
    join_check(trials, wavs, source=str(root))
    test_speakers = {_speaker(name) for name in (*trials.enroll, *trials.test)}
    made = Voxceleb1(out / TRAIN, out / TEST)
    test = {name: wav for name, wav in wavs.items() if _speaker(name) in test_speakers}
    train = {name: wav for name, wav in wavs.items() if name not in test}
    if not train:
        raise UserError(
            f"{trials_file}: names all {len(test_speakers)} speakers of {root}, none are left to train on:"
            " give the list of the original test set (voxceleb1_test_v2.txt), or put the dev part beside the test part"
        )
    for path, members in ((made.train, train), (made.test, test)):
        data = _data_dir(path, members)
        write_data_dir(data, path)
        say(_describe(data))
    write_trials(made.trials, trials)
    return made


def find_wavs(root: Path) -> dict[str, Path]:
    """Absolute path of every utterance by its Kaldi id, in C order."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder: give the one that holds VoxCeleb1's wav/idNNNNN")
    wavs: dict[str, Path] = {}
    with os_errors(root):
        folders = {
            folder.resolve(): folder
            for part in _PARTS
            if (root / part).is_dir()
            for folder in sorted((root / part).iterdir())
            if _SPEAKER.fullmatch(folder.name)
        }
        for folder in folders.values():
            for path in folder.glob("*/*.wav"):
                _add(wavs, path.absolute())
    if not wavs:
        raise UserError(
            f"{root}: holds no idNNNNN/VIDEO/NNNNN.wav, nor below wav, dev/wav or test/wav:"
            " unpack VoxCeleb1 there (the .m4a files of VoxCeleb2 are not read)"
        )
    return {name: wavs[name] for name in sort_ids(wavs)}


def with_kaldi_ids(trials: Trials) -> Trials:
    """VoxCeleb's paths as Kaldi's ids; ids that are no such paths stay."""
    return replace(
        trials, enroll=[kaldi_id(name) for name in trials.enroll], test=[kaldi_id(name) for name in trials.test]
    )


def kaldi_id(name: str) -> str:
    """``id10270/x6uYqmx31kE/00001.wav`` -> ``id10270-x6uYqmx31kE-00001``."""
    match = _UTTERANCE.fullmatch(name)
    return "-".join(match.groups()) if match else name


def _add(wavs: dict[str, Path], path: Path) -> None:
    if path.name.startswith("."):  # what other systems leave beside a file
        return
    name = kaldi_id("/".join(path.parts[-3:]))
    if name in wavs:
        raise UserError(f"{path}: {name} is also {wavs[name]}: keep one of the two")
    wavs[name] = path


def _speaker(name: str) -> str:
    return name.partition("-")[0]


def _data_dir(path: Path, wavs: dict[str, Path]) -> DataDir:
    utt2spk = {name: _speaker(name) for name in wavs}
    wav = {name: str(file) for name, file in wavs.items()}
    return DataDir(path, wav, None, utt2spk, group_by_speaker(utt2spk))


def _describe(data: DataDir) -> str:
    found = (len(data.spk2utt), len(data.utt2spk))
    said = f"{data.path}: {found[0]} speakers, {found[1]} utterances"
    whole = PUBLISHED[data.path.name]
    return said if found == whole else f"{said} (the whole corpus has {whole[0]} and {whole[1]})"
