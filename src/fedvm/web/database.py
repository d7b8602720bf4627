"""The index: a SQLite file with what the chain's events say. It can be deleted at any time and is made again.

Every row bears the block that it comes from, and rows are only added. So when the chain has turned out to be another
one from some block on, the rows after that block are deleted and read again.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from fedvm.web.errors import WebError

FORMAT: Final = "1"
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints (block INTEGER PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE events (
    block INTEGER NOT NULL, log INTEGER NOT NULL, contract TEXT NOT NULL, name TEXT NOT NULL, tx TEXT NOT NULL,
    round INTEGER, version INTEGER, body TEXT NOT NULL, PRIMARY KEY (block, log, contract, name)
) WITHOUT ROWID;
CREATE TABLE updates (
    round INTEGER NOT NULL, seq INTEGER NOT NULL, member TEXT NOT NULL, reason INTEGER NOT NULL,
    weight INTEGER, examples INTEGER, accuracy_ppm INTEGER, loss_micros REAL, labels INTEGER,
    epsilon REAL, norm_squares TEXT, root TEXT, cid TEXT, block INTEGER NOT NULL, tx TEXT NOT NULL,
    PRIMARY KEY (round, seq)
) WITHOUT ROWID;
CREATE INDEX updates_of ON updates (member, round);
CREATE TABLE groups (
    round INTEGER NOT NULL, number INTEGER NOT NULL, members INTEGER, included INTEGER, conspirators INTEGER,
    weight INTEGER, length REAL, longest REAL, block INTEGER NOT NULL, PRIMARY KEY (round, number)
) WITHOUT ROWID;
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY, caller TEXT NOT NULL, version INTEGER NOT NULL, label INTEGER NOT NULL, class TEXT NOT NULL,
    input_hash TEXT NOT NULL, input BLOB, scores_hash TEXT NOT NULL, scores TEXT,
    block INTEGER NOT NULL, tx TEXT NOT NULL
);
CREATE TABLE samples (
    version INTEGER NOT NULL, number INTEGER NOT NULL, label INTEGER NOT NULL, answer INTEGER NOT NULL,
    block INTEGER NOT NULL, PRIMARY KEY (version, number)
) WITHOUT ROWID;
CREATE TABLE blocks (block INTEGER PRIMARY KEY, time INTEGER NOT NULL);
CREATE TABLE receipts (tx TEXT PRIMARY KEY, gas INTEGER NOT NULL, block INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE wanted (tx TEXT PRIMARY KEY, block INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX wanted_by_block ON wanted (block);
CREATE TABLE lacking (
    cid TEXT PRIMARY KEY, round INTEGER NOT NULL, why TEXT NOT NULL, block INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE pictures (name TEXT PRIMARY KEY, png BLOB NOT NULL) WITHOUT ROWID;
"""
_OF_THE_CHAIN: Final = (
    "checkpoints", "events", "updates", "groups", "decisions", "samples", "blocks", "receipts", "wanted", "lacking"
)  # fmt: skip


class Index:
    """An open index. One connection, which threads use one after another."""

    def __init__(self, path: Path | None = None) -> None:
        """path: of the file, made if it is missing; None for an index in memory. Raises WebError if it is no index."""
        self.path = path
        self._lock = threading.RLock()
        self._changes = 0
        try:
            self._db = _opened(path)
        except sqlite3.Error as error:
            raise WebError(
                f"{path}: cannot be used as an index: {error}. Delete it: it is made again"
            ) from error

    @property
    def revision(self) -> str:
        """Another value after every change, also one by another process."""
        with self._lock:
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
            return f"{version}.{self._changes}"

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def one(self, query: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query."""
        with self._lock:
            row: sqlite3.Row | None = self._db.execute(query, values).fetchone()
            return row

    def count(self, query: str, *values: Any) -> int:
        """The one number that a query gives, 0 for NULL."""
        row = self.one(query, *values)
        return int(row[0] or 0) if row is not None else 0

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """All changes inside become durable together at the end, or none does if the block raises."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            self._changes += 1

    def meta(self, key: str) -> str | None:
        """A value that was set."""
        row = self.one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else str(row[0])

    def set_meta(self, values: Mapping[str, str]) -> None:
        """Set values, if they differ from what is there."""
        if all(self.meta(key) == value for key, value in values.items()):
            return
        with self.changing() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    @property
    def next_block(self) -> int:
        """The first block that was not read yet."""
        return int(self.meta("next block") or 0)

    def clear(self, after: int = -1) -> None:
        """Delete what comes from blocks after this one; with -1 all that the chain said."""
        with self.changing() as db:
            for table in _OF_THE_CHAIN:
                db.execute(f"DELETE FROM {table} WHERE block > ?", (after,))
            db.execute("INSERT OR REPLACE INTO meta VALUES ('next block', ?)", (str(after + 1),))

    def events(self, names: Iterable[str] = ()) -> Iterator[tuple[sqlite3.Row, dict[str, Any]]]:
        """(row, fields) of events in the chain's order, of these names or all. Bytes are hexadecimal with 0x."""
        wanted = list(names)
        where = f"WHERE name IN ({', '.join('?' * len(wanted))})" if wanted else ""
        for row in self.rows(f"SELECT * FROM events {where} ORDER BY block, log", *wanted):
            yield row, json.loads(row["body"])


def body_of(event: Any) -> str:
    """An event's fields as JSON, without its place."""
    return json.dumps({f.name: _plain(getattr(event, f.name)) for f in fields(event) if f.name != "at"})


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, IntEnum):
        return int(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 53:
        return str(value)  # other readers of JSON would round it
    return value


def _opened(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=10.0)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables:
        found = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        if found is None or found[0] != FORMAT:
            raise sqlite3.DatabaseError("it is of another version of FedVM")
        return db
    db.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    db.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT,))
    db.execute("COMMIT")
    return db
