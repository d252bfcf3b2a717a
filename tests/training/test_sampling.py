"""What an epoch draws."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.features.segments import Segment
from imlkd.training.sampling import SegmentPool

Make = Callable[..., SegmentPool]
LOOSE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@LOOSE
@given(
    speakers=st.integers(1, 4),
    utterances=st.integers(1, 5),
    durations=st.sets(st.sampled_from([10, 20, 30, 60]), min_size=1).map(tuple),
    frames=st.sampled_from([40, 80, 200, 100000]),
    crops=st.integers(1, 3),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_every_utterance_once_a_crop_and_one_duration_a_batch(
    pool: Make,
    speakers: int,
    utterances: int,
    durations: tuple[int, ...],
    frames: int,
    crops: int,
    seed: int,
    epoch: int,
) -> None:
    made = pool(speakers, utterances, durations)
    names = len(made.offsets)
    try:
        batches = made.epoch_batches(frames, crops, seed, epoch)
    except UserError as error:
        assert names * crops <= len(durations), error  # no two of one duration
        return
    drawn = [made.segments[i] for batch in batches for i in batch]
    for batch in batches:
        assert len({made.segments[i].frames for i in batch}) == 1 and len(batch) >= 2
        duration = made.segments[batch[0]].frames
        assert len(batch) <= max(3, 2 * frames // duration)
    counts = Counter(segment.utterance for segment in drawn)
    left_out = names * crops - len(drawn)  # one a duration at most: alone in its batch
    assert 0 <= left_out <= len(durations) and max(counts.values()) <= crops
    if len(durations) == 1 and names * crops > 1:
        assert set(counts.values()) == {crops} and len(counts) == names


@pytest.mark.parametrize("total", [2, 3, 5, 7, 100])
@pytest.mark.parametrize("frames", [40, 41, 60, 200])
def test_no_utterance_is_lost_to_a_batch_of_one(pool: Make, total: int, frames: int) -> None:
    batches = pool(1, total, (20,)).epoch_batches(frames, 1, 0, 0)
    assert sum(map(len, batches)) == total and min(map(len, batches)) >= 2


def test_drawn_from_seed_and_epoch_alone(pool: Make) -> None:
    def drawn(seed: int, epoch: int, made: SegmentPool) -> list[list[int]]:
        return [batch.tolist() for batch in made.epoch_batches(200, 1, seed, epoch)]

    made = pool(4, 8)
    first = drawn(1, 5, made)
    np.random.seed(7)
    torch.manual_seed(7)
    for epoch in range(5):  # a history
        drawn(1, epoch, made)
    assert drawn(1, 5, made) == first == drawn(1, 5, pool(4, 8))
    assert drawn(1, 6, made) != first and drawn(2, 5, made) != first


def test_durations_then_places_are_drawn_evenly(pool: Make) -> None:
    """40 frames fit at 3 places, 20 at 5: each duration half of the time, each of its places alike."""
    made = pool(1, 2, (20, 40))
    counts: Counter[tuple[int, int]] = Counter()
    for epoch in range(1500):
        for batch in made.epoch_batches(100000, 2, 0, epoch):
            counts.update((made.segments[i].frames, made.segments[i].start) for i in batch)
    by_duration = Counter({d: sum(n for (f, _), n in counts.items() if f == d) for d in (20, 40)})
    assert 0.45 < by_duration[20] / by_duration.total() < 0.55
    for duration, places in ((20, 5), (40, 3)):
        shares = [counts[duration, start] / by_duration[duration] for start in range(0, 10 * places, 10)]
        assert len(shares) == places and all(abs(share - 1 / places) < 0.05 for share in shares)


def test_utterances_with_fewer_durations_are_drawn_as_often() -> None:
    segments = [Segment("a", 0, 20), Segment("b", 0, 20), Segment("b", 0, 40), Segment("c", 0, 20)]
    made = SegmentPool(torch.zeros(150, 2), {"a": 0, "b": 50, "c": 100}, {"a": 0, "b": 1, "c": 0}, segments)
    drawn = Counter(
        made.segments[i].utterance
        for epoch in range(300)
        for batch in made.epoch_batches(10**6, 2, 0, epoch)
        for i in batch
    )
    assert drawn["a"] == drawn["c"] == 600 and drawn["b"] > 0.7 * 600  # a lone 40 of b waits


def test_what_is_left_to_draw_is_drawn_as_often(pool: Make) -> None:
    for held_out, keep in (
        (None, SegmentPool.keep_longest),
        (None, lambda one: one.keep_duration(0.4)),
        (2, lambda one: one.hold_out({2})),
    ):
        made = pool(3, 4, (20, 40))
        keep(made)
        batches = made.epoch_batches(10**6, 2, 0, 0)
        drawn = [made.segments[i] for batch in batches for i in batch]
        left = [name for name in made.offsets if held_out is None or made.labels[name] != held_out]
        assert Counter(segment.utterance for segment in drawn) == dict.fromkeys(left, 2)
        assert {segment.frames for segment in drawn} <= ({40} if held_out is None else {20, 40})


def test_a_duration_that_no_segment_has(pool: Make) -> None:
    with pytest.raises(UserError, match=r"^training.duration: no training segment has 0.3 s: there are 0.2, 0.4 s$"):
        pool(1, 2, (20, 40)).keep_duration(0.3)


def test_crops_and_classes_are_those_of_the_segments(pool: Make) -> None:
    made = pool(3, 2)
    for batch in made.epoch_batches(100, 1, 0, 0):
        crops, labels = made.crops(batch), made.classes(batch)
        for row, i in enumerate(batch):
            segment = made.segments[i]
            first = made.offsets[segment.utterance] + segment.start
            assert torch.equal(crops[row], made.frames[first : first + segment.frames])
            assert labels[row] == int(segment.utterance[1])


def test_nothing_to_draw(pool: Make) -> None:
    with pytest.raises(UserError, match="^no training segments: the data directory is empty or its utterances"):
        SegmentPool(torch.zeros(5, 2), {}, {}, [])
    with pytest.raises(UserError, match="^no two training segments of one duration"):
        pool(1, 1).epoch_batches(100, 1, 0, 0)
