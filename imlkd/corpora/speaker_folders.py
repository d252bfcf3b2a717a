"""Corpora whose files' places tell the speaker: CN-Celeb, LibriSpeech, LibriTTS, VCTK, or one's own.

Each is a ``Layout``: a pattern of paths, the ids it gives, where genders stand, and who is tested. The directories hold
names only; audio is looked at by the step after (``imlkd.corpora.prepare``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imlkd.corpora.audio_tree import AudioTree
from imlkd.corpora.folders import install, locked, staging
from imlkd.corpora.kaldi_dir import DataDir, group_by_speaker, write_tables
from imlkd.corpora.recognise import hint
from imlkd.corpora.sets import RecipeSets, write_sets
from imlkd.corpora.trials.drawn import drawn_trials
from imlkd.corpora.trials.join import join_check
from imlkd.corpora.trials.lists import Trials, read_trials, write_trials
from imlkd.errors import UserError
from imlkd.kaldi_io import read_lines, sort_ids

Say = Callable[[str], object]
_EXAMPLES = 3


@dataclass(frozen=True)
class Layout:
    """How a corpus lies on the disk.

    :param pattern: of paths below the source, without extension; groups ``speaker`` and any others. Case matters.
    :param spell: the groups -> utterance id, which begins with the speaker's.
    :param tested: of paths whose speakers are for testing when nobody is named; empty: none.
    :param genders: file names of tables of speakers, and the pattern of a line with ``speaker`` and ``gender``.
    :param lists: file names of trial lists that come with it.
    """

    name: str
    pattern: str
    spell: Callable[[Mapping[str, str]], str]
    tested: str = ""
    genders: tuple[str, ...] = ()
    gender_line: str = r"(?P<speaker>\S+)\s*\|\s*(?P<gender>[MFmf])\b.*"
    lists: tuple[str, ...] = ()


_GENRES = "advertisement|drama|entertainment|interview|live_broadcast|movie|play|recitation|singing|speech|vlog"
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "cnceleb",
            rf"(?:.*/)?(?:(?P<speaker>id\d{{5}})/(?P<rest>(?:{_GENRES})-\d+-\d+)|"
            rf"(?:enroll|test)/(?P<tested>id\d{{5}})-(?P<part>enroll|(?:{_GENRES})-\d+-\d+))",
            lambda part: f"{part['speaker'] or part['tested']}-{part['rest'] or part['part']}".replace("_", "-"),
            tested=r"(?:.*/)?eval/.*",
            lists=("trials.lst",),
        ),
        Layout(
            "librispeech",
            r"(?:.*/)?(?P<speaker>\d+)/(?P<chapter>\d+)/(?P=speaker)-(?P=chapter)-(?P<number>\d{4})",
            lambda part: f"{part['speaker']}-{part['chapter']}-{part['number']}",
            tested=r"(?:.*/)?test-(?:clean|other)/.*",
            genders=("SPEAKERS.TXT",),
        ),
        Layout(
            "libritts",
            r"(?:.*/)?(?P<speaker>\d+)/(?P<chapter>\d+)/(?P=speaker)_(?P=chapter)_(?P<a>\d{6})_(?P<b>\d{6})",
            lambda part: f"{part['speaker']}-{part['chapter']}-{part['a']}-{part['b']}",
            tested=r"(?:.*/)?test-(?:clean|other)/.*",
            genders=("SPEAKERS.txt", "SPEAKERS.TXT", "speakers.tsv"),
            gender_line=r"(?P<speaker>\d+)\s*[|\t]\s*(?P<gender>[MF])\b.*",
        ),
        Layout(
            "vctk",
            # The second microphone heard the same words.
            r"(?:.*/)?(?P<speaker>[ps]\d{1,3})/(?P=speaker)_(?P<number>\d{3})(?:_mic1)?",
            lambda part: f"{part['speaker']}-{part['number']}",
            genders=("speaker-info.txt",),
            gender_line=r"(?P<speaker>[ps]?\d+)\s+\d*\s+(?P<gender>[MF])\s.*",
        ),
        Layout("folders", r"(?:.*/)?(?P<speaker>[^/]+)/(?P<rest>[^/]+)",
               lambda part: f"{part['speaker']}-{part['rest']}"),  # fmt: skip
    )
}


def prepare_folders(
    layout: Layout, source: Path, out: Path, test_speakers: Collection[str] = (), trials: Sequence[Path] = (),
    drawn: int = 10000, say: Say = print,
) -> RecipeSets:  # fmt: skip
    """Write ``out/<name>_train``, ``out/<name>_test`` with its lists, and ``out/<name>.sets.yaml``.

    :param test_speakers: whom to test on; empty: those in the layout's own test folders.
    :param trials: lists; without any those that come with the corpus, or ``drawn`` pairs of the test speakers.
    :raises UserError: for a folder without such files (with what it looks like), no test speakers, bad lists.
    """
    with locked(out, say):
        found, in_test = _gather(layout, source, say)
        tested = set(test_speakers) or {found[name][0] for name in in_test}
        missing = tested - {speaker for speaker, _ in found.values()}
        if not tested or missing:
            gone = f"{len(missing)} of them have no audio (first: {min(missing)})" if missing else "none are known"
            raise UserError(f"{source}: test speakers: {gone}: name others with --test-speakers FILE")
        genders = _genders(layout, source)
        test = {name: one for name, one in found.items() if one[0] in tested and (test_speakers or name in in_test)}
        train = {name: one for name, one in found.items() if one[0] not in tested}
        if not train:
            raise UserError(f"{source}: all {len(tested)} speakers are for testing: give the training part too")
        names = (f"{layout.name}_train", f"{layout.name}_test")
        lists = _lists(layout, source, test, trials, drawn, genders, say)
        with staging(out) as folder:
            for name, part in zip(names, (train, test), strict=True):
                write_tables(_data_dir(folder / name, part, genders), folder / name)
                say(f"{out / name}: {len({one[0] for one in part.values()})} speakers, {len(part)} utterances")
            for name, own in lists.items():
                write_trials(folder / names[1] / name, own)
            for name in names:
                install(folder / name, out / name)
            sets = RecipeSets(names[0], names[0], [names[1]], [f"{names[1]}/{name}" for name in lists])
            write_sets(sets, out / f"{layout.name}.sets.yaml")
        return sets


def _gather(layout: Layout, source: Path, say: Say) -> tuple[dict[str, tuple[str, str]], set[str]]:
    """Utterance -> (speaker, path), and the utterances of the test folders; says what was passed over."""
    pattern, tested = re.compile(layout.pattern), re.compile(layout.tested or "(?!)")
    found: dict[str, tuple[str, str]] = {}
    in_test: set[str] = set()
    dropped: Counter[str] = Counter()
    examples: dict[str, str] = {}
    tree = AudioTree(source)
    for path, below in sorted(tree.files()):
        match = pattern.fullmatch(below.rpartition(".")[0])
        if match is None:
            dropped["names of another kind"] += 1
            examples.setdefault("names of another kind", below)
            continue
        groups = match.groupdict()
        name, speaker = layout.spell(groups), groups["speaker"] or groups.get("tested") or ""
        if name.split() != [name] or speaker.split() != [speaker]:
            raise UserError(f"{path}: its id {name!r} would hold white space: rename the file or folder")
        is_test = tested.fullmatch(below) is not None
        if name in found:
            dropped["the same utterance again"] += 1
            examples.setdefault("the same utterance again", below)
        if name not in found or is_test and name not in in_test:
            found[name] = (speaker, path)
        if is_test:
            in_test.add(name)
    if not found:
        raise UserError(f"{source}: no file is called as in {layout.name}{hint(source)}: mend the path")
    for reason, count in [*dropped.items(), *tree.passed_over.items()]:
        example = examples.get(reason) or ", ".join(tree.examples.get(reason, [])[:_EXAMPLES])
        say(f"{source}: {count} passed over, {reason}: {example}")
    return found, in_test


def _genders(layout: Layout, source: Path) -> dict[str, str]:
    line_of = re.compile(layout.gender_line)
    for folder in (source, source.parent):
        for name in layout.genders:
            if (folder / name).is_file():
                matches = (line_of.fullmatch(line.strip()) for _, line in read_lines(folder / name))
                return {match["speaker"]: match["gender"].lower() for match in matches if match}
    return {}


def _data_dir(path: Path, part: Mapping[str, tuple[str, str]], genders: Mapping[str, str]) -> DataDir:
    names = sort_ids(part)
    utt2spk = {name: part[name][0] for name in names}
    spk2utt = group_by_speaker(utt2spk)
    known = {speaker: genders[speaker] for speaker in spk2utt if speaker in genders}
    wav = {name: part[name][1] for name in names}
    return DataDir(path, wav, None, utt2spk, spk2utt, spk2gender=known if len(known) == len(spk2utt) else None)


def _lists(
    layout: Layout, source: Path, test: Mapping[str, tuple[str, str]], given: Sequence[Path], drawn: int,
    genders: Mapping[str, str], say: Say,
) -> dict[str, Trials]:  # fmt: skip
    own = [path for name in layout.lists for path in sorted(source.rglob(name))]
    lists: dict[str, Trials] = {}
    for path in given or own:
        trials = _cnceleb_trials(path) if layout.name == "cnceleb" else read_trials(path)
        join_check(trials, set(test), source=f"the test speakers' audio below {source}")
        lists[path.stem] = trials
    if not lists:
        pairs = drawn_trials({name: speaker for name, (speaker, _) in test.items()}, genders, drawn)
        say(f"no list of trials: {len(pairs)} pairs of the test speakers are drawn")
        lists["trials"] = pairs
    return lists


def _cnceleb_trials(path: Path) -> Trials:
    """CN-Celeb's own list, ``id00800-enroll test/id00800-singing-01-002.wav 1|0``, or one in our ids."""
    rows = [(number, line.split()) for number, line in read_lines(path)]
    labels = {"1": True, "0": False, "target": True, "nontarget": False}
    for number, row in rows:
        if len(row) != 3 or row[2] not in labels:
            raise UserError(f"{path}:{number}: expected `<enroll> <test> 1|0`, found {' '.join(row)[:60]!r}")
    enroll, test = ([Path(row[side]).name.partition(".")[0].replace("_", "-") for _, row in rows] for side in (0, 1))
    return Trials(path, "kaldi", enroll, test, np.array([labels[row[2]] for _, row in rows]))
