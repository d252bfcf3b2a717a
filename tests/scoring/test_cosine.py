from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from imlkd.corpora.trials.lists import Trials, read_trials, write_trials
from imlkd.errors import UserError
from imlkd.kaldi_io import ArkWriter
from imlkd.scoring import cosine
from imlkd.scoring.cosine import cosine_scores, score_trials
from imlkd.scoring.score_file import write_scores

Vectors = dict[str, np.ndarray]


def vectors(names: list[str], seed: int = 0, dim: int = 16) -> Vectors:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(1.0, 1.0, dim).astype(np.float32) for name in names}


def trials_of(pairs: list[tuple[str, str]]) -> Trials:
    enroll, test = zip(*pairs, strict=True)
    return Trials(Path("trials"), "kaldi", list(enroll), list(test), np.arange(len(pairs)) % 2 == 0)


def write_vectors(folder: Path, name: str, content: Vectors) -> Path:
    with ArkWriter(folder / f"{name}.ark", folder / f"{name}.scp") as writer:
        for key in sorted(content):
            writer.write(key, content[key])
    return folder / f"{name}.scp"


def on_disk(folder: Path, trials: Trials) -> Trials:
    write_trials(folder / "trials", trials)
    return read_trials(folder / "trials")


@pytest.fixture
def case() -> tuple[Trials, Vectors, Vectors]:
    enroll, test = vectors([f"e{i}" for i in range(7)]), vectors([f"t{i}" for i in range(9)], seed=1)
    return trials_of([(e, t) for t in test for e in reversed(enroll)]), enroll, test


@pytest.mark.parametrize("block", [1, 5, 63, 1000])
def test_against_scikit_learn_in_any_block_size(case, block: int, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    trials, enroll, test = case
    monkeypatch.setattr(cosine, "BLOCK", block)
    left, right = (np.array([side[name] for name in side], dtype=np.float64) for side in (enroll, test))
    table = cosine_similarity(left, right)
    expected = [table[list(enroll).index(e), list(test).index(t)] for e, t in trials.pairs()]
    np.testing.assert_allclose(cosine_scores(trials, enroll, test), expected, atol=1e-12)


def test_mean_is_subtracted_from_both_sides(case) -> None:  # type: ignore[no-untyped-def]
    trials, enroll, test = case
    mean = np.full(16, 0.9, dtype=np.float32)
    moved = cosine_scores(
        trials,
        {name: vector.astype(np.float64) - mean for name, vector in enroll.items()},  # type: ignore[misc]
        {name: vector.astype(np.float64) - mean for name, vector in test.items()},  # type: ignore[misc]
    )
    np.testing.assert_allclose(cosine_scores(trials, enroll, test, mean), moved, atol=1e-12)


def test_by_hand() -> None:
    left = {"a": np.array([3.0, 4.0], np.float32), "b": np.array([-6.0, -8.0], np.float32)}
    right = {"x": np.array([4.0, 3.0], np.float32), "y": np.array([4.0, -3.0], np.float32)}
    trials = trials_of([("a", "x"), ("b", "x"), ("a", "y")])
    assert cosine_scores(trials, left, right).tolist() == [0.96, -0.96, 0.0]


@pytest.mark.parametrize(
    ("name", "vector", "message"),
    [
        ("t3", np.full(16, np.nan, np.float32), "t3: embedding holds NaN"),
        ("e2", np.array([np.inf] + 15 * [1.0], np.float32), "e2: embedding holds NaN or infinite"),
        ("t0", np.zeros(16, np.float32), "t0: embedding has no length"),
        ("t4", np.ones(15, np.float32), "t4: embedding has shape"),
        ("e1", np.ones((16, 2), np.float32), "e1: embedding has shape"),
    ],
)
def test_unusable_embedding_is_named(case, name: str, vector: np.ndarray, message: str) -> None:  # type: ignore[no-untyped-def]
    trials, enroll, test = case
    (enroll if name in enroll else test)[name] = vector
    with pytest.raises(UserError, match=message):
        cosine_scores(trials, enroll, test)


def test_embedding_equal_to_the_mean_is_named(case) -> None:  # type: ignore[no-untyped-def]
    trials, enroll, test = case
    with pytest.raises(UserError, match="t5: embedding has no length"):
        cosine_scores(trials, enroll, test, test["t5"])


def test_unused_bad_embedding_does_no_harm(case) -> None:  # type: ignore[no-untyped-def]
    trials, enroll, test = case
    cosine_scores(trials, enroll, {**test, "unused": np.zeros(3, np.float32)})


def test_score_file_format(tmp_path: Path) -> None:
    trials = trials_of([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")])
    write_scores(tmp_path / "scores", trials, [1 / 3, -0.0, -0.00123456789, 1.0])
    assert (tmp_path / "scores").read_text() == "a x 0.3333333\na y 0\nb x -0.001234568\nb y 1\n"


def test_files_in_and_out(case, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trials, enroll, test = case
    trials = on_disk(tmp_path, trials)
    train = vectors(["m1", "m2", "m3"], seed=2)
    mean_scp = write_vectors(tmp_path, "train", train)
    places = write_vectors(tmp_path, "enroll", enroll), write_vectors(tmp_path, "test", test)
    score_trials(trials, *places, tmp_path / "scores", mean_scp)
    mean = np.mean(list(train.values()), axis=0, dtype=np.float64).astype(np.float32)
    scores = cosine_scores(trials, enroll, test, mean)
    rows = [line.split(" ") for line in (tmp_path / "scores").read_text().splitlines()]
    assert [(enroll_id, test_id) for enroll_id, test_id, _ in rows] == trials.pairs()
    np.testing.assert_allclose([float(row[2]) for row in rows], scores, rtol=1e-6)


def test_missing_id_leaves_the_old_score_file(case, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trials, enroll, test = case
    del test["t8"]
    places = write_vectors(tmp_path, "enroll", enroll), write_vectors(tmp_path, "test", test)
    (tmp_path / "scores").write_text("old\n")
    with pytest.raises(UserError, match="0 of 7 enrolment ids and 1 of 9 test ids are not in .*; first: t8;"):
        score_trials(trials, *places, tmp_path / "scores")
    assert (tmp_path / "scores").read_text() == "old\n"
    assert not list(tmp_path.glob(".*"))


def test_written_trials_and_scores_have_the_same_order(case, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trials, enroll, test = case
    write_trials(tmp_path / "trials", trials)
    write_scores(tmp_path / "scores", trials, cosine_scores(trials, enroll, test))
    of_trials, of_scores = ((tmp_path / name).read_text().splitlines() for name in ("trials", "scores"))
    assert [line.split()[:2] for line in of_trials] == [line.split()[:2] for line in of_scores]
