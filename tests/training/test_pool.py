"""From a data directory to the pool that training draws from."""

from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest

from imlkd.errors import UserError
from imlkd.features.segments import Segment, SegmentsConfig
from imlkd.kaldi_io import read_scp_arrays, read_table
from imlkd.training.pool import grid_of, load_pool, speakers_of
from tests.features.test_segments import grid_by_brute_force


def test_crops_are_the_arks_rows(toy_corpus: Path) -> None:
    segments = grid_of(toy_corpus, SegmentsConfig(durations=[0.5, 1.0]))
    assert speakers_of(toy_corpus) == ["s0", "s1", "s2", "s3"]
    pool = load_pool(toy_corpus, segments, ["s0", "s1", "s2", "s3"])
    feats = kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{toy_corpus}/feats.scp")
    for i, segment in enumerate(segments):
        rows = np.array(feats[segment.utterance])[segment.start : segment.start + segment.frames]
        chosen = np.array([i])
        np.testing.assert_array_equal(pool.crops(chosen)[0].numpy(), rows)
        assert pool.classes(chosen).item() == int(segment.utterance[1])


def test_the_grid_uses_lengths_and_speech_activity(toy_corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = {name: int(n) for name, n in read_table(toy_corpus / "utt2num_frames").items()}
    config = SegmentsConfig(durations=[0.3], hop=0.1, min_speech=0.9, max_dropped=1.0)
    found = grid_of(toy_corpus, config)
    assert found == grid_by_brute_force(lengths, read_scp_arrays(toy_corpus / "vad.scp"), config)
    assert len(found) < len(grid_of(toy_corpus, SegmentsConfig(durations=[0.3], hop=0.1, min_speech=0.0)))
    capsys.readouterr()
    grid_of(toy_corpus, SegmentsConfig(durations=[1.8], max_dropped=1.0))
    said = capsys.readouterr().out
    assert said.startswith(f"{toy_corpus}: 12 of 16 utterances give no segment: s0-u0 s0-u1 s0-u2 s1-u0 s1-u1")


def test_speakers_in_c_order(tmp_path: Path) -> None:
    (tmp_path / "utt2spk").write_text("a-1 a\naB-1 aB\na_-1 a_\naa-1 aa\n")
    assert speakers_of(tmp_path) == ["a", "aB", "a_", "aa"]


def test_features_that_lack(toy_corpus: Path, tmp_path: Path) -> None:
    for name in ("utt2spk", "feats.scp"):
        lines = (toy_corpus / name).read_text().splitlines(keepends=True)
        (tmp_path / name).write_text("".join(lines[:8] if name == "feats.scp" else lines))
    segments = [Segment("s0-u0", 0, 100), Segment("s3-u0", 0, 100)]
    with pytest.raises(
        UserError, match=rf"^{tmp_path}/feats.scp: lacks 1 utterances \(first: s3-u0\): run stage 1 again"
    ):
        load_pool(tmp_path, segments, ["s0", "s1", "s2", "s3"])


def test_segments_behind_the_end_of_their_features(toy_corpus: Path) -> None:
    """Stage 1 was run again on other audio, stage 3 was not."""
    with pytest.raises(
        UserError, match=r"s0-u0-0100-00100 ends behind its features \(130 frames\): run stages 1 and 3"
    ):
        load_pool(toy_corpus, [Segment("s0-u0", 0, 100), Segment("s0-u0", 100, 100)], ["s0"])
