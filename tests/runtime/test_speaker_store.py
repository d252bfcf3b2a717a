"""The store of speakers: search against brute force, changes that are whole, two processes, kills, a full disk."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imlkd.errors import UserError
from imlkd.runtime.model import ModelCard
from imlkd.runtime.speaker_store import Enrolment, SpeakerStore
from tests.runtime.store_writer import CARD, WRITES, voice

ROOT = Path(__file__).parents[2]


def unit(generator: np.random.Generator, count: int) -> np.ndarray:
    rows = generator.normal(size=(count, CARD.embedding_dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def enrolments(rows: np.ndarray) -> list[Enrolment]:
    return [Enrolment(f"{i}.wav", 1.0 + i, row) for i, row in enumerate(rows)]


def filled(path: Path, speakers: int = 50, each: int = 3) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    people = {f"s{i:03d}": unit(generator, each) for i in range(speakers)}
    with SpeakerStore(path, CARD) as store:
        assert store.enroll({name: enrolments(rows) for name, rows in people.items()}) == speakers * each
    return people


def test_search_is_brute_force(tmp_path: Path) -> None:
    people = filled(tmp_path / "s")
    means = {name: rows.astype(float).mean(0) for name, rows in people.items()}
    with SpeakerStore(tmp_path / "s", CARD) as store:
        for query in unit(np.random.default_rng(1), 20):
            scores = {name: mean @ query / np.linalg.norm(mean) for name, mean in means.items()}
            expected = sorted(scores, key=lambda name: -scores[name])
            for top in (1, 7, 50, 1000):
                found = store.search(query, top)
                assert [one.name for one in found] == expected[:top]
                np.testing.assert_allclose([one.score for one in found], [scores[one.name] for one in found], atol=1e-6)
        assert found[0].seconds == pytest.approx(2.0)
        assert store.check() == 50


def test_equal_scores_go_by_name(tmp_path: Path) -> None:
    (row,) = unit(np.random.default_rng(0), 1)
    with SpeakerStore(tmp_path / "s", CARD) as store:
        store.enroll({name: [Enrolment("a.wav", 1.0, row)] for name in ("zoe", "abe", "Ben")})
        assert [one.name for one in store.search(row)] == ["Ben", "abe", "zoe"]
        assert [one.name for one in store.search(row, 2)] == ["Ben", "abe"]


def test_repeating_adding_replacing(tmp_path: Path) -> None:
    rows = unit(np.random.default_rng(2), 4)
    with SpeakerStore(tmp_path / "s", CARD) as store:
        assert store.search(rows[0]) == []
        assert store.enroll({"a": enrolments(rows[:2])}) == 2
        assert store.enroll({"a": enrolments(rows[:3])}) == 1
        assert store.enroll({"a": enrolments(rows[[0, 0]])}) == 0
        mean = rows[:3].astype(float).mean(0)
        assert store.search(rows[3])[0].score == pytest.approx(mean @ rows[3] / np.linalg.norm(mean), abs=1e-6)
        assert store.enroll({"a": enrolments(rows[3:])}, replace=True) == 1
        assert store.search(rows[3])[0].score == pytest.approx(1.0, abs=1e-6)
        assert [(one.name, one.recordings, one.seconds) for one in store.speakers()] == [("a", 1, 1.0)]
        store.rename("a", "  Zoë ")
        store.rename("Zoe\u0308", "b")  # the same name in another spelling
        store.remove("b")
        assert store.speakers() == [] and store.search(rows[0]) == [] and store.check() == 0


def test_a_change_by_another_process_is_seen(tmp_path: Path) -> None:
    rows = unit(np.random.default_rng(3), 2)
    with SpeakerStore(tmp_path / "s", CARD) as reader, SpeakerStore(tmp_path / "s", CARD) as writer:
        writer.enroll({"a": enrolments(rows[:1])})
        assert [one.name for one in reader.search(rows[0])] == ["a"]
        writer.enroll({"b": enrolments(rows[1:])})
        assert [one.name for one in reader.search(rows[1], 1)] == ["b"]
        writer.remove("a")
        assert [one.name for one in reader.search(rows[0])] == ["b"]


def test_all_or_nothing(tmp_path: Path) -> None:
    rows = unit(np.random.default_rng(4), 2)
    bad = Enrolment("x.wav", 1.0, rows[0] * 2.0)
    opposite = [Enrolment("x.wav", 1.0, rows[0]), Enrolment("y.wav", 1.0, -rows[0])]
    with SpeakerStore(tmp_path / "s", CARD) as store:
        for second in (
            {"b": [bad]},
            {"b": opposite},
            {"": enrolments(rows)},
            {"b": [Enrolment("x", 1.0, rows[0][:5])]},
        ):
            with pytest.raises(UserError):
                store.enroll({"a": enrolments(rows), **second})
            assert store.speakers() == [] and store.search(rows[0]) == []


def test_what_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "s", 3)
    (tmp_path / "text").write_text("no store, but a text that is long enough to be read as a header of a database " * 9)
    (tmp_path / "empty").write_bytes(b"")
    foreign = sqlite3.connect(tmp_path / "foreign")
    foreign.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
    foreign.close()
    for name, words in {
        "text": "no store of speakers", "empty": "no store of speakers", "foreign": "no store of",
        "gone": "no such store", ".": "no such store",
    }.items():  # fmt: skip
        with pytest.raises(UserError) as caught:
            SpeakerStore(tmp_path / name)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no store of speakers"):
        SpeakerStore(tmp_path / "foreign", CARD)
    with pytest.raises(UserError, match="is its folder there"):
        SpeakerStore(tmp_path / "no/folder/s", CARD)
    with pytest.raises(
        UserError, match=r"holds 24-dimensional embeddings of tiny \(aaaaaaaaaaaa\), the model is other"
    ):
        SpeakerStore(tmp_path / "s", ModelCard("other", "b" * 64, 16000, 192))
    with SpeakerStore(tmp_path / "s") as store:
        with pytest.raises(UserError, match="holds 24 dimensions"):
            store.search(np.ones(5, np.float32))
        with pytest.raises(UserError, match="no speaker nobody"):
            store.remove("nobody")
        with pytest.raises(UserError, match="has a speaker s001 already"):
            store.rename("s000", "s001")
        for name in ("", " ", "a\nb", "a\tb", "x" * 201, "\x1b[2J", "\ud800"):
            with pytest.raises(UserError, match="no name of a speaker"):
                store.rename("s000", name)


def test_nothing_is_trusted_but_the_tables(tmp_path: Path) -> None:
    """A trigger in a file from somewhere would run at the next enrolment."""
    filled(tmp_path / "s", 3)
    database = sqlite3.connect(tmp_path / "s")
    database.execute("CREATE TRIGGER t AFTER INSERT ON recording BEGIN DELETE FROM speaker; END")
    database.close()
    with pytest.raises(UserError, match="no store of speakers, or a damaged one"):
        SpeakerStore(tmp_path / "s", CARD)


def test_check_finds_what_search_would_not(tmp_path: Path) -> None:
    filled(tmp_path / "s", 3)
    database = sqlite3.connect(tmp_path / "s")
    database.execute("UPDATE speaker SET vector = (SELECT vector FROM speaker WHERE id = 2) WHERE id = 1")
    database.commit()
    database.close()
    with SpeakerStore(tmp_path / "s", CARD) as store:
        assert len(store.search(unit(np.random.default_rng(0), 1)[0])) == 3
        with pytest.raises(UserError, match="damaged"):
            store.check()


def test_a_locked_store_is_said_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path / "s", 3)
    other = sqlite3.connect(tmp_path / "s", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match=r"in use by another process: .* \(--wait SECONDS waits longer\)"):
        SpeakerStore(tmp_path / "s", CARD, wait=0.05)
    other.execute("COMMIT")
    other.execute("BEGIN IMMEDIATE")
    with SpeakerStore(tmp_path / "s", CARD, wait=0.05) as store:
        assert len(store.search(unit(np.random.default_rng(0), 1)[0], 3)) == 3  # readers need not wait
        with pytest.raises(UserError, match="in use by another process"):
            store.enroll({"x": voice(1)})
        other.execute("ROLLBACK")
        store.enroll({"x": voice(1)})
    other.close()


def test_a_full_disk_leaves_the_store_as_it_was(
    tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    filled(tmp_path / "s", 20)
    size = (tmp_path / "s").stat().st_size
    with SpeakerStore(tmp_path / "s", CARD) as store:
        with file_size_limit(size), pytest.raises(UserError, match="no space left|file-size limit"):
            for number in range(200):
                store.enroll({f"x{number}": voice(number)})
        count = store.check()
        store.enroll({"after": voice(1000)})
        assert store.check() == count + 1
    with file_size_limit(100), pytest.raises(UserError):
        SpeakerStore(tmp_path / "new", CARD)
    with SpeakerStore(tmp_path / "new", CARD) as store:  # what was left of it is taken up
        assert store.enroll({"a": voice(1)}) == 2


def test_a_store_that_may_only_be_read(tmp_path: Path) -> None:
    filled(tmp_path / "s", 3)
    (tmp_path / "s").chmod(0o444)
    if os.access(tmp_path / "s", os.W_OK):
        pytest.skip("this user may write everything")
    with SpeakerStore(tmp_path / "s", CARD) as store, pytest.raises(UserError, match="cannot be written"):
        store.enroll({"x": voice(1)})


def writer(path: Path, first: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.runtime.store_writer", str(path), str(first)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def killed(path: Path, kills: int, latest: int, seed: int) -> None:
    """After each kill: whole, all that was said is there, at most the one write that was under way beside it."""
    generator = random.Random(seed)
    for round_ in range(kills):
        first = round_ * WRITES
        process = writer(path, first)
        assert process.stdout is not None
        wanted = generator.randrange(1, latest)
        said = [int(process.stdout.readline()) for _ in range(wanted)]
        time.sleep(generator.uniform(0.0, 0.02))
        process.kill()
        said += [int(line) for line in process.stdout.read().split()]
        assert process.wait() == -signal.SIGKILL and len(said) < WRITES
        with SpeakerStore(path, CARD) as store:
            store.check()
            there = {int(one.name[1:]) for one in store.speakers() if int(one.name[1:]) >= first}
            assert set(said) <= there <= {*said, said[-1] + 1}
            assert all(one.recordings == 2 for one in store.speakers())
            assert store.search(voice(said[-1])[0].embedding, 1)[0].name == f"s{said[-1]}"


def test_a_killed_writer_leaves_the_store_whole(tmp_path: Path) -> None:
    killed(tmp_path / "s", kills=3, latest=40, seed=0)


@pytest.mark.slow
def test_many_killed_writers_leave_the_store_whole(tmp_path: Path) -> None:
    killed(tmp_path / "s", kills=20, latest=900, seed=1)


def test_two_processes_at_once(tmp_path: Path) -> None:
    """Both begin with a store that is not there yet; neither loses a write."""
    both = [writer(tmp_path / "s", first) for first in (0, 5000)]
    for process in both:
        assert process.stdout is not None
        for _ in range(10):
            process.stdout.readline()
    for process in both:
        process.kill()
    said = {int(line) for process in both for line in process.communicate()[0].split()}
    with SpeakerStore(tmp_path / "s", CARD) as store:
        store.check()
        there = {int(one.name[1:]) for one in store.speakers()}
        assert said <= there and {*range(10), *range(5000, 5010)} <= there


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("erx"), st.integers(0, 3), st.integers(0, 5)), max_size=12))
def test_any_order_of_changes_ends_as_in_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    rows = unit(np.random.default_rng(5), 6)
    model: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder, SpeakerStore(Path(folder) / "s", CARD) as store:
        for kind, who, what in steps:
            name = f"p{who}"
            if kind in "er":
                known = [] if kind == "r" else model.get(name, [])
                model[name] = [*known, *([] if what in known else [what])]
                store.enroll({name: [Enrolment("a.wav", 1.0, rows[what])]}, replace=kind == "r")
            elif kind == "x" and name in model:
                store.remove(name)
                del model[name]
        assert {one.name: one.recordings for one in store.speakers()} == {n: len(known) for n, known in model.items()}
        best = {name: rows[known].astype(float).mean(0) for name, known in model.items()}
        found = store.search(rows[0], 10)
        assert {one.name for one in found} == set(best)
        for one in found:
            mean = best[one.name]
            assert one.score == pytest.approx(mean @ rows[0] / np.linalg.norm(mean), abs=1e-5)
        store.check()
