"""VoxCeleb1's trial lists O, E and H, original and cleaned: told by their content, checked against published counts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from imlkd.corpora.trials.lists import Trials, read_trials
from imlkd.corpora.voxceleb.names import VOX1_TEST, is_id, kaldi_id, part_of, speaker_of
from imlkd.errors import UserError
from imlkd.files import os_errors

_LISTED = 5


@dataclass(frozen=True)
class Published:
    """A list as it is handed out: its file name, counts, and MD5 of the file.

    Counts: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html, targets and nontargets apart in PaddleSpeech,
    examples/voxceleb/README.md. MD5: PaddleSpeech's preparation of VoxCeleb1 (TRIAL_LIST); those of the cleaned lists
    stand the same in the scripts of other recipes.
    """

    file: str
    targets: int
    nontargets: int
    md5: str


PUBLISHED_LISTS = {
    "vox1_O": Published("veri_test2.txt", 18802, 18809, "b73110731c9223c1461fe49cb48dddfc"),
    "vox1_E": Published("list_test_all2.txt", 289921, 289897, "a53e059deb562ffcfc092bf5d90d9f3a"),
    "vox1_H": Published("list_test_hard2.txt", 275488, 275406, "857790e09d579a68eb2e339a090343c8"),
    "vox1_O_original": Published("veri_test.txt", 18860, 18860, "29fc7cc1c5d59f0816dc15d6e8be60f7"),
    "vox1_E_original": Published("list_test_all.txt", 290743, 290737, "b9ecf7aa49d4b656aa927a8092844e4a"),
    "vox1_H_original": Published("list_test_hard.txt", 276270, 276266, "21c341b6b2168eea2634df0fb4b8fff1"),
}


@dataclass(frozen=True)
class VoxList:
    """A trial list in Kaldi's ids.

    :param name: a key of ``PUBLISHED_LISTS``, or the name of its file without extension.
    :param is_published: whether the counts are those of the published list of this name.
    :param same_file: whether the file is, byte for byte, the published one.
    """

    name: str
    trials: Trials
    is_published: bool
    same_file: bool

    @property
    def utterances(self) -> set[str]:
        """All ids of both sides."""
        return {*self.trials.enroll, *self.trials.test}

    @property
    def speakers(self) -> set[str]:
        """The speakers of all ids."""
        return {speaker_of(utterance) for utterance in self.utterances}

    def describe(self) -> str:
        """One line: counts, and how they compare with the published ones."""
        targets = int(self.trials.is_target.sum())
        line = (
            f"{self.name}: {len(self.trials)} trials ({targets} target, {len(self.trials) - targets} nontarget), "
            f"{len(self.utterances)} utterances, {len(self.speakers)} speakers"
        )
        if self.is_published:
            return f"{line}; the published counts; {'MD5 of the published file' if self.same_file else 'another MD5'}"
        return f"{line}; none of the published lists has these counts"


def read_list(path: Path) -> VoxList:
    """Read a list in any layout that ``read_trials`` takes, and tell which it is.

    :raises UserError: for what ``read_trials`` refuses, ids that are not VoxCeleb's, labels that contradict the ids,
        and a file called like a published list with other counts.
    """
    trials = read_trials(path)
    trials = replace(
        trials, enroll=[kaldi_id(name) for name in trials.enroll], test=[kaldi_id(name) for name in trials.test]
    )
    _refuse_wrong_ids(trials)
    targets = int(trials.is_target.sum())
    counts = (targets, len(trials) - targets)
    for name, published in PUBLISHED_LISTS.items():
        if counts == (published.targets, published.nontargets):
            return VoxList(name, trials, True, _md5(path) == published.md5)
    for published in PUBLISHED_LISTS.values():
        if path.name == published.file and len(trials) > (published.targets + published.nontargets) // 2:
            expected = published.targets + published.nontargets
            raise UserError(
                f"{path}: {len(trials)} trials, the published list of this name has {expected}: copy the file again, "
                "or give a list of your own another name"
            )
    return VoxList(path.name.partition(".")[0], trials, False, False)


def known_trials(one: VoxList, utterances: Collection[str]) -> tuple[VoxList, int]:
    """The list without trials of utterances that are not there, and how many those are."""
    known = set(utterances)
    kept = [
        i for i, (a, b) in enumerate(zip(one.trials.enroll, one.trials.test, strict=True)) if a in known and b in known
    ]
    if len(kept) == len(one.trials):
        return one, 0
    trials = replace(
        one.trials,
        enroll=[one.trials.enroll[i] for i in kept],
        test=[one.trials.test[i] for i in kept],
        is_target=one.trials.is_target[kept],
    )
    if not trials.is_target.any() or trials.is_target.all():
        raise UserError(
            f"{one.trials.path}: of {len(one.trials)} trials {len(kept)} are left, without targets or without "
            "nontargets: the part of the corpus that is there is too small for this list"
        )
    return VoxList(one.name, trials, False, False), len(one.trials) - len(kept)


def needs_all_of_vox1(lists: Collection[VoxList]) -> bool:
    """Whether a list has speakers beside VoxCeleb1's test part, as E and H do."""
    return any(part_of(speaker) != VOX1_TEST for one in lists for speaker in one.speakers)


def refuse_trained_on(lists: Collection[VoxList], trained_on: Mapping[str, Collection[str]]) -> None:
    """Refuse lists with speakers that a system was trained on.

    :param trained_on: what was trained on (a set, or the teacher) -> its speakers.
    :raises UserError: with the overlap: how many of the list's speakers and trials, and the first speakers.
    """
    for one in lists:
        for name, speakers in trained_on.items():
            shared = sorted(one.speakers & set(speakers))
            if not shared:
                continue
            inside = set(shared)
            touched = sum(
                speaker_of(a) in inside or speaker_of(b) in inside
                for a, b in zip(one.trials.enroll, one.trials.test, strict=True)
            )
            raise UserError(
                f"{one.trials.path}: {one.name}: {len(shared)} of its {len(one.speakers)} speakers are in {name} "
                f"(first: {', '.join(shared[:_LISTED])}), {touched} of {len(one.trials)} trials have one of them: an "
                "error rate of speakers trained on says nothing: train on VoxCeleb2 alone, or leave this list out"
            )


def _refuse_wrong_ids(trials: Trials) -> None:
    for index, (enroll, test) in enumerate(trials.pairs()):
        for name in (enroll, test):
            if not is_id(name):
                raise UserError(f"{trials.place(index)}: {name} is no utterance of VoxCeleb's: give its trial lists")
        if (speaker_of(enroll) == speaker_of(test)) != bool(trials.is_target[index]):
            label = "target" if trials.is_target[index] else "nontarget"
            raise UserError(f"{trials.place(index)}: {enroll} {test} is called {label}, its speakers say otherwise")


def _md5(path: Path) -> str:
    with os_errors(path), open(path, "rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
