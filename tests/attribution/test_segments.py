"""Segments and masks: against every label sequence there is, by hand, and k2 against numpy on 1,000 utterances."""

import ast
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imlkd.attribution.segmentation.k2_lane as k2_lane
import imlkd.attribution.segmentation.numpy_backend as numpy_backend
import imlkd.attribution.segments as segments
from imlkd.attribution.segmentation.graph import Graph, batch_of, tie_weights
from imlkd.attribution.segmentation.k2_lane import K2Lane, lane_python
from imlkd.attribution.segmentation.numpy_backend import NumpyBackend
from imlkd.attribution.segments import Backend, evidence_log_odds, get_backend, runs_of, speech_marks
from imlkd.errors import UserError

ROOT = Path(__file__).parents[2]
NUMPY = NumpyBackend()


needs_k2 = pytest.mark.skipif(
    get_backend("auto").name != "k2" and lane_python() is None,
    reason="k2 does not import here and has no environment of its own: local/setup_k2.sh makes one (Python 3.9)",
)


@pytest.fixture(scope="module")
def k2() -> Backend:
    """In this process where k2 imports, else in its own environment."""
    return get_backend("k2")


@pytest.fixture(params=["numpy", pytest.param("k2", marks=needs_k2)])
def backend(request: pytest.FixtureRequest) -> Backend:
    return NUMPY if request.param == "numpy" else request.getfixturevalue("k2")


def runs_of_labels(labels: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(label, len(list(same))) for label, same in itertools.groupby(labels)]


def every_path(log_odds: np.ndarray, graph: Graph) -> Iterator[tuple[tuple[int, ...], float]]:
    """All label sequences that keep the minimum durations (a shorter window may be one class), with their scores."""
    frames = len(log_odds)
    minimum = (min(graph.off, frames), min(graph.on, frames))
    for labels in itertools.product((0, 1), repeat=frames):
        runs = runs_of_labels(labels)
        if all(length >= minimum[label] for label, length in runs):
            yield labels, float(np.dot(labels, log_odds)) - graph.penalty * (len(runs) - 1)


def brute_best(log_odds: np.ndarray, graph: Graph) -> set[tuple[int, ...]]:
    """The best path, ties decided by the stated rule; two where that is a tie, too."""
    weights = tie_weights(len(log_odds))
    ranked = {labels: (score, int(np.dot(labels, weights))) for labels, score in every_path(log_odds, graph)}
    return {labels for labels, rank in ranked.items() if rank == max(ranked.values())}


def brute_posterior(log_odds: np.ndarray, graph: Graph) -> np.ndarray:
    paths = list(every_path(log_odds, graph))
    weights = np.exp([score for _, score in paths])
    return weights @ np.array([labels for labels, _ in paths]) / weights.sum()


graphs = st.builds(Graph, st.integers(1, 12), st.integers(1, 12), st.sampled_from([0.0, 0.25, 1.0, 3.5]))
# Halves give ties by the dozen, the others almost none.
frames = st.one_of(st.integers(-4, 4).map(lambda i: i / 2), st.floats(-6, 6), st.sampled_from([-np.inf, np.inf, 0.0]))


@settings(deadline=None, max_examples=250)
@given(log_odds=st.lists(frames, min_size=1, max_size=10), graph=graphs)
def test_best_path_and_posteriors_are_those_of_all_label_sequences(log_odds: list[float], graph: Graph) -> None:
    batch = batch_of([log_odds], graph)
    values = batch.window(0)
    assert tuple(NUMPY.best(batch)[0].astype(int)) in brute_best(values, graph)
    posterior = NUMPY.posteriors(batch)[0]
    np.testing.assert_allclose(posterior[:, 1], brute_posterior(values, graph), atol=1e-9)
    np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-9)


def drawn_batch(seed: int, utterances: int, longest: int) -> segments.Batch:
    """Utterances, windows of them that overlap, and graphs; half of the values on a coarse grid, full of ties."""
    generator = np.random.default_rng(seed)
    sequences, windows, own = [], [], []
    for i in range(utterances):
        length = int(generator.integers(1, longest))
        wave = 2 * np.sin(np.arange(length) / generator.uniform(2, 40)) + generator.normal(0, 1.5, length)
        sequences.append(np.rint(wave) if i % 2 else wave)
        start = int(generator.integers(0, length))
        windows += [(i, 0, length), (i, start, length - start)]
        graph = Graph(*map(int, generator.integers(1, 30, 2)), float(generator.choice([0, 1, 2.5])))
        own += [graph, graph if i % 3 else Graph(graph.off, graph.on, 0.5)]
    return batch_of(sequences, own, windows)


@needs_k2
def test_k2_and_numpy_find_the_same_on_1000_utterances(k2: Backend) -> None:
    batch = drawn_batch(1, 1000, 160)
    ours, theirs = NUMPY.best(batch), k2.best(batch)
    assert len(ours) == len(theirs) == 2000
    assert [runs_of(one) for one in ours] == [runs_of(one) for one in theirs]
    assert sum(len(runs_of(one)) for one in ours) > 2000
    for mine, other in zip(NUMPY.posteriors(batch), k2.posteriors(batch), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
        np.testing.assert_allclose(other.sum(axis=1), 1, atol=1e-5)


@needs_k2
def test_k2_answers_brute_force_too(k2: Backend) -> None:
    """Both could be wrong in the same way: short ones, all in one call, each against its label sequences."""
    generator = np.random.default_rng(2)
    sequences = [generator.integers(-3, 4, generator.integers(1, 9)) / 2 for _ in range(150)]
    own = [Graph(*map(int, generator.integers(1, 6, 2)), float(generator.choice([0, 0.5, 2]))) for _ in sequences]
    batch = batch_of(sequences, own)
    for values, graph, marks, mask in zip(batch.log_odds, own, k2.best(batch), k2.posteriors(batch), strict=True):
        assert tuple(marks.astype(int)) in brute_best(values, graph)
        np.testing.assert_allclose(mask[:, 1], brute_posterior(values, graph), atol=1e-5)


def test_long_windows_keep_the_minimum_durations(backend: Backend) -> None:
    generator = np.random.default_rng(3)
    graph = Graph(20, 30, 2.0)
    sequences = [generator.normal(0, 3, length) for length in (1000, 700, 999, 31, 20)]
    batch = batch_of(sequences, graph)
    for values, marks, mask in zip(sequences, backend.best(batch), backend.posteriors(batch), strict=True):
        runs = runs_of_labels(tuple(marks.astype(int)))
        assert all(length >= min((30, 20)[label], len(values)) for label, length in runs)
        assert mask.shape == (len(values), 2) and mask.min() >= 0 and mask.max() <= 1
        np.testing.assert_allclose(mask.sum(axis=1), 1, atol=1e-6)


def test_windows_of_one_utterance_in_one_call(backend: Backend) -> None:
    """k2's supervision_segments: overlapping, in any order, each with its own minimum; as if each were alone."""
    values = np.random.default_rng(4).normal(0.2, 2, 300)
    windows = [(0, 100, 50), (0, 0, 300), (0, 80, 200), (0, 0, 300), (0, 299, 1)]
    own = [Graph(5, 7, 1.0), Graph(5, 7, 1.0), Graph(30, 3, 0.0), Graph(40, 40, 1.0), Graph(9, 9, 1.0)]
    together = batch_of([values], own, windows)
    for (_, start, length), graph, marks, mask in zip(
        windows, own, backend.best(together), backend.posteriors(together), strict=True
    ):
        alone = batch_of([values[start : start + length]], graph)
        np.testing.assert_array_equal(marks, NUMPY.best(alone)[0])
        np.testing.assert_allclose(mask, NUMPY.posteriors(alone)[0], atol=1e-5)


def test_no_window_is_no_answer(backend: Backend) -> None:
    batch = batch_of([], Graph(1, 1))
    assert backend.best(batch) == [] and backend.posteriors(batch) == []


def test_by_hand(backend: Backend) -> None:
    """A click of one frame pays for three; where they lie is a tie: the earlier wins. Two clicks share a segment."""
    click = np.full(12, -1.0)
    click[5] = 4.0
    assert runs_of(backend.best(batch_of([click], Graph(3, 3, 0.5)))[0]) == [(3, 6)]  # 4 - 2 - 2 * 0.5 = 1 > 0
    assert runs_of(backend.best(batch_of([click], Graph(3, 3, 1.5)))[0]) == []  # 4 - 2 - 2 * 1.5 < 0
    click[8] = 4.0
    assert runs_of(backend.best(batch_of([click], Graph(3, 3, 0.5)))[0]) == [(5, 9)]  # 8 - 2 - 1, no room for a gap
    even = backend.posteriors(batch_of([np.zeros(2)], Graph(1, 1, 0.0)))[0]
    np.testing.assert_allclose(even, 0.5, atol=1e-6)
    short = backend.posteriors(batch_of([np.array([0.5, 0.5])], Graph(9, 9, 0.0)))[0]  # all on (e^1), or all off (e^0)
    np.testing.assert_allclose(short[:, 1], np.e / (1 + np.e), atol=1e-6)


def test_more_windows_than_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = drawn_batch(5, 30, 90)
    whole = NUMPY.best(batch), NUMPY.posteriors(batch)
    monkeypatch.setattr(numpy_backend, "TOGETHER", 200)
    for expected, found in zip(whole, (NUMPY.best(batch), NUMPY.posteriors(batch)), strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_hour_is_exact() -> None:
    """Sums stay within 64 bits: segments of an hour, found again from its halves' known optimum."""
    generator = np.random.default_rng(6)
    truth = np.repeat(generator.integers(0, 2, 3600), 100)
    found = NUMPY.best(batch_of([np.where(truth, 32.0, -32.0)], Graph(50, 50, 20.0)))[0]
    np.testing.assert_array_equal(found, truth.astype(bool))
    with pytest.raises(ValueError, match="over 2097151 frames"):
        batch_of([np.zeros(1 << 21)], Graph(1, 1))


@pytest.mark.parametrize("frames", [1, 1000, 16383, 16384, 100000, (1 << 21) - 1])
def test_tie_weights_fit_their_bits(frames: int) -> None:
    weights = tie_weights(frames)
    bits = numpy_backend._tie_bits(frames)
    assert (np.diff(weights) <= 0).all() and int(weights.sum()) < 1 << bits
    assert (frames >= 16384) or weights.tolist() == list(range(frames, 0, -1))
    assert frames * 32 * 4096 * 4 << bits <= 1 << 63  # _recursion adds up to four such numbers


def test_runs() -> None:
    assert runs_of(np.array([], dtype=bool)) == []
    assert runs_of(np.array([1, 1, 0, 1], dtype=bool)) == [(0, 2), (3, 4)]


def test_evidence_is_the_share_against_an_equal_share() -> None:
    log_odds = evidence_log_odds(np.array([0.0, 1.0, 3.0, 0.0]), level=1.0)
    np.testing.assert_allclose(np.exp(log_odds), [0, 1, 3, 0])
    np.testing.assert_allclose(np.exp(evidence_log_odds(np.array([1.0, 3.0]), level=2.0)), [0.25, 0.75])
    assert np.isneginf(evidence_log_odds(np.zeros(3))).all()
    assert not NUMPY.best(batch_of([evidence_log_odds(np.zeros(9))], Graph(2, 2)))[0].any()


def test_speech_marks() -> None:
    log_odds = np.array([-2, -2, -2, 3, 3, -1, 3, 3, -2, -2], np.float32)
    marks = speech_marks(log_odds, 3, 2, 0.1, "numpy")
    assert marks.dtype == np.float32 and marks.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: batch_of([[0.0, np.nan]], Graph(1, 1)), "vectors without NaN"),
        (lambda: batch_of([np.zeros((2, 2))], Graph(1, 1)), "expected vectors"),
        (lambda: batch_of([[0.0]], Graph(1, 1), [(1, 0, 1)]), "no such sequence"),
        (lambda: batch_of([[0.0]], Graph(1, 1), [(0, 0, 0)]), "empty"),
        (lambda: batch_of([[]], Graph(1, 1)), "empty"),
        (lambda: batch_of([[0.0]], Graph(1, 1), [(0, 1, 1)]), "the sequence has 1 frames"),
        (lambda: batch_of([[0.0]], [Graph(1, 1)] * 2), "2 graphs for 1 windows"),
        (lambda: Graph(0, 1), "minimum durations are 1 or more"),
        (lambda: Graph(1, 1, -0.5), "the penalty is 0 to 32"),
        (lambda: get_backend("kaldi"), "one of auto, k2, numpy"),
    ],
)
def test_refusals(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("content", ['raise ImportError("k2 was built using another PyTorch\\nand more")\n', ""])
def test_k2_that_does_not_import_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    """One for another torch raises ImportError; a folder of that name imports, and holds nothing."""
    monkeypatch.delitem(sys.modules, "imlkd.attribution.segmentation.k2_backend", raising=False)
    (tmp_path / "k2").mkdir()
    (tmp_path / "k2/__init__.py").write_text(content)
    monkeypatch.delitem(sys.modules, "k2", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(k2_lane, "LANE", tmp_path / "lane/bin/python")
    monkeypatch.setattr(segments, "get_backend", get_backend.__wrapped__)  # what other tests have found is remembered
    assert segments.get_backend("auto").name == "numpy"
    with pytest.raises(UserError, match=r"k2.* and has no environment of its own: local/setup_k2") as said:
        segments.get_backend("k2")
    assert "\n" not in str(said.value)


def test_a_lane_that_dies_is_one_line(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nread -r line\nexit 7\n")
    script.chmod(0o755)
    with pytest.raises(UserError, match="the k2 process ended with status 7"):
        K2Lane(script).best(batch_of([np.zeros(5)], Graph(1, 1)))


LANE_MODULES = ("segments", *(f"segmentation.{one}" for one in ("graph", "numpy_backend", "k2_backend", "k2_lane")))


@pytest.mark.parametrize("name", LANE_MODULES)
def test_what_the_k2_lane_imports_is_python_39_and_needs_no_other_room(name: str) -> None:
    source = (ROOT / f"imlkd/attribution/{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    own = {f"imlkd.attribution.{one}" for one in LANE_MODULES} | {"imlkd.errors"}
    known = {"numpy", "torch", "k2", "imlkd"} | set(sys.stdlib_module_names)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert all(one.split(".")[0] in known and (one in own or not one.startswith("imlkd")) for one in names), names
        assert not isinstance(node, ast.keyword) or node.arg not in ("slots", "kw_only", "strict")


@pytest.mark.skipif(lane_python() is None, reason="no environment for k2: local/setup_k2.sh makes one (Python 3.9)")
def test_the_lane_runs_k2_in_process() -> None:
    """What an environment does in which k2 imports: `auto` takes it."""
    code = "from imlkd.attribution.segments import *; print(get_backend('auto').name, get_backend('numpy').name)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(lane_python()), "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["k2", "numpy"], done.stderr
