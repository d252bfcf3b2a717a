"""Kaldi, Lhotse and Shar, to and fro: against Lhotse's own importer and exporter, and Kaldi's rules in utils/."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, RecordingSet, SupervisionSet
from lhotse.kaldi import export_to_kaldi, load_kaldi_data_dir

from imlkd.corpora.audio import AudioReader
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.lhotse.cuts import read_cuts, to_cuts, write_cuts
from imlkd.corpora.lhotse.interchange import export_kaldi, export_lhotse, import_kaldi, import_lhotse
from imlkd.corpora.lhotse.shar import export_shar
from imlkd.errors import UserError
from imlkd.kaldi_io import ArkWriter, write_table

Corpus = Callable[..., Path]
ROOT = Path(__file__).parents[3]
RATE = 16000


def quiet(line: str) -> None:
    pass


def tables_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("flac", ["path", "pipe"])
def test_to_kaldi_and_back(segments: bool, flac: str, corpus: Corpus, tmp_path: Path) -> None:
    data = corpus(tmp_path / "d", segments=segments)
    names = read_data_dir(data).utterances
    write_table(data / "utt2session", {name: f"x {number}" for number, name in enumerate(names)})
    export_kaldi(data, tmp_path / "kaldi", flac, quiet)
    checked = ["utils/validate_data_dir.sh", "--no-text", "--no-feats", str(tmp_path / "kaldi")]
    assert subprocess.run(checked, cwd=ROOT, capture_output=True).returncode == 0
    text = (tmp_path / "kaldi/wav.scp").read_text()
    assert "ffmpeg" not in text and text.count("flac -c -d -s ") == (4 if flac == "pipe" else 0)
    said: list[str] = []
    import_kaldi(tmp_path / "kaldi", tmp_path / "back", say=said.append)
    before, after = tables_of(data), tables_of(tmp_path / "back")
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"utt2dur", "reco2dur"}
    assert f"{4 if flac == 'pipe' else 0} pipes became the files" in said[-2]


def test_what_lhotse_exports_comes_in_exactly(tmp_path: Path, corpus: Corpus) -> None:
    """Lhotse's export writes FLAC as ffmpeg pipes, no spk2utt, no spk2gender; its import floors lengths to 1 ms."""
    data = corpus(tmp_path / "d", ("s1",))
    soundfile.write(tmp_path / "audio/s1-r1.flac", np.arange(-2400, 2401).astype(np.int16), RATE)  # 4801 samples
    cuts = to_cuts(read_data_dir(data))
    recordings = RecordingSet.from_recordings(cut.recording for cut in cuts)
    supervisions = SupervisionSet.from_segments(cut.supervisions[0] for cut in cuts)
    export_to_kaldi(recordings, supervisions, tmp_path / "lhotse")
    assert "ffmpeg" in (tmp_path / "lhotse/wav.scp").read_text()
    import_kaldi(tmp_path / "lhotse", tmp_path / "in", say=quiet)
    found = read_data_dir(tmp_path / "in")
    assert found.wav == read_data_dir(data).wav and (found.utt2dur or {})["s1-r1"] == "0.3000625"
    assert AudioReader(found, RATE).num_samples("s1-r1") == 4801
    floored = load_kaldi_data_dir(tmp_path / "in", RATE)[0]["s1-r1"]
    assert floored.num_samples <= 4801 == to_cuts(found)[0].num_samples


def test_what_is_used_and_what_is_left_is_said(corpus: Corpus, tmp_path: Path) -> None:
    data = corpus(tmp_path / "d")
    (data / "notes.txt").write_text("x\n")
    write_table(data / "utt2dur", dict.fromkeys(read_data_dir(data).utterances, "9.0"))
    write_table(data / "vad.scp", dict.fromkeys(read_data_dir(data).utterances, "/v.ark:1"))
    said: list[str] = []
    import_kaldi(data, tmp_path / "in", say=said.append)
    assert said[:2] == [
        f"{data}: used spk2gender spk2utt utt2spk vad.scp wav.scp",
        f"{data}: made anew or left behind: notes.txt utt2dur*",
    ]
    assert set((read_data_dir(tmp_path / "in").utt2dur or {}).values()) == {"1.000"}
    assert (tmp_path / "in/vad.scp").read_text() == (data / "vad.scp").read_text()
    with pytest.raises(UserError, match="in: is there already"):
        import_kaldi(data, tmp_path / "in", say=quiet)


def test_other_pipes_stay_and_need_leave(corpus: Corpus, tmp_path: Path) -> None:
    data = corpus(tmp_path / "d", kind="wav")
    text = (data / "wav.scp").read_text().replace(".wav\n", ".wav | tee |\n")
    text = text.replace(f" {tmp_path}", f" cat {tmp_path}")
    (data / "wav.scp").write_text(text)
    with pytest.raises(UserError, match="s1-r1: a pipe, which runs a command"):
        import_kaldi(data, tmp_path / "in", say=quiet)
    import_kaldi(data, tmp_path / "in", allow_pipes=True, say=quiet)
    assert (tmp_path / "in/wav.scp").read_text() == text
    with pytest.raises(UserError, match="4 utterances are pipes"):
        export_shar(data, tmp_path / "shar", allow_pipes=True, say=quiet)
    assert not (tmp_path / "shar").exists()


def test_recordings_with_supervisions(corpus: Corpus, tmp_path: Path) -> None:
    data = corpus(tmp_path / "d", segments=True)
    export_lhotse(data, tmp_path / "m", say=quiet)
    recordings, supervisions = tmp_path / "m/recordings.jsonl.gz", tmp_path / "m/supervisions.jsonl.gz"
    ours = {one.id: one for one in SupervisionSet.from_file(supervisions)}
    for name, segment in (read_data_dir(data).segments or {}).items():
        assert (ours[name].start, ours[name].end) == (float(segment.start), float(segment.end))
    said: list[str] = []
    import_lhotse(recordings, tmp_path / "back", supervisions, said.append)
    before, after = read_data_dir(data), read_data_dir(tmp_path / "back")
    assert (after.wav, after.utt2spk, after.spk2gender) == (before.wav, before.utt2spk, before.spk2gender)
    assert {key: one.bounds(RATE) for key, one in (after.segments or {}).items()} == {
        key: one.bounds(RATE) for key, one in (before.segments or {}).items()
    }
    assert said[0].endswith("8 supervisions, 8 cuts")
    with pytest.raises(UserError, match="not Lhotse manifests that fit"):
        import_lhotse(supervisions, tmp_path / "x", recordings, quiet)


@pytest.mark.parametrize("form", ["directory", "manifest"])
@pytest.mark.parametrize("audio", ["flac", "wav"])
def test_shar_holds_the_same_audio_and_features(form: str, audio: str, corpus: Corpus, tmp_path: Path) -> None:
    data = corpus(tmp_path / "d", segments=True)
    names = read_data_dir(data).utterances
    random = np.random.default_rng(1)
    matrices = {name: random.normal(size=(50, 5)).astype("f4") for name in names}
    with ArkWriter(tmp_path / "feats.ark", data / "feats.scp") as writer:
        for name, matrix in matrices.items():
            writer.write(name, matrix)
    source = data
    if form == "manifest":
        source = tmp_path / "c.jsonl.gz"
        write_cuts(to_cuts(read_data_dir(data)), source)
    assert export_shar(source, tmp_path / "shar", 3, audio, say=quiet) == 8
    assert len(list((tmp_path / "shar").glob("cuts.*"))) == 3
    reader = AudioReader(read_data_dir(data), RATE)
    shar = list(CutSet.from_shar(in_dir=tmp_path / "shar"))
    assert [cut.id for cut in shar] == names
    for cut in shar:
        np.testing.assert_array_equal(cut.load_audio()[0], reader.read(cut.id))
        assert cut.supervisions[0].speaker == cut.id[:2]
        if form == "directory":
            np.testing.assert_array_equal(cut.load_features(), matrices[cut.id])


def test_cuts_keep_their_order_through_kaldi(corpus: Corpus, tmp_path: Path) -> None:
    cuts = to_cuts(read_data_dir(corpus(tmp_path / "d", segments=True)))
    shuffled = [cuts[index] for index in (3, 0, 7, 5, 1, 2, 6, 4)]
    write_cuts(shuffled, tmp_path / "c.jsonl.gz")
    import_lhotse(tmp_path / "c.jsonl.gz", tmp_path / "in", say=quiet)
    export_lhotse(tmp_path / "in", tmp_path / "out.jsonl.gz", say=quiet)
    assert read_cuts(tmp_path / "out.jsonl.gz") == shuffled
