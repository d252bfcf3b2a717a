"""Relevance on cuts: slices of truncated cuts and windows, changed speed, other teachers, files of bounded size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from imlkd.attribution.arrays import ArrayWriter, load_map, mark_origin
from imlkd.corpora.kaldi_dir import read_data_dir
from imlkd.corpora.lhotse.cuts import read_cuts, to_cuts, write_cuts
from imlkd.errors import UserError
from imlkd.features.fbank import num_frames
from imlkd.kaldi_io import write_table


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, np.ndarray]]:
    """Cuts at odd places of two recordings, each with a map and its float32 values, read from the disk again."""
    folder = tmp_path_factory.mktemp("cuts")
    generator = np.random.default_rng(0)
    places = {"a-1": (0.0, 4.0), "a-2": (3.987, 7.4321), "b-1": (0.5, 2.50625), "b-2": (2.5, 3.3), "b-3": (0.0, 5.993)}
    for name, seconds in (("a", 8), ("b", 6)):
        soundfile.write(folder / f"{name}.wav", generator.uniform(-0.1, 0.1, 16000 * seconds), 16000)
    write_table(folder / "set/wav.scp", {name: str(folder / f"{name}.wav") for name in "ab"})
    write_table(folder / "set/segments", {n: f"{n[0]} {start} {end}" for n, (start, end) in places.items()})
    write_table(folder / "set/utt2spk", {name: name[0] for name in places})
    made, values = [], {}
    with ArrayWriter(folder / "arrays/maps.h5", shard_bytes=700) as writer:
        for cut in to_cuts(read_data_dir(folder / "set")):
            mark_origin(cut, "0123456789abcdef")
            values[cut.id] = generator.random(num_frames(cut.num_samples, 16000), dtype=np.float32)
            writer.store_map(cut, "relevance", values[cut.id])
            cut.embedding = writer.store(f"{cut.id}-embedding", np.arange(4, dtype=np.float32))
            made.append(cut)
    write_cuts(made, folder / "cuts.jsonl.gz")
    return [(cut, values[cut.id]) for cut in read_cuts(folder / "cuts.jsonl.gz")]


def test_a_map_comes_back_within_half_its_scale(cuts: list[tuple[Any, np.ndarray]]) -> None:
    for cut, values in cuts:
        found = load_map(cut)
        assert found.dtype == np.float32 and cut.load_relevance().dtype == np.int8
        assert np.abs(found - values).max() <= cut.relevance_scale / 2 + 1e-7 <= 0.004
        assert cut.load_embedding().tolist() == [0, 1, 2, 3]


def test_three_thousand_random_truncations(cuts: list[tuple[Any, np.ndarray]]) -> None:
    """Each has the frames of its time, to the frame, and as many as it has frames."""
    generator = np.random.default_rng(1)
    whole = {cut.id: load_map(cut) for cut, _ in cuts}
    mismatches = 0
    for number in range(3000):
        cut = cuts[number % len(cuts)][0]
        offset = float(generator.uniform(0, cut.duration - 0.1))
        duration = float(generator.uniform(0.05, cut.duration - offset))
        part = cut.truncate(offset=offset, duration=duration)
        first, frames = round((part.start - cut.start) * 100 + 1e-7), round(part.duration * 100 + 1e-7)
        found = load_map(part)
        expected = whole[cut.id][first : first + frames]
        mismatches += not np.array_equal(found, expected) or abs(len(found) - 100 * part.duration) > 1.001
    assert mismatches == 0


def test_truncated_twice(cuts: list[tuple[Any, np.ndarray]]) -> None:
    cut = cuts[0][0]
    part = cut.truncate(offset=1.0, duration=2.0).truncate(offset=0.25, duration=0.5)
    np.testing.assert_array_equal(load_map(part), load_map(cut)[125:175])


def test_windows(cuts: list[tuple[Any, np.ndarray]]) -> None:
    for cut, _ in cuts:
        whole = load_map(cut)
        windows = list(cut.cut_into_windows(duration=0.5, hop=0.25))
        assert len(windows) >= 2
        for window in windows:
            first = round((window.start - cut.start) * 100)
            found = load_map(window)
            np.testing.assert_array_equal(found, whole[first : first + 50])


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.01])
def test_changed_speed_refuses_the_map(cuts: list[tuple[Any, np.ndarray]], factor: float) -> None:
    """Lhotse itself hands out a wrong one where the cut begins with its recording."""
    for cut, _ in cuts:
        perturbed = cut.perturb_speed(factor)
        with pytest.raises(UserError, match=rf"^cut {perturbed.id}: relevance was taken from .* now is .*explain the"):
            load_map(perturbed)
        with pytest.raises(UserError, match="speed or tempo changed"):
            load_map(perturbed.truncate(duration=0.3))
    silent = cuts[0][0].perturb_speed(1.1).load_relevance()
    assert len(silent) != len(cuts[0][1])  # what the refusal is for


def test_what_leaves_time_alone_keeps_the_map(cuts: list[tuple[Any, np.ndarray]]) -> None:
    cut = cuts[1][0]
    for changed in (cut.perturb_volume(2.0), cut.resample(8000), cut.perturb_speed(1.0)):
        np.testing.assert_array_equal(load_map(changed), load_map(cut))


def test_other_teachers_and_bare_cuts(cuts: list[tuple[Any, np.ndarray]]) -> None:
    cut = cuts[0][0]
    load_map(cut, origin="0123456789abcdef")
    with pytest.raises(UserError, match="^cut a-1: relevance of teacher 0123456789abcdef, wanted ffff: run stage 3"):
        load_map(cut, origin="ffff")
    with pytest.raises(UserError, match="^cut a-1: carries no relevance_full: take the cuts that stage 3 wrote"):
        load_map(cut, "relevance_full")
    with pytest.raises(UserError, match="carries no relevance: take"):
        load_map(cut.truncate(duration=1.0).drop_custom("relevance"))



def test_files_are_bounded_and_old_ones_go(tmp_path: Path) -> None:
    def write(count: int, shard: int) -> None:
        with ArrayWriter(tmp_path / "maps.h5", shard) as writer:
            for i in range(count):
                writer.store(f"k{i}", np.zeros(25, np.float32))

    write(10, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"maps.{i}.h5" for i in range(5)]
    write(3, 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["maps.0.h5"]
    with pytest.raises(KeyError), ArrayWriter(tmp_path / "other.h5", 100) as writer:
        writer.store("a", np.zeros(25, np.float32))
        writer.store("b", np.zeros(25, np.float32))
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["maps.0.h5"]
