"""VoxCeleb to Kaldi data directories: one to train on, one to test on, with trial lists; nothing is fetched or changed.

The directories hold names only; audio is looked at by the step after (``imlkd.corpora.prepare``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imlkd.corpora.folders import install, locked, staging
from imlkd.corpora.kaldi_dir import DataDir, group_by_speaker, write_tables
from imlkd.corpora.sets import RecipeSets, write_sets
from imlkd.corpora.speaker_overlap import NOT_CHECKED
from imlkd.corpora.trials.join import join_check
from imlkd.corpora.trials.lists import write_trials
from imlkd.corpora.voxceleb.lists import VoxList, known_trials, needs_all_of_vox1, read_list, refuse_trained_on
from imlkd.corpora.voxceleb.meta import find_meta, missing_by_speaker, read_expected, read_meta
from imlkd.corpora.voxceleb.names import (
    PARTS,
    PUBLISHED,
    VOX1,
    VOX1_DEV,
    VOX1_TEST,
    VOX2_DEV,
    known_speakers,
    speaker_of,
    video_of,
)
from imlkd.corpora.voxceleb.sources import Gathered, gather
from imlkd.corpora.voxceleb.table import missing_text, parts_text, sources_text
from imlkd.errors import UserError
from imlkd.files import atomic_write_text
from imlkd.kaldi_io import sort_ids

SOURCES_FILE, MISSING_FILE = "voxceleb_sources.txt", "voxceleb_missing.txt"
TRAINING = {"vox1_dev": (VOX1_DEV,), "vox2_dev": (VOX2_DEV,), "vox1_dev+vox2_dev": (VOX1_DEV, VOX2_DEV)}
Say = Callable[[str], object]


@dataclass(frozen=True)
class VoxOptions:
    """What to make of the audio.

    :param train: a key of ``TRAINING``, or auto: VoxCeleb2's dev part when it is there, else VoxCeleb1's.
    :param allow_partial: go on with a part of the corpus; trials of utterances that aren't there are left out.
    :param decode_m4a: leave m4a files as they are, to be decoded whenever they are read.
    :param min_utterances: speakers with fewer are not trained on.
    :param relocate: (old, new) beginning of paths in tables and lists.
    :param teacher_speakers: whom the teacher was trained on; None: not known.
    """

    train: str = "auto"
    allow_partial: bool = False
    decode_m4a: bool = False
    min_utterances: int = 1
    relocate: tuple[str, str] | None = None
    teacher_speakers: frozenset[str] | None = None


@dataclass
class _Plan:
    """The sets on their way to the disk."""

    train_name: str
    train: dict[str, str]
    test_name: str
    test: dict[str, str]
    lists: list[VoxList]
    genders: dict[str, str] = field(default_factory=dict)
    durations: dict[str, str] = field(default_factory=dict)


def prepare_voxceleb(
    sources: Sequence[Path],
    trials: Sequence[Path],
    out: Path,
    options: VoxOptions = VoxOptions(),
    expect: Sequence[Path] = (),
    say: Say = print,
) -> RecipeSets:
    """Write ``out/<training set>``, ``out/<test set>`` with its lists, ``out/voxceleb.sets.yaml`` and two tables.

    :param sources: folders, Kaldi data directories or plain lists, in any mixture.
    :param trials: lists over VoxCeleb1.
    :param expect: lists of the utterances that there should be, for the table of what is missing.
    :raises UserError: see ``gather``, ``read_list``, ``refuse_trained_on``; for a partial corpus that wasn't allowed.
    """
    _check_options(sources, trials, options)
    lists = [read_list(path) for path in trials]  # before the walk, which may take minutes
    with locked(out, say):
        meta = read_meta(find_meta(sources))
        gathered = gather(sources, meta.vox2_test, options.relocate)
        expected = read_expected(expect) | set[str]().union(*(one.utterances for one in lists))
        sources_table = sources_text(gathered.rows)
        _say_lines(sources_table, say)
        found = [name for part in gathered.audio.values() for name in part]
        gone = _gone_speakers(gathered, meta.speakers)
        missing = missing_text(missing_by_speaker(expected, found), gone, bool(expect))
        atomic_write_text(out / MISSING_FILE, missing)
        plan = _plan(gathered, lists, options, out / MISSING_FILE, say)
        plan.genders, plan.durations = meta.genders, gathered.durations
        parts_table = parts_text(gathered.audio, {*plan.train, *plan.test})
        _say_lines(parts_table, say)
        atomic_write_text(out / SOURCES_FILE, f"{sources_table}\n{parts_table}")
        _refuse_m4a(plan, options)
        return _write(plan, out, say)


def _say_lines(text: str, say: Say) -> None:
    for line in text.splitlines():
        say(line)


def _check_options(sources: Sequence[Path], trials: Sequence[Path], options: VoxOptions) -> None:
    if not sources:
        raise UserError("no audio: give at least one folder, Kaldi directory or list of VoxCeleb's")
    if not trials:
        raise UserError("no list of trials: give veri_test2.txt (O), list_test_all2.txt (E) or list_test_hard2.txt (H)")
    if options.train not in ("auto", *TRAINING):
        raise UserError(f"--train {options.train}: known are auto, {', '.join(TRAINING)}")


def _plan(gathered: Gathered, lists: list[VoxList], options: VoxOptions, missing: Path, say: Say) -> _Plan:
    audio = gathered.audio
    name = options.train if options.train != "auto" else VOX2_DEV if audio[VOX2_DEV] else VOX1_DEV
    parts = TRAINING[name]
    for part in parts:
        if not audio[part]:
            raise UserError(f"--train {name}: none of the sources has audio of {part}: give its folder too")
    for one in lists:
        say(one.describe())
    train = {utterance: path for part in parts for utterance, path in audio[part].items()}
    _refuse_dishonest(lists, {f"the training set {name}": set(map(speaker_of, train))}, options, say)
    whole = needs_all_of_vox1(lists)
    tested = (VOX1_DEV, VOX1_TEST) if whole else (VOX1_TEST,)
    _refuse_partial(audio, [part for part in PARTS if part in (*parts, *tested)], options.allow_partial, missing, say)
    test = {utterance: path for part in tested for utterance, path in audio[part].items()}
    kept = [_without_missing(one, test, options.allow_partial, say) for one in lists]
    _refuse_same_names(kept)
    if whole:
        in_lists = set[str]().union(*(one.utterances for one in kept))
        test = {utterance: path for utterance, path in test.items() if utterance in in_lists}
    train = _without_small_speakers(train, options.min_utterances, say)
    return _Plan(name.replace("vox1_dev+vox2_dev", "vox_dev"), train, VOX1 if whole else VOX1_TEST, test, kept)


def _refuse_dishonest(lists: list[VoxList], trained_on: dict[str, set[str]], options: VoxOptions, say: Say) -> None:
    if options.teacher_speakers is None:
        say(f"{NOT_CHECKED}: a teacher that is imported may have been trained on these speakers (--teacher-speakers)")
    else:
        trained_on["the teacher's training"] = set(options.teacher_speakers)
    refuse_trained_on(lists, trained_on)


def _without_missing(one: VoxList, test: Collection[str], allow_partial: bool, say: Say) -> VoxList:
    if not allow_partial:
        join_check(one.trials, test, source="the sources")
        return one
    kept, dropped = known_trials(one, test)
    if dropped:
        say(f"{one.name}: {dropped} of {len(one.trials)} trials are left out, their audio is not there")
    return kept


def _refuse_same_names(lists: list[VoxList]) -> None:
    for name, count in Counter(one.name for one in lists).items():
        if count > 1:
            raise UserError(f"--trials: {count} lists would be called {name}: leave one out, or rename its file")


def _without_small_speakers(train: dict[str, str], least: int, say: Say) -> dict[str, str]:
    counts = Counter(map(speaker_of, train))
    single = sorted(speaker for speaker, count in counts.items() if count == 1)
    if single:
        say(f"{len(single)} training speakers have one utterance only (first: {', '.join(single[:5])})")
    small = {speaker for speaker, count in counts.items() if count < least}
    if len(small) == len(counts):
        raise UserError(f"--min-utterances {least}: no training speaker has as many: give less")
    if small:
        say(f"{len(small)} training speakers with fewer than {least} utterances are left out")
    return {name: path for name, path in train.items() if speaker_of(name) not in small} if small else train


def _gone_speakers(gathered: Gathered, speakers: dict[str, set[str]]) -> list[str]:
    """Speakers that there should be and that have no audio at all, of the parts of which there is any."""
    gone: list[str] = []
    for part, names in gathered.audio.items():
        if names:
            gone += sorted({*known_speakers(part), *speakers.get(part, ())} - set(map(speaker_of, names)))
    return gone


def _refuse_partial(
    audio: dict[str, dict[str, str]], parts: Sequence[str], allow_partial: bool, missing: Path, say: Say
) -> None:
    for part in parts:
        whole, names = PUBLISHED[part], audio[part]
        speakers = len(set(map(speaker_of, names)))
        if speakers >= whole.speakers and len(names) >= whole.utterances:
            continue
        found = f"{part}: {speakers} of {whole.speakers} speakers, {len(names)} of {whole.utterances} utterances found"
        if not allow_partial:
            raise UserError(
                f"{found}: what is missing stands in {missing}: complete the download, or use what there is with "
                "--allow-partial true"
            )
        say(f"{found}: what is missing stands in {missing}")


def _refuse_m4a(plan: _Plan, options: VoxOptions) -> None:
    paths = (*plan.train.values(), *plan.test.values())
    m4a = [path for path in paths if path.lower().endswith((".m4a", ".aac"))]
    if m4a and not options.decode_m4a:
        raise UserError(
            f"{m4a[0]}: {len(m4a)} of {len(paths)} utterances are m4a: convert them once (`imlkd corpus convert SOURCE "
            "DIR`, prepare.sh: --convert-to DIR), or have them decoded each time they are read (--decode-m4a true)"
        )


def _write(plan: _Plan, out: Path, say: Say) -> RecipeSets:
    sets = RecipeSets(
        plan.train_name, plan.train_name, [plan.test_name], [f"{plan.test_name}/{one.name}" for one in plan.lists]
    )
    with staging(out) as folder:
        for name, audio in ((plan.train_name, plan.train), (plan.test_name, plan.test)):
            data = _data_dir(folder / name, audio, plan)
            write_tables(data, folder / name)
            videos = len(set(map(video_of, audio)))
            say(f"{out / name}: {len(data.spk2utt)} speakers, {videos} videos, {len(audio)} utterances")
        for one in plan.lists:
            write_trials(folder / plan.test_name / one.name, one.trials)
        for name in (plan.train_name, plan.test_name):
            install(folder / name, out / name)
        write_sets(sets, out / "voxceleb.sets.yaml")
    return sets


def _data_dir(path: Path, audio: dict[str, str], plan: _Plan) -> DataDir:
    names = sort_ids(audio)
    utt2spk = {name: speaker_of(name) for name in names}
    spk2utt = group_by_speaker(utt2spk)
    genders = {speaker: plan.genders[speaker] for speaker in spk2utt if speaker in plan.genders}
    seconds = {name: plan.durations[name] for name in names if name in plan.durations}
    return DataDir(
        path, {name: audio[name] for name in names}, None, utt2spk, spk2utt,
        spk2gender=genders if len(genders) == len(spk2utt) else None,
        utt2dur=seconds if len(seconds) == len(names) else None,
    )  # fmt: skip
