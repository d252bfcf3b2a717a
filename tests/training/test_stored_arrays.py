"""Targets that are read when a batch needs them: kaldi_native_io's numbers, and what is held of them in memory."""

import gc
import tracemalloc
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch

from imlkd.errors import UserError
from imlkd.kaldi_io import ArkWriter, join_scps
from imlkd.training import stored_arrays as module
from imlkd.training.stored_arrays import stored_arrays


def written(folder: Path, count: int, length: int, jobs: int = 1) -> list[str]:
    """Vectors, those of one after the other in turns with the jobs."""
    names, generator = [f"u{number:06d}" for number in range(count)], np.random.default_rng(count)
    for job in range(jobs):
        with ArkWriter(folder / f"x.{job}.ark", folder / f"x.{job}.scp") as writer:
            for name in names[job::jobs]:
                writer.write(name, generator.standard_normal(length))
    join_scps([folder / f"x.{job}.scp" for job in range(jobs)], folder / "x.scp")
    return names


def test_rows_are_those_of_the_arks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY", 3)
    names = written(tmp_path, 40, 7, jobs=3)
    kaldi = kaldi_native_io.RandomAccessFloatVectorReader(f"scp:{tmp_path}/x.scp")
    own = names[::2]
    found, chosen = stored_arrays([tmp_path / "x.scp"], iter(own))[0], np.random.default_rng(0).integers(0, 20, 30)
    assert len(found) == 20
    expected = np.stack([np.array(kaldi[own[number]], copy=True) for number in chosen])
    np.testing.assert_array_equal(found.rows(chosen).numpy(), expected)
    assert found.rows(chosen[:1]).shape == (1, 7)
    with ArkWriter(tmp_path / "y.ark", tmp_path / "y.scp") as writer:
        for number, name in enumerate(names):
            writer.write(name, [number])
    first, second = stored_arrays([tmp_path / "x.scp", tmp_path / "y.scp"], own)
    assert torch.equal(first.rows(chosen), found.rows(chosen))
    assert second.rows(chosen)[:, 0].tolist() == (2 * chosen).tolist()
    assert stored_arrays([], own) == []


def test_what_is_held_does_not_depend_on_their_length(tmp_path: Path) -> None:
    """Two sizes: a line's place and its beginning, 12 bytes an array, beside what any table costs."""

    def held(count: int, length: int) -> int:
        folder = tmp_path / f"{count}-{length}"
        folder.mkdir()
        names = written(folder, count, length)
        gc.collect()
        tracemalloc.start()
        arrays = stored_arrays([folder / "x.scp"], names)[0]
        for first in range(0, count, 500):  # a whole epoch
            arrays.rows(np.arange(first, first + 500))
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size

    small, long, many = held(1000, 10), held(1000, 500), held(6000, 10)
    assert abs(long - small) < 20_000 < 1000 * 490 * 4
    assert (many - small) / 5000 < 20


def test_what_is_not_there(tmp_path: Path) -> None:
    names = written(tmp_path, 6, 4, jobs=2)
    with pytest.raises(UserError, match=r"x\.scp: lacks 2 segments \(first: a\): run stage 3 again"):
        stored_arrays([tmp_path / "x.scp"], ["a", *names, "v"])
    with pytest.raises(UserError, match=r"lacks 1 utterances \(first: v\)"):
        stored_arrays([tmp_path / "x.scp"], [*names, "v"], "utterances")
    (tmp_path / "x.1.ark").unlink()
    with pytest.raises(UserError, match=r"x\.1\.ark: no such ark: run the stage that writes it again"):
        stored_arrays([tmp_path / "x.scp"], names)
    assert stored_arrays([tmp_path / "x.scp"], names[::2])[0].rows(np.arange(3)).shape == (3, 4)


def test_arrays_of_several_lengths_are_no_batch(tmp_path: Path) -> None:
    with ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer:
        writer.write("a", np.ones(3))
        writer.write("b", np.ones(4))
    arrays = stored_arrays([tmp_path / "x.scp"], ["a", "b"])[0]
    assert len(arrays[0]) == 3 and len(arrays[1]) == 4
    with pytest.raises(UserError, match=r"x\.scp: holds arrays of 2 shapes for one batch: run stage 3 again"):
        arrays.rows(np.arange(2))
