"""Features four ways: the same numbers reach training from memory, arks, the audio, Lhotse's storage and Shar."""

from __future__ import annotations

from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import torch
from lhotse import CutSet, Fbank, FbankConfig, LilcomChunkyWriter, NumpyHdf5Writer

from imlkd.config import load_config
from imlkd.corpora.lhotse.cuts import read_cuts
from imlkd.corpora.lhotse.shar import export_shar
from imlkd.errors import UserError
from imlkd.features.augment import AugmentConfig, Augmenter
from imlkd.features.extract import FeaturesConfig
from imlkd.features.segments import Segment, SegmentsConfig
from imlkd.features.speech import PartReader
from imlkd.kaldi_io import read_array, read_table
from imlkd.training.frames import AudioFrames, FramesConfig, LazyFrames
from imlkd.training.pool import grid_of, load_pool, speakers_of
from imlkd.training.sampling import SegmentPool
from imlkd.training.teacher import TeacherConfig, train_teacher

SEGMENTS = SegmentsConfig(durations=[0.5, 1.0], hop=0.17, min_speech=0.0)
NOISY = AugmentConfig(volume=1.0, telephone=0.5, clipping=0.5, time_mask=0.2)


def cuts_with_features(corpus: Path, folder: Path, compressed: bool) -> Path:
    """What Lhotse computes with the same settings, in its own storage."""
    fbank = load_config(FeaturesConfig, corpus / "features.yaml").fbank
    extractor = Fbank(FbankConfig(
        sampling_rate=fbank.sample_rate, num_filters=fbank.num_mel_bins, low_freq=fbank.low_freq,
        high_freq=fbank.high_freq, snip_edges=False, energy_floor=1.0, use_energy=False,
    ))  # fmt: skip
    cuts = CutSet.from_cuts(read_cuts(corpus.parent / "manifests/toy.jsonl.gz"))
    writer = LilcomChunkyWriter if compressed else NumpyHdf5Writer
    stored = cuts.compute_and_store_features(extractor, folder / "feats", num_jobs=1, storage_type=writer)
    stored.to_file(folder / "cuts.jsonl.gz")
    return folder / "cuts.jsonl.gz"


def stored_by_lhotse(corpus: Path, folder: Path) -> Path:
    """The features of stage 1, put into Lhotse's storage."""
    from lhotse import Features

    places = read_table(corpus / "feats.scp")
    cuts = read_cuts(corpus.parent / "manifests/toy.jsonl.gz")
    with NumpyHdf5Writer(folder / "feats") as writer:
        for cut in cuts:
            matrix = read_array(places[cut.id])
            cut.features = Features(
                "fbank", len(matrix), matrix.shape[1], 0.01, 16000, 0.0, cut.duration, writer.name,
                str(writer.storage_path), writer.write(cut.id, matrix), cut.recording.id, 0,
            )  # fmt: skip
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    return folder / "cuts.jsonl.gz"


def batches(pool: SegmentPool, epoch: int = 0) -> list[torch.Tensor]:
    return [pool.crops(chosen) for chosen in pool.epoch_batches(400, 1, 1, epoch)]


def pool_of(corpus: Path, source: str, path: Path | str = "", augment: AugmentConfig | None = None) -> SegmentPool:
    config = FramesConfig(source, str(path))
    return load_pool(corpus, grid_of(corpus, SEGMENTS), speakers_of(corpus), config, augment)


@pytest.mark.parametrize("source", ["ark", "audio", "lhotse", "shar"])
def test_the_same_numbers_feed_training(source: str, toy_corpus: Path, tmp_path: Path) -> None:
    path = ""
    if source == "lhotse":
        path = str(stored_by_lhotse(toy_corpus, tmp_path))
    if source == "shar":
        export_shar(toy_corpus, tmp_path / "shar", 5, say=lambda line: None)
        path = str(tmp_path / "shar")
    expected, found = pool_of(toy_corpus, "memory"), pool_of(toy_corpus, source, path)
    exact = source != "audio"
    assert isinstance(expected.frames, torch.Tensor) and isinstance(found.frames, LazyFrames)
    assert len(batches(expected)) == len(batches(found)) > 2
    for ours, theirs in zip(batches(found), batches(expected), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0 if exact else 2e-5, rtol=0)
    torch.testing.assert_close(found.frames.mean(0), expected.frames.mean(0), atol=1e-5, rtol=0)
    kaldi = kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{toy_corpus}/feats.scp")
    chosen = np.arange(3)
    for segment, crop in zip((found.segments[i] for i in chosen), found.crops(chosen), strict=True):
        whole = torch.from_numpy(np.array(kaldi[segment.utterance]))
        torch.testing.assert_close(crop, whole[segment.start : segment.start + segment.frames], atol=2e-5, rtol=0)


@pytest.mark.parametrize(("compressed", "tolerance"), [(False, 2e-3), (True, 3e-2)])
def test_what_lhotse_computes_is_the_same_but_for_the_scale(
    compressed: bool, tolerance: float, toy_corpus: Path, tmp_path: Path
) -> None:
    """Lhotse computes on samples in [-1, 1), Kaldi and stage 1 on 16-bit integers: a constant of 2 log 32768."""
    theirs = pool_of(toy_corpus, "lhotse", cuts_with_features(toy_corpus, tmp_path, compressed))
    for ours, other in zip(batches(pool_of(toy_corpus, "memory")), batches(theirs), strict=True):
        difference = ours - other - 2 * np.log(32768)
        assert float(difference[ours > 8].abs().max()) < tolerance  # below, the floors differ


def test_a_model_trained_on_either_is_the_same(toy_corpus: Path, tmp_path: Path) -> None:
    weights = {}
    for source in ("memory", "ark"):
        overrides = [f"frames.source={source}", "training.epochs=1", "training.threads=1", "network.width=16",
                     "segments.durations=[0.5]", "segments.min_speech=0.0"]  # fmt: skip
        config = load_config(TeacherConfig, None, overrides)
        train_teacher(toy_corpus, config, tmp_path / source, {}, tmp_path / "progress")
        weights[source] = torch.load(tmp_path / source / "final.pt", weights_only=True)
    for name, value in weights["memory"].items():
        torch.testing.assert_close(weights["ark"][name], value, atol=1e-4, rtol=1e-4)  # the mean is summed otherwise


def test_augmented_crops_depend_on_epoch_alone(toy_corpus: Path) -> None:
    pool = pool_of(toy_corpus, "audio", augment=NOISY)
    first, second = batches(pool, 0), batches(pool, 1)
    resumed = pool_of(toy_corpus, "audio", augment=NOISY)
    for ours, theirs in zip(batches(resumed, 1), second, strict=True):  # as after a kill in epoch 1
        assert torch.equal(ours, theirs)
    chosen = np.arange(4)
    pool.frames.epoch = 0  # type: ignore[union-attr]
    one = pool.crops(chosen)
    pool.frames.epoch = 1  # type: ignore[union-attr]
    assert not torch.equal(one, pool.crops(chosen)) and first[0].shape[2] == second[0].shape[2]


def test_the_teacher_hears_the_same_crop_clean(toy_corpus: Path) -> None:
    pool, clean = pool_of(toy_corpus, "audio", augment=NOISY), pool_of(toy_corpus, "memory")
    chosen = np.arange(6)
    noisy = pool.crops(chosen)
    torch.testing.assert_close(pool.clean_crops(chosen, noisy), clean.crops(chosen), atol=2e-5, rtol=0)
    assert not torch.equal(noisy, clean.crops(chosen))
    assert clean.clean_crops(chosen, noisy) is noisy


def test_without_augmentation_audio_is_clean(toy_corpus: Path) -> None:
    fbank = load_config(FeaturesConfig, toy_corpus / "features.yaml").fbank
    reader = PartReader(toy_corpus, fbank.sample_rate)
    plain, off = AudioFrames(reader, fbank), AudioFrames(reader, fbank, Augmenter(AugmentConfig(), fbank.sample_rate))
    for start, frames in ((0, 50), (31, 70), (0, 130), (128, 2)):
        expected = plain.crop("s0-u0", start, frames)
        assert torch.equal(off.crops([Segment("s0-u0", start, frames)], 3)[0], expected)
        assert len(expected) == frames


def test_crops_together_are_those_alone(toy_corpus: Path) -> None:
    """Whoever stands beside it in the batch; also at the ends of an utterance, where the filterbank mirrors."""
    fbank = load_config(FeaturesConfig, toy_corpus / "features.yaml").fbank
    reader = PartReader(toy_corpus, fbank.sample_rate)
    segments = [Segment(f"s{s}-u{u}", start, 50) for s in range(4) for u in range(4) for start in (0, 1, 40, 80)]
    for augment in (None, Augmenter(NOISY, fbank.sample_rate)):
        store = AudioFrames(reader, fbank, augment)
        for segment, crop in zip(segments, store.crops(segments, 2), strict=True):
            torch.testing.assert_close(crop, store.crops([segment], 2)[0], atol=1e-5, rtol=0)


def test_what_does_not_go_together(toy_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="frames.source has to be audio, not memory"):
        pool_of(toy_corpus, "memory", augment=NOISY)
    with pytest.raises(UserError, match="frames.source: shar: needs frames.path"):
        pool_of(toy_corpus, "shar")
    with pytest.raises(UserError, match="no Shar with features"):
        pool_of(toy_corpus, "shar", tmp_path)
    with pytest.raises(UserError, match=r"toy.jsonl.gz: 16 cuts have no features \(first: s0-u0\)"):
        pool_of(toy_corpus, "lhotse", toy_corpus.parent / "manifests/toy.jsonl.gz")


def test_the_same_draws_from_numbers_as_from_names(toy_corpus: Path) -> None:
    """Segments, lengths and labels as arrays over tables on the disk, against lists and dictionaries."""
    segments = grid_of(toy_corpus, SEGMENTS)
    for pool in (pool_of(toy_corpus, "ark"), pool_of(toy_corpus, "memory")):
        listed = load_pool(toy_corpus, list(segments), speakers_of(toy_corpus), FramesConfig("ark"))
        for epoch in range(3):
            ours, theirs = (one.epoch_batches(400, 2, 1, epoch) for one in (pool, listed))
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
            for chosen in ours[:3]:
                assert torch.equal(pool.classes(chosen), listed.classes(chosen))
                assert torch.equal(pool.crops(chosen), listed.crops(chosen))
        for one in (pool, listed):
            one.hold_out({1, 2})
            one.keep_longest()
        drawn = [one.epoch_batches(400, 1, 1, 0) for one in (pool, listed)]
        assert all(np.array_equal(a, b) for a, b in zip(*drawn, strict=True))
        assert {int(label) for chosen in drawn[0] for label in pool.classes(chosen)} == {0, 3}
