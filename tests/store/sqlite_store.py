"""A store in one SQLite file: what another backend takes, in one file and a line that registers it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from fedvm.store import BACKENDS, Cid, CorruptBlock, MissingBlock, cid_of


class SqliteStore:
    """Artefacts as rows of a table, whole. Opens a connection a call, so that threads and processes can share it."""

    def __init__(self, url: str) -> None:
        self.file = Path(url.removeprefix("sqlite://"))
        self._run("CREATE TABLE IF NOT EXISTS artefacts (cid TEXT PRIMARY KEY, bytes BLOB NOT NULL)")

    def put(self, data: bytes) -> str:
        cid = str(cid_of(data))
        self._run("INSERT OR IGNORE INTO artefacts VALUES (?, ?)", cid, data)
        return cid

    stage = put

    def sync(self) -> None:
        """SQLite's commits are durable."""

    def get(self, cid: str | bytes) -> bytes:
        name = Cid.from_binary(cid) if isinstance(cid, bytes) else Cid.parse(cid)
        found = self._run("SELECT bytes FROM artefacts WHERE cid = ?", str(name))
        if not found:
            raise MissingBlock(f"{name} is not in {self.file}")
        data = bytes(found[0][0])
        if cid_of(data) != name:
            raise CorruptBlock(f"{name} in {self.file} has other bytes")
        return data

    def _run(self, statement: str, *values: object) -> list[tuple[bytes]]:
        connection = sqlite3.connect(self.file)
        try:
            with connection:
                return list(connection.execute(statement, values))
        finally:
            connection.close()


BACKENDS["sqlite"] = SqliteStore
