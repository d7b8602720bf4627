"""A key-value store over SQLite for py-evm, with whole blocks as transactions.

py-evm writes trie nodes, headers, transactions and receipts one key at a time. Here all writes of one block
lie inside one SQLite transaction in write-ahead-log mode, so that a process killed at any moment leaves the
chain at its last whole block.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eth.abc import AtomicWriteBatchAPI
from eth.db.atomic import AtomicDBWriteBatch
from eth.db.backends.base import BaseAtomicDB

from fedvm.chain.errors import ChainError, ChainNotFound

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE logs (
    block_number INTEGER NOT NULL, log_index INTEGER NOT NULL, tx_index INTEGER NOT NULL,
    block_hash BLOB NOT NULL, tx_hash BLOB NOT NULL, address BLOB NOT NULL,
    topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, data BLOB NOT NULL,
    PRIMARY KEY (block_number, log_index)
) WITHOUT ROWID;
CREATE INDEX logs_by_event ON logs (address, topic0, block_number);
"""


class SqliteDB(BaseAtomicDB):
    """py-evm's ``AtomicDatabaseAPI`` over one SQLite file.

    ``connection`` is in autocommit mode; :meth:`transaction` groups writes. The connection may be used from
    several threads as long as the caller holds a lock of its own.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.connection = _connect_read_only(path) if read_only else _connect(path)

    def close(self) -> None:
        self.connection.close()

    def is_empty(self) -> bool:
        """Whether the file has no tables yet (new, or its creator was killed before its first commit)."""
        (tables,) = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return bool(tables == 0)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside become durable together at the end, or none does if the block raises."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see one state of the file, whatever a writer commits meanwhile."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        with AtomicDBWriteBatch._commit_unless_raises(self) as batch:
            yield batch

    def __getitem__(self, key: bytes) -> bytes:
        row = self.connection.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value: bytes = row[0]
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.connection.execute("INSERT OR REPLACE INTO kv (key, value) VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        if self.connection.execute("DELETE FROM kv WHERE key = ?", (key,)).rowcount == 0:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self.connection.execute("SELECT 1 FROM kv WHERE key = ?", (key,)).fetchone() is not None


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ChainError(
            f"{path} is not a readable SQLite file ({error}); restore it or remove it"
        ) from error
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _connect_read_only(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise ChainNotFound(f"no embedded chain at {path}")
    uri = path.resolve().as_uri()
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(
            f"{uri}?{options}", uri=True, isolation_level=None, check_same_thread=False, timeout=10.0
        )
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError as error:
            # A directory that cannot be written has no room for the shared-memory file of write-ahead
            # logging; without a log beside it the file is whole and may be read as it lies.
            connection.close()
            if options.endswith("immutable=1") or path.with_name(path.name + "-wal").exists():
                raise ChainError(f"cannot open {path} for reading: {error}") from error
        except sqlite3.DatabaseError as error:
            connection.close()
            raise ChainError(f"{path} is not a readable SQLite file ({error}); restore it") from error
    raise AssertionError("unreachable")
