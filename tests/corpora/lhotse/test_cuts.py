from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from imlkd.corpora.audio import AudioReader, resolve_sources
from imlkd.corpora.kaldi_dir import DataDir, Segment, group_by_speaker, read_data_dir, write_data_dir
from imlkd.corpora.lhotse.cuts import from_cuts, read_cuts, to_cuts, write_cuts
from imlkd.errors import UserError
from imlkd.kaldi_io import sort_ids

Corpus = Callable[..., Path]
RATE = 16000
LENGTH = 4801  # no whole number of milliseconds: an importer that floors durations loses a sample

_WORDS = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("audio")
    paths = [folder / "one.flac", folder / "two words.wav"]
    for path, seed in zip(paths, (1, 2), strict=True):
        soundfile.write(path, np.random.default_rng(seed).integers(-9000, 9000, LENGTH).astype(np.int16), RATE)
    return paths


def _time(samples: int, style: int) -> str:
    """One of several spellings of the same sample."""
    exact = Decimal(samples) / RATE
    return [f"{exact}", f"{exact:.7f}", f"00{exact:.8f}", f"{samples / RATE:.5f}"][style]


@st.composite
def segments_of(draw: st.DrawFn, recordings: list[str]) -> Segment:
    first = draw(st.integers(0, LENGTH - 2))
    end = draw(st.integers(first + 2, LENGTH))  # spellings differ by less than a sample
    start_text, end_text = (_time(sample, draw(st.integers(0, 3))) for sample in (first, end))
    return Segment(draw(st.sampled_from(recordings)), start_text, end_text)


@st.composite
def data_dirs(draw: st.DrawFn, audio: list[Path]) -> DataDir:
    """A data directory on two files: with or without segments, genders and further tables."""
    # Letters and digits sort behind the hyphen, so ids that begin with the speaker's sort by speaker.
    speakers = draw(st.lists(_WORDS, min_size=1, max_size=3, unique=True))
    utt2spk = {f"{speaker}-{k}": speaker for speaker in speakers for k in range(draw(st.integers(1, 3)))}
    utt2spk = {key: utt2spk[key] for key in sort_ids(utt2spk)}
    segments: dict[str, Segment] | None = None
    recordings = list(utt2spk)
    if draw(st.booleans()):
        segments = {key: draw(segments_of(["r1", "r2", "r10"])) for key in utt2spk}
        recordings = sort_ids({segment.recording for segment in segments.values()})
    spk2utt = group_by_speaker(utt2spk)
    tables = draw(st.sets(st.sampled_from(["text", "utt2lang", "utt2uniq", "utt2session", "spk2age"])))
    return DataDir(
        path=Path("d"),
        wav={recording: str(draw(st.sampled_from(audio))) for recording in recordings},
        segments=segments,
        utt2spk=utt2spk,
        spk2utt=spk2utt,
        spk2gender={speaker: draw(st.sampled_from("mf")) for speaker in spk2utt} if draw(st.booleans()) else None,
        extra={name: {key: draw(_WORDS) for key in (spk2utt if name[:4] == "spk2" else utt2spk)} for name in tables},
    )


@settings(max_examples=40, deadline=None)
@given(drawn=st.data())
def test_directory_to_cuts_and_back_loses_nothing(drawn: st.DataObject, audio: list[Path]) -> None:
    data = drawn.draw(data_dirs(audio))
    with tempfile.TemporaryDirectory() as folder:
        original, back, manifest = Path(folder, "d"), Path(folder, "back"), Path(folder, "cuts.jsonl.gz")
        write_data_dir(data, original)
        cuts = to_cuts(read_data_dir(original))
        write_cuts(cuts, manifest)
        write_data_dir(from_cuts(read_cuts(manifest), manifest), back)

        before, after = read_data_dir(original), read_data_dir(back)
        assert replace(after, path=before.path, utt2dur=None) == before
        for name in ("wav", "utt2spk", "spk2utt"):
            assert list(getattr(after, name)) == list(getattr(before, name))
        assert {path.name for path in back.iterdir()} == {path.name for path in original.iterdir()} | {"utt2dur"}
        for path in original.iterdir():
            assert (back / path.name).read_bytes() == path.read_bytes()

        reader = AudioReader(after, RATE)
        for cut in CutSet.from_file(manifest):  # Lhotse's own reader and audio
            samples = reader.read(cut.id)
            np.testing.assert_array_equal(cut.load_audio()[0], samples)
            assert len(samples) == cut.num_samples == round(float((after.utt2dur or {})[cut.id]) * RATE)


def test_cuts_are_exact_where_lhotse_floors(audio: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "d"
    one = {"s-1": "s"}
    write_data_dir(DataDir(path, {"s-1": str(audio[0])}, None, one, group_by_speaker(one)), path)
    (cut,) = to_cuts(read_data_dir(path))
    assert cut.num_samples == cut.recording.num_samples == LENGTH == cut.load_audio().shape[1]
    assert cut.recording.duration == LENGTH / RATE
    assert cut.recording.sources[0].type == "file" and cut.recording.sources[0].source == str(audio[0])


def test_the_same_cuts_give_the_same_bytes(audio: list[Path], corpus: Corpus, tmp_path: Path) -> None:
    cuts = to_cuts(read_data_dir(corpus(tmp_path / "d", segments=True)))
    for name in ("a", "b"):
        write_cuts(cuts, tmp_path / f"{name}.jsonl.gz")
    content = (tmp_path / "a.jsonl.gz").read_bytes()
    assert content == (tmp_path / "b.jsonl.gz").read_bytes()
    assert content[4:8] == bytes(4)  # no time in the gzip header
    with pytest.raises(UserError, match=r"choose such a name"):
        write_cuts(cuts, tmp_path / "cuts.json")


def test_pipes_become_commands(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d", kind="wav")
    lines = [line.split() for line in open(folder / "wav.scp")]
    (folder / "wav.scp").write_text("".join(f"{key} cat '{path}' |\n" for key, path in lines))
    data = read_data_dir(folder)
    with pytest.raises(UserError, match="--allow-pipes"):
        to_cuts(data)
    cuts = to_cuts(data, allow_pipes=True)
    assert cuts[0].recording.sources[0].type == "command"
    np.testing.assert_array_equal(cuts[0].load_audio()[0], AudioReader(data, RATE, allow_pipes=True).read(cuts[0].id))
    assert from_cuts(cuts, folder).wav == data.wav


def test_a_changed_cut_forgets_its_old_times(corpus: Corpus, tmp_path: Path) -> None:
    cuts = to_cuts(read_data_dir(corpus(tmp_path / "d", segments=True)))
    shorter = [cut.truncate(offset=0.1, duration=0.0100625, preserve_id=True) for cut in cuts]
    segments = from_cuts(shorter, "cuts").segments
    assert segments is not None
    assert segments["s1-r1-b"] == Segment("s1-r1", "0.600", "0.6100625")


def test_segments_behind_the_end_have_no_cut(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus(tmp_path / "d", segments=True)
    text = (folder / "segments").read_text()
    (folder / "segments").write_text(text.replace("s2-r1 0.500 1.000", "s2-r1 0.500 1.5"))
    with pytest.raises(
        UserError, match=r"d/segments: s2-r1-b: 0.500 to 1.5 s of recording s2-r1, which is 1.000 s long"
    ):
        to_cuts(read_data_dir(folder))


def _recording(path: Path, **changes: Any) -> Recording:
    values: dict[str, Any] = {
        "id": "s-rec", "sources": [AudioSource("file", [0], str(path))], "sampling_rate": RATE,
        "num_samples": LENGTH, "duration": LENGTH / RATE, "channel_ids": [0],
    }  # fmt: skip
    return Recording(**{**values, **changes})


def _cut(recording: Recording | None, name: str = "s-1", speaker: str | None = "s", **changes: Any) -> MonoCut:
    supervision = SupervisionSegment(name, "s-rec", 0.0, 0.25, speaker=speaker, gender="Male")
    values: dict[str, Any] = {"supervisions": [supervision], "recording": recording, **changes}
    return MonoCut(name, start=0.01, duration=0.25, channel=0, **values)


def test_users_cuts(audio: list[Path]) -> None:
    cuts = [
        _cut(_recording(audio[0]), name, custom={"snr": 12.5, "rooms": ["a"], "spk": "x"}) for name in ("s-2", "s-1")
    ]
    cuts[0].supervisions[0].custom = {"spk2age": 30}
    cuts[1].supervisions[0].language = "ar"
    said: list[str] = []
    data = from_cuts(cuts, Path("c.jsonl.gz"), said.append)
    assert list(data.utt2spk) == ["s-1", "s-2"]
    assert data.segments == {name: Segment("s-rec", "0.010", "0.260") for name in ("s-1", "s-2")}
    assert data.spk2gender == {"s": "m"}
    rest = data.extra.pop("utt2lhotse")
    assert data.extra == {"utt2snr": {"s-1": "12.5", "s-2": "12.5"}, "spk2age": {"s": "30"}}
    assert json.loads(rest["s-2"])["custom"] == {"snr": 12.5, "rooms": ["a"], "spk": "x"}
    assert said == [
        "c.jsonl.gz: custom fields that fit no Kaldi table are kept in utt2lhotse: rooms (2 cuts), spk (2 cuts)",
        "c.jsonl.gz: utt2lang is known for 1 of 2 ids: the table is left out",
    ]


def test_relative_paths_where_the_manifest_lies(audio: list[Path]) -> None:
    data = from_cuts([_cut(_recording(Path(audio[0].name)))], audio[0].with_name("c.jsonl.gz"))
    sources = resolve_sources(data)
    assert sources.rule == f"relative to {audio[0].parent} (where the manifest lies)"
    assert sources.by_recording["s-rec"].value == str(audio[0])


def _bad_cuts(path: Path) -> dict[str, tuple[list[MonoCut], str]]:
    good = _recording(path)
    stereo = _recording(path, sources=[AudioSource("file", [0, 1], str(path))], channel_ids=[0, 1])
    two = _cut(good)
    two.supervisions = two.supervisions * 2
    woman = _cut(good, "s-2")
    woman.supervisions[0].gender = "f"
    robot = _cut(good)
    robot.supervisions[0].gender = "robot"
    return {
        "no speaker": ([_cut(good, speaker=None)], "cut s-1: its supervision has no speaker: set it"),
        "no supervision": ([_cut(good, supervisions=[])], "cut s-1: 0 supervisions, expected 1"),
        "two supervisions": ([two], "cut s-1: 2 supervisions, expected 1"),
        "two channels": ([_cut(stereo)], "cut s-1: 2 channels, expected 1"),
        "no recording": ([_cut(None)], "cut s-1: no recording"),
        "memory": ([_cut(_recording(path, sources=[AudioSource("memory", [0], b"x")]))], "audio of type memory"),
        "url": ([_cut(_recording(path, sources=[AudioSource("url", [0], "http://x")]))], "audio of type url"),
        "perturbed": ([_cut(good).perturb_speed(1.1)], "changed on the fly"),
        "twice": ([_cut(good), _cut(good)], "cut s-1 is there twice"),
        "two genders": ([_cut(good), woman], "gender of its speaker (s) is 'f' here and 'm' in another"),
        "gender": ([robot], "gender 'robot': expected m or f"),
        "two files": (
            [_cut(good), _cut(_recording(Path("/x")), "s-2")],
            "source of its recording (s-rec) is '/x' here and",
        ),
        "white space": ([_cut(good, "s 1")], "the id 's 1' holds white space"),
        "speakers not in order": ([_cut(good, "a", "z"), _cut(good, "b", "y")], "begin each utterance id with its"),
    }


@pytest.mark.parametrize("case", _bad_cuts(Path()))
def test_cuts_that_cannot_be_used(case: str, audio: list[Path]) -> None:
    cuts, fragment = _bad_cuts(audio[0])[case]
    with pytest.raises(UserError) as caught:
        from_cuts(cuts, Path("c.jsonl.gz"))
    assert fragment in str(caught.value) and str(caught.value).startswith("c.jsonl.gz: ")


def test_damaged_manifests(audio: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    write_cuts([_cut(_recording(audio[0]), f"s-{number}") for number in range(300)], path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"c.jsonl.gz:\d+: damaged or cut off"):
        read_cuts(path)
    path.write_bytes(b"no gzip")
    with pytest.raises(UserError, match=r"c.jsonl.gz:1: damaged"):
        read_cuts(path)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match="empty manifest"):
        read_cuts(path)
    good = json.dumps(_cut(_recording(audio[0])).to_dict())
    for line in ("{", '{"id": 1}', "[]", '{"type": "MonoCut"}'):
        path.write_bytes(gzip.compress(f"{good}\n{line}\n".encode()))
        with pytest.raises(UserError, match=r"c.jsonl.gz:2: (not a Lhotse cut|a Supervision)"):
            read_cuts(path)
    mixed = _cut(_recording(audio[0])).pad(duration=1.0)
    path.write_bytes(gzip.compress(json.dumps(mixed.to_dict()).encode()))
    with pytest.raises(UserError, match=r"c.jsonl.gz:1: a MixedCut, expected a MonoCut"):
        read_cuts(path)
    with pytest.raises(UserError, match="gone.jsonl.gz: no such file"):
        read_cuts(tmp_path / "gone.jsonl.gz")
