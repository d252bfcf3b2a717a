"""Stage 0 on a user's own corpus: checked Kaldi data directories, Lhotse cuts of the same utterances, trial lists.

Nothing is put in place before all sets have passed all checks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imlkd.corpora.audio import resolve_sources
from imlkd.corpora.check import Examined, Recording, examine_corpus, refuse_bad
from imlkd.corpora.fingerprint import DIGESTS
from imlkd.corpora.folders import install, locked, staging
from imlkd.corpora.kaldi_dir import DataDir, group_by_speaker, is_manifest, read_data_dir, seconds_text, write_tables
from imlkd.corpora.lhotse.cut_lines import cut_lines, write_cut_lines
from imlkd.corpora.lhotse.cuts import build_recording, from_cuts, read_cuts, write_cuts
from imlkd.corpora.overlap import check_overlap
from imlkd.corpora.reduced import without_bad
from imlkd.corpora.relocation import relocated
from imlkd.corpora.sets import RecipeSets, write_sets
from imlkd.corpora.stated import stated_recordings
from imlkd.corpora.trials.join import join_check
from imlkd.corpora.trials.lists import Trials, read_trials, write_trials
from imlkd.errors import UserError
from imlkd.files import atomic_write_text, make_dir
from imlkd.kaldi_io import write_table

MANIFESTS = "manifests"
CHECKS = ("decode", "headers", "none")
MADE_FROM = ".made_from"  # in a prepared directory: where it comes from, and that it may be replaced
Say = Callable[[str], object]


@dataclass
class CorpusSet:
    """One set of the corpus on its way into the data folder.

    :param name: of its folder below the data folder.
    :param origin: the data directory or cut manifest it comes from.
    :param cuts: the user's own cuts; None when it comes from a data directory.
    """

    name: str
    origin: Path
    data: DataDir
    cuts: list[Any] | None = None
    lists: dict[str, Trials] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)


def prepare_corpus(
    train: Path,
    tests: Sequence[Path],
    trials: Sequence[Path],
    out: Path,
    sample_rate: int = 16000,
    allow_pipes: bool = False,
    nj: int = 1,
    bad_list: Path | None = None,
    sets_file: Path | None = None,
    say: Say = print,
    check: str = "decode",
    max_bad: float = 0.0,
    relocate: tuple[str, str] | None = None,
) -> list[CorpusSet]:
    """Check a training set and test sets and put them into ``out/<set>`` and ``out/manifests/<set>.jsonl.gz``.

    A set is a Kaldi data directory or a Lhotse cut manifest (``.jsonl.gz``), called like the directory, or like the
    manifest without its suffix. A set that lies at its place already stays; only missing tables are added.

    :param trials: lists; each belongs to the test directory it lies in, or to the test cuts that hold its utterances.
    :param sample_rate: Hz of all audio.
    :param bad_list: receives all bad utterances, when there are any.
    :param sets_file: receives the names of the sets, for later stages.
    :param say: receives one line for each thing the user should know.
    :param check: decode: all audio; headers: what they say; none: no file is opened, lengths are those of ``reco2dur``
        or ``utt2dur``.
    :param max_bad: share of all utterances that may be bad and are then left out, each named in ``bad_list``.
    :param relocate: (old, new) beginning of the paths, for audio that has moved.
    :raises UserError: for anything wrong in tables, audio, cuts or lists; ``out`` is as it was before.
    """
    if check not in CHECKS:
        raise UserError(f"--check {check}: known are {', '.join(CHECKS)}")
    with locked(out, say):
        sets = [load_set(path, say, relocate) for path in (train, *tests)]
        _refuse_same_names(sets)
        _assign_trials(sets[1:], trials)
        check_overlap([sets[0].data], [one.data for one in sets[1:]])
        _examine(sets, check, sample_rate, allow_pipes, nj, bad_list, max_bad, say)
        for one in sets:
            _refuse_to_replace(one, out)
        with staging(out) as folder:
            for one in sets:
                _write_set(one, folder, in_place=_is_in_place(one, out))
            for one in sets:
                _install_set(one, folder, out)
            if sets_file is not None:
                lists = [f"{one.name}/{name}" for one in sets for name in one.lists]
                write_sets(RecipeSets(sets[0].name, sets[0].name, [one.name for one in sets[1:]], lists), sets_file)
    for one in sets:
        say(describe(one))
    return sets


def _examine(
    sets: list[CorpusSet], check: str, sample_rate: int, allow_pipes: bool, nj: int, bad_list: Path | None,
    max_bad: float, say: Say,
) -> None:  # fmt: skip
    """Put what is known of the audio into ``sets``, and leave out what is bad, when it is little enough."""
    for one in sets:
        say(f"{one.origin}: audio paths are {resolve_sources(one.data, allow_pipes).rule}")
    if check == "none":
        for one in sets:
            one.recordings = stated_recordings(one.data, sample_rate, allow_pipes)
        return
    data = [one.data for one in sets]
    examined = examine_corpus(data, sample_rate, allow_pipes, check == "decode", nj)
    bad = refuse_bad(examined, sum(len(one.utt2spk) for one in data), bad_list, max_bad)
    for problem in bad:
        say(f"left out: {problem.id}: {problem.what}")
    for one, found in zip(sets, examined, strict=True):
        one.recordings = found.recordings
        if found.bad:
            _leave_out(one, found, say)


def _leave_out(one: CorpusSet, found: Examined, say: Say) -> None:
    before = one.data
    one.data = without_bad(before, found)
    if one.cuts is not None:
        one.cuts = [cut for cut in one.cuts if cut.id in one.data.utt2spk]
    for name, trials in one.lists.items():
        join_check(trials, one.data.utt2spk, source=f"the good audio of {one.origin} (list {name})")
    count, lost = len(before.utt2spk) - len(one.data.utt2spk), len(before.spk2utt) - len(one.data.spk2utt)
    gone = f", {lost} speakers lose all of theirs" if lost else ""
    say(f"{one.origin}: {count} of {len(before.utt2spk)} utterances left out{gone}")


def load_set(path: Path, say: Say = print, relocate: tuple[str, str] | None = None) -> CorpusSet:
    """Read a data directory, or a cut manifest when ``path`` is called like one.

    :param relocate: (old, new) beginning of the audio's paths.
    """
    one = _read_set(path, say)
    if relocate is not None:
        one.data = replace(one.data, wav=relocated(one.data.wav, *relocate, where=one.data.table("wav.scp")))
    return one


def _read_set(path: Path, say: Say) -> CorpusSet:
    if is_manifest(path):
        cuts = read_cuts(path)
        name = path.name.removesuffix(".gz").removesuffix(".jsonl")
        return CorpusSet(name, path, from_cuts(cuts, path, say), cuts)
    return CorpusSet(path.absolute().name, path, read_data_dir(path))


def describe(one: CorpusSet) -> str:
    """One line: size of a prepared set."""
    hours = sum(float(seconds) for seconds in (one.data.utt2dur or {}).values()) / 3600
    lists = f", trials {', '.join(one.lists)}" if one.lists else ""
    return (
        f"{one.name}: {len(one.data.utt2spk)} utterances in {len(one.data.wav)} recordings, "
        f"{len(one.data.spk2utt)} speakers, {hours:.2f} h{lists}"
    )


def _refuse_same_names(sets: list[CorpusSet]) -> None:
    origins: dict[str, Path] = {}
    for one in sets:
        if one.name in origins:
            raise UserError(
                f"{one.origin} and {origins[one.name]} would both be called {one.name}: give one of them another name "
                f"(a link does: `ln -s {one.origin} NAME`)"
            )
        if one.name.startswith(".") or one.name in ("", MANIFESTS):
            raise UserError(f"{one.origin}: a set can't be called {one.name!r}: rename the folder, or link to it")
        if one.name.split() != [one.name]:  # later stages tell sets apart by blanks
            raise UserError(f"{one.origin}: its name holds white space: rename it, or link to it; folders above may")
        origins[one.name] = one.origin


def _assign_trials(tests: list[CorpusSet], paths: Sequence[Path]) -> None:
    for path in paths:
        if path.name.split() != [path.name]:  # later stages tell lists apart by blanks
            raise UserError(f"{path}: its name holds white space: rename it, or link to it; folders above may")
        trials = read_trials(path)
        owner = _owner(path, trials, tests)
        join_check(trials, owner.data.utt2spk, source=str(owner.origin))
        _refuse_wrong_labels(trials, owner.data.utt2spk)
        if path.name in owner.lists:
            raise UserError(f"{path}: {owner.name} has a list of this name already: rename one")
        owner.lists[path.name] = trials


def _owner(path: Path, trials: Trials, tests: list[CorpusSet]) -> CorpusSet:
    folder = path.resolve().parent
    for one in tests:
        if one.cuts is None and one.origin.resolve() == folder:
            return one
    of_cuts = [one for one in tests if one.cuts is not None]
    if len(of_cuts) == 1:
        return of_cuts[0]
    names = {*trials.enroll, *trials.test}
    owners = [one for one in of_cuts if names <= one.data.utt2spk.keys()]
    if len(owners) == 1:
        return owners[0]
    places = ", ".join(str(one.origin) for one in tests)
    if of_cuts:
        raise UserError(f"{path}: {len(owners)} of the test cuts ({places}) hold all its utterances: mend the list")
    raise UserError(f"{path}: lies in none of the test directories ({places}): move the list, or mend --test")


def _refuse_wrong_labels(trials: Trials, utt2spk: dict[str, str]) -> None:
    for index, (enroll, test) in enumerate(trials.pairs()):
        same = utt2spk[enroll] == utt2spk[test]
        if same != bool(trials.is_target[index]):
            label, truth = ("nontarget", "one speaker") if same else ("target", "two speakers")
            raise UserError(
                f"{trials.place(index)}: {enroll} {test} is called {label}, by utt2spk it is {truth}: mend either"
            )


def _is_in_place(one: CorpusSet, out: Path) -> bool:
    final = out / one.name
    return one.cuts is None and final.exists() and final.samefile(one.origin)


def _refuse_to_replace(one: CorpusSet, out: Path) -> None:
    final = out / one.name
    if final.exists() and not _is_in_place(one, out) and not (final / MADE_FROM).is_file():
        raise UserError(
            f"{final}: is there already and wasn't made from a corpus: move it, rename {one.origin}, or choose another "
            "--out (run.sh: --data)"
        )


def _write_set(one: CorpusSet, folder: Path, in_place: bool) -> None:
    target = folder / one.name
    source_data, recordings = one.data, one.recordings
    one.data = replace(
        source_data,
        path=target,
        wav={key: recordings[key].source.wav_scp for key in source_data.wav},
        utt2dur={key: _duration(source_data, key, recordings) for key in source_data.utt2spk},
        spk2utt=group_by_speaker(source_data.utt2spk),
    )
    derived = {
        "reco2dur": {k: seconds_text(r.info.samples, r.info.sample_rate) for k, r in recordings.items()},
    }
    if all(recording.sha256 for recording in recordings.values()):
        derived[DIGESTS] = {key: str(recording.sha256) for key, recording in recordings.items()}
    if in_place:
        derived["utt2dur"] = one.data.utt2dur or {}
        derived["spk2utt"] = {key: " ".join(utterances) for key, utterances in one.data.spk2utt.items()}
    else:
        write_tables(one.data, target)
        atomic_write_text(target / MADE_FROM, f"{one.origin.absolute()}\n")
        for name, trials in one.lists.items():
            _put_list(trials, target / name)
    for name, table in derived.items():
        write_table(target / name, table)
    manifest = folder / MANIFESTS / f"{one.name}.jsonl.gz"
    if one.cuts is None:
        write_cut_lines(cut_lines(one.data, recordings), manifest)
    else:
        write_cuts(_own_cuts(one, one.cuts), manifest)


def _duration(data: DataDir, utterance: str, recordings: dict[str, Recording]) -> str:
    info = recordings[data.recording(utterance)].info
    first, end = 0, info.samples
    if data.segments is not None:
        first, end = data.segments[utterance].bounds(info.sample_rate, info.samples)
    return seconds_text(end - first, info.sample_rate)


def _put_list(trials: Trials, path: Path) -> None:
    if path.exists():
        raise UserError(f"{trials.path}: a trial list can't be called {path.name}, a table has this name: rename it")
    if trials.layout == "kaldi":
        shutil.copyfile(trials.path, path)
    else:
        write_trials(path, trials)


def _own_cuts(one: CorpusSet, cuts: list[Any]) -> list[Any]:
    """The user's cuts with all their fields, exact recordings and absolute paths."""
    built = {key: build_recording(r.source, r.info) for key, r in one.recordings.items()}
    by_id = {cut.id: cut for cut in cuts}
    for cut in cuts:
        cut.recording = built[cut.recording.id]
        if cut.end > cut.recording.duration:  # by less than the tolerated 10 ms
            cut.duration = cut.recording.duration - cut.start
    return [by_id[utterance] for utterance in one.data.utt2spk]


def _install_set(one: CorpusSet, folder: Path, out: Path) -> None:
    final = make_dir(out) / one.name
    if _is_in_place(one, out):
        for table in sorted((folder / one.name).iterdir()):
            install(table, final / table.name)
    else:
        install(folder / one.name, final)
    manifest = f"{one.name}.jsonl.gz"
    install(folder / MANIFESTS / manifest, out / MANIFESTS / manifest)
    one.data = replace(one.data, path=final)
