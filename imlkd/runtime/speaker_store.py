"""A store of known speakers: who they are, and which of them a voice sounds like."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from imlkd.errors import UserError
from imlkd.kaldi_io import FloatArray
from imlkd.runtime.embedding import mean_of
from imlkd.runtime.model import ModelCard
from imlkd.runtime.store_file import (
    DAMAGED,
    check_schema,
    connect,
    create_schema,
    is_empty,
    store_errors,
    writing,
)

WAIT = 10.0  # seconds for another process that writes
LONGEST_NAME = 200
UNIT = 1e-3  # how far a stored vector's length may be from 1
LARGEST_DIM = 65536


@dataclass(frozen=True)
class Enrolment:
    """One recording of a speaker: where it came from, its seconds, its embedding (D,) of length 1."""

    source: str
    seconds: float
    embedding: FloatArray


@dataclass(frozen=True)
class Speaker:
    """One line of a store: name, number of recordings, their seconds together."""

    name: str
    recordings: int
    seconds: float


@dataclass(frozen=True)
class Candidate:
    """A speaker that a voice may be: cosine, and mean seconds of the speaker's recordings."""

    name: str
    score: float
    seconds: float


class SpeakerStore:
    """Speakers in one SQLite file, for one model. Every change is whole or not made, also when a process is killed;
    several processes may read and write at once.

    :param path: of the file; ``card``: of the model, whose embeddings are the only ones that are taken; with it a
        store that is not there yet is made. Without it an existing one is opened, to list or to remove.
    :param wait: seconds to wait for another process that writes.
    :raises UserError: for a file that is no store, one of another model, one that stays locked.

    >>> model = load_model("student.onnx")
    >>> alice, again, bob = model.embed_files(["alice-1.wav", "alice-2.wav", "bob-1.wav"])
    >>> with SpeakerStore("speakers.sqlite", model.card) as store:
    ...     added = store.enroll({"alice": [Enrolment("alice-1.wav", 2.0, alice)],
    ...                           "bob": [Enrolment("bob-1.wav", 2.0, bob)]})
    ...     [candidate.name for candidate in store.search(again, top=2)]
    ['alice', 'bob']
    """

    def __init__(self, path: Path | str, card: ModelCard | None = None, wait: float = WAIT) -> None:
        self.path = Path(path)
        if card is None and not self.path.is_file():
            raise UserError(f"{self.path}: no such store: `imlkd enroll` makes one")
        with store_errors(self.path):
            self._connection = connect(self.path, "rw" if card is None else "rwc", wait)
        try:
            with store_errors(self.path):
                if card is not None and is_empty(self._connection):
                    self._create(card)
                check_schema(self._connection, self.path)
                facts = dict(self._connection.execute("SELECT key, value FROM facts"))
                self.model, self.model_sha256, self.dim = facts["model"], facts["model_sha256"], int(facts["dim"])
                if not 1 <= self.dim <= LARGEST_DIM:
                    raise ValueError(self.dim)
            if card is not None:
                self._check_model(card)
        except KeyError:
            self.close()
            raise UserError(f"{self.path}: {DAMAGED}") from None
        except BaseException:
            self.close()
            raise
        self._names: list[str] = []
        self._matrix: FloatArray = np.zeros((0, self.dim), np.float32)
        self._version = -1  # of the file's content that they were read from

    def _create(self, card: ModelCard) -> None:
        with writing(self._connection):
            if is_empty(self._connection):  # nobody was faster
                create_schema(self._connection)
                facts = {"model": card.name, "model_sha256": card.sha256, "dim": str(card.embedding_dim)}
                self._connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())

    def _check_model(self, card: ModelCard) -> None:
        if card.sha256 != self.model_sha256:
            raise UserError(
                f"{self.path}: holds {self.dim}-dimensional embeddings of {_shown(self.model)} "
                f"({self.model_sha256[:12]}), the model is {card.name} ({card.sha256[:12]}, {card.embedding_dim}): "
                "take that model, or enrol into another store"
            )
        if card.embedding_dim != self.dim:
            raise UserError(f"{self.path}: {DAMAGED}")

    def enroll(self, people: Mapping[str, Sequence[Enrolment]], replace: bool = False) -> int:
        """Add recordings to speakers, known or new, all of them or none; returns how many were added.

        A recording whose embedding the speaker has already counts as added before, so that a command can be repeated.

        :param replace: forget the earlier recordings of these speakers.
        :raises UserError: for an unusable name or embedding, a full disk, or a store that stays locked.
        """
        checked = {check_name(name): [self._checked(one) for one in new] for name, new in people.items()}
        with store_errors(self.path), writing(self._connection):
            self._version = -1
            return sum(self._add(name, enrolments, replace) for name, enrolments in checked.items())

    def _checked(self, one: Enrolment) -> Enrolment:
        vector = np.ascontiguousarray(one.embedding, dtype=np.float32)
        if vector.shape != (self.dim,) or not abs(float(np.linalg.norm(vector)) - 1.0) < UNIT:
            raise UserError(f"{one.source}: its embedding has shape {vector.shape} or no length 1: nothing enrolled")
        return Enrolment(_shown(one.source), float(one.seconds), vector)

    def _add(self, name: str, new: list[Enrolment], replace: bool) -> int:
        execute = self._connection.execute
        row = execute("SELECT id FROM speaker WHERE name = ?", (name,)).fetchone()
        known: list[bytes] = []
        if row is not None and replace:
            execute("DELETE FROM recording WHERE speaker = ?", row)
        elif row is not None:
            known = [blob for (blob,) in execute("SELECT vector FROM recording WHERE speaker = ? ORDER BY id", row)]
        added = {one.embedding.tobytes(): one for one in new if one.embedding.tobytes() not in known}
        if not added:
            return 0
        mean = mean_of(self._vectors([*known, *added])).tobytes()
        if row is None:
            row = (execute("INSERT INTO speaker (name, vector) VALUES (?, ?)", (name, mean)).lastrowid,)
        else:
            execute("UPDATE speaker SET vector = ? WHERE id = ?", (mean, *row))
        self._connection.executemany(
            "INSERT INTO recording (speaker, source, seconds, vector) VALUES (?, ?, ?, ?)",
            [(*row, one.source, one.seconds, blob) for blob, one in added.items()],
        )
        return len(added)

    def remove(self, name: str) -> None:
        """Forget a speaker and all recordings; UserError when the store has none of this name."""
        self._change(name, "DELETE FROM speaker WHERE name = ?", (check_name(name),))

    def rename(self, name: str, new: str) -> None:
        """Give a speaker another name; UserError when there is no such speaker, or the new name is taken."""
        try:
            self._change(name, "UPDATE speaker SET name = ? WHERE name = ?", (check_name(new), check_name(name)))
        except UserError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                raise UserError(f"{self.path}: has a speaker {new} already: choose another name") from None
            raise

    def _change(self, name: str, statement: str, values: tuple[str, ...]) -> None:
        with store_errors(self.path), writing(self._connection):
            self._version = -1
            changed = self._connection.execute(statement, values).rowcount
        if not changed:
            raise UserError(f"{self.path}: no speaker {name}: `imlkd store list {self.path}` says who is known")

    def speakers(self) -> list[Speaker]:
        """All of them, by name."""
        with store_errors(self.path):
            rows = self._connection.execute(
                "SELECT name, count(*), sum(seconds) FROM speaker JOIN recording ON recording.speaker = speaker.id "
                "GROUP BY speaker.id ORDER BY name"
            )
            return [Speaker(_shown(name), int(count), float(seconds)) for name, count, seconds in rows]

    def search(self, embedding: FloatArray, top: int = 5) -> list[Candidate]:
        """The ``top`` speakers whose mean embedding is nearest to (D,), best first; equal scores by name.

        The embeddings of all speakers are read once, and again when the file has changed since.

        :raises UserError: for an embedding of another dimension, or a damaged store.
        """
        if embedding.shape != (self.dim,):
            raise UserError(f"{self.path}: holds {self.dim} dimensions, the embedding has shape {embedding.shape}")
        self._load()
        scores = self._matrix @ np.ascontiguousarray(embedding, dtype=np.float32)
        least = np.partition(scores, -top)[-top] if top < len(scores) else -np.inf
        ranked = sorted((-float(scores[row]), self._names[row]) for row in np.flatnonzero(scores >= least))
        return [Candidate(name, -score, self._seconds_of(name)) for score, name in ranked[:top]]

    def _seconds_of(self, name: str) -> float:
        with store_errors(self.path):
            statement = "SELECT avg(seconds) FROM recording WHERE speaker = (SELECT id FROM speaker WHERE name = ?)"
            return float(self._connection.execute(statement, (name,)).fetchone()[0] or 0.0)

    def _load(self) -> None:
        """Names and unit vectors (N, D) of all speakers, when they are not those of the file any more."""
        with store_errors(self.path):
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return
            rows = self._connection.execute("SELECT name, vector FROM speaker ORDER BY id").fetchall()
            matrix = self._vectors([vector for _, vector in rows])
            names = [name for name, _ in rows]
            if not all(isinstance(name, str) and name.isprintable() for name in names):
                raise ValueError("a name that is no text")
        self._names, self._matrix, self._version = names, matrix, version

    def _vectors(self, blobs: list[bytes]) -> FloatArray:
        """(N, D); ValueError for what no embedding of length 1 looks like."""
        if not all(isinstance(blob, bytes) and len(blob) == 4 * self.dim for blob in blobs):
            raise ValueError("an embedding of another size")
        matrix = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), self.dim)
        with np.errstate(all="ignore"):
            squares = np.einsum("nd,nd->n", matrix, matrix)
        if not (np.abs(squares - 1.0) < 2.0 * UNIT).all():
            raise ValueError("an embedding that has not length 1")
        return matrix

    def check(self) -> int:
        """Look at every page and every embedding; returns the number of speakers.

        :raises UserError: for whatever is damaged, also for means that are not those of their recordings.
        """
        with store_errors(self.path):
            said = [text for (text,) in self._connection.execute("PRAGMA integrity_check")]
            orphans = self._connection.execute("PRAGMA foreign_key_check").fetchall()
            if said != ["ok"] or orphans:
                raise ValueError(said)
            self._version = -1
            self._load()
            self._check_means()
        return len(self._names)

    def _check_means(self) -> None:
        own: dict[str, list[bytes]] = {name: [] for name in self._names}
        statement = "SELECT name, recording.vector FROM recording JOIN speaker ON recording.speaker = speaker.id"
        for name, blob in self._connection.execute(f"{statement} ORDER BY recording.id"):
            own[name].append(blob)
        for name, mean in zip(self._names, self._matrix, strict=True):
            if not own[name] or np.abs(mean_of(self._vectors(own[name])) - mean).max() > UNIT:
                raise ValueError(f"{name}: not the mean of the recordings")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> SpeakerStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_name(name: str) -> str:
    """A speaker's name in one spelling (Unicode's NFC); UserError for an empty, long or unprintable one."""
    found = unicodedata.normalize("NFC", name).strip()
    if not found or len(found) > LONGEST_NAME or not found.isprintable():
        raise UserError(f"{name[:40]!r}: no name of a speaker: expected 1 to {LONGEST_NAME} printable characters")
    return found


def _shown(text: str) -> str:
    """``text`` with what cannot be printed (control characters, bytes of a file's name) spelt out."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
