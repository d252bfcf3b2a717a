"""Draws: stable words, right ranges, right shapes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imlkd.corpora.minivox.draws import Draws


def pcg64_words(state: int, increment: int, count: int) -> list[int]:
    """PCG-XSL-RR 128/64 (O'Neill 2014, section 6.3.3), in whole numbers, as the oracle of numpy's."""
    multiplier, mask = 47026247687942121848144207491837523525, 2**128 - 1
    words = []
    for _ in range(count):
        state = (state * multiplier + increment) & mask
        value, turn = (state >> 64) ^ (state & (2**64 - 1)), state >> 122
        words.append(((value >> turn) | (value << (-turn & 63))) & (2**64 - 1))
    return words


def test_words_are_pcg64s_and_bounded_by_remainder() -> None:
    draws = Draws(2026, "mv001", "voice")
    state = draws._bits.state["state"]
    words = pcg64_words(state["state"], state["inc"], 20)
    assert [draws.integer(-5, 93) for _ in range(20)] == [word % 99 - 5 for word in words]


def test_noise_takes_four_14_bit_numbers_of_a_word() -> None:
    draws = Draws(7)
    state = draws._bits.state["state"]
    expected = []
    for word in pcg64_words(state["state"], state["inc"], 50):
        parts = [(word >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
        parts = [(part - 65536 if part > 32767 else part) >> 2 for part in parts]
        expected += [parts[0] + parts[1], parts[2] + parts[3]]
    assert draws.noise(99).tolist() == expected[:99]


def test_noise_has_the_documented_spread() -> None:
    noise = Draws(1, "spread").noise(200_000)
    assert abs(noise.mean()) < 40
    assert abs(noise.std() - 6689) < 40
    assert np.corrcoef(noise[:-1], noise[1:])[0, 1] < 0.01


@given(st.integers(0, 10**6), st.integers(-1000, 1000), st.integers(0, 500))
def test_around_stays_within_its_spread(seed: int, centre: int, spread: int) -> None:
    draws = Draws(seed)
    assert all(centre - spread <= draws.around(centre, spread) <= centre + spread for _ in range(20))


@given(st.integers(0, 10**6), st.lists(st.integers(), max_size=20))
def test_shuffled_keeps_the_items(seed: int, items: list[int]) -> None:
    assert sorted(Draws(seed).shuffled(items)) == sorted(items)


def test_shuffled_reaches_every_order_about_equally() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(1200):
        order = tuple(Draws(seed, "order").shuffled([1, 2, 3]))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6 and min(counts.values()) > 150


def test_keys_name_streams_of_their_own() -> None:
    firsts = [Draws(*key).integer(0, 2**40) for key in [(1,), (2,), (1, "a"), (1, "b"), (1, "a", "b")]]
    assert len(set(firsts)) == 5
    assert Draws(1, "a").integer(0, 2**40) == firsts[2]
