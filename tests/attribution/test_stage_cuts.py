"""Cuts of stage 3: the same targets give the same bytes, whenever they are written, so that stage 4 is not rerun."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from imlkd.attribution.arrays import load_map
from imlkd.attribution.origin import Origin
from imlkd.attribution.target_cuts import write_segment_cuts
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.lhotse.cuts import to_cuts, write_cuts
from imlkd.features.segments import Segment, write_segments
from imlkd.kaldi_io import ArkWriter, write_table

ORIGIN = Origin("aaaa", "bbbb", ["100", "full", "fused"])
SEGMENTS = [Segment("a-1", 0, 100), Segment("a-1", 50, 100)]


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a-1.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 24000), 16000)
    write_table(tmp_path / "set/wav.scp", {"a-1": str(tmp_path / "a-1.wav")})
    write_table(tmp_path / "set/utt2spk", {"a-1": "a"})
    write_cuts(to_cuts(read_data_dir(tmp_path / "set")), tmp_path / "set.jsonl.gz")
    write_segments(tmp_path / "targets/segments", SEGMENTS)
    for kind, length in (("relevance", 100), ("embedding", 8)):
        with ArkWriter(tmp_path / f"targets/{kind}.ark", tmp_path / f"targets/{kind}.scp") as writer:
            for i, segment in enumerate(SEGMENTS):
                writer.write(segment.id, np.arange(length, dtype=np.float32) + i)
    return tmp_path / "targets"


def test_arrays_hang_on_the_segments_cuts(targets: Path) -> None:
    from lhotse import CutSet

    write_segment_cuts(targets, targets.parent / "set.jsonl.gz", SEGMENTS, ORIGIN)
    cuts = list(CutSet.from_file(targets / "cuts.jsonl.gz"))
    assert [(cut.id, cut.start, cut.duration) for cut in cuts] == [
        ("a-1-0100-00000", 0.0, 1.0),
        ("a-1-0100-00050", 0.5, 1.0),
    ]
    np.testing.assert_allclose(load_map(cuts[1]), [i + 1.0 for i in range(100)], atol=50 / 127 + 1e-5)
    assert cuts[1].load_embedding().tolist() == [i + 1.0 for i in range(8)]
    assert cuts[1].load_audio().shape == (1, 16000)


def test_written_later_they_are_the_same_bytes(targets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_segment_cuts(targets, targets.parent / "set.jsonl.gz", SEGMENTS, ORIGIN)
    first = (targets / "cuts.jsonl.gz").read_bytes()
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_segment_cuts(targets, targets.parent / "set.jsonl.gz", SEGMENTS, ORIGIN)
    assert (targets / "cuts.jsonl.gz").read_bytes() == first
