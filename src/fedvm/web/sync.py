"""Reads a chain into the index: what is new since the last time, in pieces that are durable one by one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from functools import cache
from typing import Any, Final

from web3.exceptions import BlockNotFound, TransactionNotFound

from fedvm.audit.description import read_description
from fedvm.audit.errors import DescriptionError
from fedvm.chain.disputes import DataGiven
from fedvm.chain.errors import ChainError
from fedvm.chain.federation_types import RollupSubmitted, UpdateAccepted, UpdateRefused
from fedvm.chain.gate import SampleAsked
from fedvm.chain.model_service import Decision
from fedvm.chain.networks import page
from fedvm.chain.rollups import rolled_events, stated_rollup
from fedvm.chain.sealed_rounds import SealedRollupSubmitted
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.sealed_facts import sealed_facts
from fedvm.protocol import EncodingError
from fedvm.protocol.sealed.records import SealedFile
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS
from fedvm.rundir.layout import RunDirectory
from fedvm.store import StoreError
from fedvm.web.database import Index, body_of
from fedvm.web.source import Source, read_statement, statement_of

STEP: Final = 20_000
"""Blocks that are read before what they say is written."""
FILLED: Final = 400
"""Transactions whose gas and time are asked for in one go."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MOST_PICTURE: Final = 1 << 20
Progress = Callable[[int, int], None]


class Reader:
    """Brings an index up to the head of a source's chain."""

    def __init__(self, index: Index, source: Source) -> None:
        self.index, self.source = index, source
        self._described = cache(self._class_names)

    def read(self, progress: Progress = lambda block, head: None) -> None:
        """Read on to the head. An index of another chain is emptied first; one of a chain that was reorganised loses
        what came after the last block that is still there. `progress(block, head)`.

        Raises:
            ChainError: the chain cannot be read.
        """
        self._hold()
        head = int(self.source.w3.eth.block_number)
        first = max(self.index.next_block, self.source.first_block)
        for start, end in self._pages(first, head):
            self._take(start, end)
            progress(end, head)
        self._take_records()
        self._take_groups()
        self._take_title()
        self._take_statements()
        while self._fill():
            pass

    def _pages(self, first: int, head: int) -> Iterator[tuple[int, int]]:
        network = self.source.network
        if network.log_range:
            yield from page(network, first, head)
        else:
            yield from ((at, min(at + STEP - 1, head)) for at in range(first, head + 1, STEP))

    def _hold(self) -> None:
        """Compare the index with the chain, and delete what does not belong to it."""
        identity = self.source.identity()
        stored = self.index.meta("identity")
        service = "" if self.source.service is None else self.source.service.address
        if stored != json.dumps(identity) or self.index.meta("service") not in (service, ""):
            self.index.clear()
        elif self.index.meta("service") == "" and service:
            self.index.clear()  # what the service told before it was known must be read, too
        self.index.set_meta({"identity": json.dumps(identity), "service": service})
        for row in self.index.rows("SELECT block, hash FROM checkpoints ORDER BY block DESC"):
            if self._hash(row["block"]) == row["hash"]:
                if row["block"] + 1 < self.index.next_block:
                    self.index.clear(after=row["block"])
                return
        if self.index.next_block:
            self.index.clear()

    def _hash(self, number: int) -> str | None:
        try:
            return bytes(self.source.w3.eth.get_block(number)["hash"]).hex()
        except BlockNotFound:
            return None

    def _take(self, start: int, end: int) -> None:
        events = list(self.source.events(start, end))
        reached = self._hash(end)
        if not events and end == self.index.next_block - 1:
            return
        with self.index.changing() as db:
            if self.index.next_block > start:
                return  # another process has read these blocks meanwhile
            for contract, event in events:
                self.add(db, contract, event)
            if reached is not None:
                db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (end, reached))
                db.execute(
                    "DELETE FROM checkpoints WHERE block NOT IN (SELECT block FROM checkpoints ORDER "
                    "BY block DESC LIMIT 64)"
                )
            db.execute("INSERT OR REPLACE INTO meta VALUES ('next block', ?)", (str(end + 1),))

    def add(self, db: sqlite3.Connection, contract: str, event: Any) -> None:
        """Write one event."""
        at = event.at
        db.execute("INSERT OR IGNORE INTO wanted VALUES (?, ?)", (at.tx_hash, at.block_number))
        match event:
            case UpdateAccepted() | UpdateRefused():
                _add_update(db, event)
            case Decision():
                self._add_decision(db, event)
            case SampleAsked():
                db.execute(
                    "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?)",
                    (event.version, event.number, event.label, event.answer, at.block_number),
                )
            case DataGiven():
                pass  # large, and said by the answer that follows
            case _:
                version = getattr(event, "id", getattr(event, "version", None))
                db.execute(
                    "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        at.block_number,
                        at.log_index,
                        contract,
                        type(event).__name__,
                        at.tx_hash,
                        getattr(event, "round", None),
                        version if isinstance(version, int) else None,
                        body_of(event),
                    ),
                )
                if isinstance(event, RollupSubmitted | SealedRollupSubmitted):
                    db.execute(
                        "INSERT OR REPLACE INTO lacking VALUES (?, ?, 'not read yet', ?)",
                        (event.cid.hex(), event.round, at.block_number),
                    )

    def _add_decision(self, db: sqlite3.Connection, decision: Decision) -> None:
        names = self._described(decision.version)
        name = names[decision.label] if decision.label < len(names) else f"class {decision.label}"
        db.execute(
            "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                decision.id,
                decision.caller,
                decision.version,
                decision.label,
                name,
                "0x" + decision.input_hash.hex(),
                decision.input,
                "0x" + decision.scores_hash.hex(),
                None if decision.scores is None else json.dumps(decision.scores),
                decision.at.block_number,
                decision.at.tx_hash,
            ),
        )

    def _class_names(self, version: int) -> tuple[str, ...]:
        service = self.source.service
        if service is None:
            return ()
        try:
            return read_description(self.source.store.get(service.version(version).onnx_cid)).classes
        except (StoreError, DescriptionError, ChainError):
            return ()

    def _take_records(self) -> None:
        """The verdicts of rounds that were rolled up, from the files whose CIDs the chain has."""
        for lack in self.index.rows("SELECT * FROM lacking"):
            name = "SealedRollupSubmitted" if self.source.sealed else "RollupSubmitted"
            event = self._rollup(name, lack["round"], bytes.fromhex(lack["cid"]))
            if event is None:
                continue
            try:
                rows = self._records_of(event)
            except (StoreError, EncodingError, ValueError) as error:
                with self.index.changing() as db:
                    db.execute("UPDATE lacking SET why = ? WHERE cid = ?", (str(error)[:500], lack["cid"]))
                continue
            with self.index.changing() as db:
                db.execute("DELETE FROM updates WHERE round = ?", (event.round,))
                for row in rows:
                    _add_update(db, row)
                db.execute("DELETE FROM lacking WHERE cid = ?", (lack["cid"],))

    def _rollup(self, name: str, number: int, cid: bytes) -> RollupSubmitted | SealedRollupSubmitted | None:
        found = None
        for contract, events in self.source.readers:
            if contract not in ("federation", "sealed"):
                continue
            blocks = self.index.rows("SELECT block FROM events WHERE name = ? AND round = ?", name, number)
            for row in blocks:
                for event in events.events(first=row["block"], last=row["block"]):
                    if type(event).__name__ == name and event.round == number and event.cid == cid:
                        found = event
        return found

    def _records_of(self, event: RollupSubmitted | SealedRollupSubmitted) -> list[Any]:
        data = self.source.store.get(event.cid)
        if isinstance(event, RollupSubmitted):
            return list(rolled_events(event, stated_rollup(event, data)))
        file = SealedFile.parse(data)
        return [
            UpdateAccepted(
                **{
                    f.name: getattr(one.masked, f.name)
                    for f in fields(UpdateAccepted)
                    if hasattr(one.masked, f.name)
                },
                member=one.member,
                update_root=one.masked.masked_root,
                weight=record.weight,
                sum_squares=0,  # of the update under its mask, which only the group's sum tells of
                signature=one.signature,
                at=event.at,
            )
            for record, one in zip(file.records, file.parsed, strict=True)
        ]

    def _take_groups(self) -> None:
        """What became known of the groups of sealed rounds: how many members, and how long their sums are."""
        source = self.source
        if not source.sealed or source.federation is None:
            return
        final = self.index.rows(
            "SELECT round, block FROM events WHERE name = 'RoundFinal' AND round NOT IN (SELECT round FROM groups)"
        )
        blocks = {row["round"]: row["block"] for row in final}
        if not blocks:
            return
        try:
            facts = sealed_facts(source.federation, source.store, set(blocks), source.first_block)
        except (StoreError, EncodingError):
            return  # the rounds' files are not there; the page says so
        with self.index.changing() as db:
            for told in facts.rounds if facts is not None else ():
                for group in told.groups:
                    values = asdict(group)
                    db.execute(
                        "INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (told.round, *values.values(), blocks[told.round]),
                    )

    def _take_title(self) -> None:
        """What the serving version is called, in the words of the ONNX file that the chain names."""
        service = self.source.service
        if service is None or self.index.next_block == 0:
            return
        version = self.index.one(
            "SELECT version FROM events WHERE name = 'VersionRegistered' ORDER BY block DESC LIMIT 1"
        )
        if version is None or self.index.meta("title of") == str(version["version"]):
            return
        try:
            said = read_description(self.source.store.get(service.version(version["version"]).onnx_cid))
        except (StoreError, DescriptionError, ChainError):
            return
        self.index.set_meta({"title": said.title, "title of": str(version["version"])})

    def _take_statements(self) -> None:
        """What the run says of itself, which no chain vouches for: its report, rounds and pictures."""
        directory = self.source.directory
        if directory is None:
            return
        report = statement_of(directory)
        stated, rounds = "" if report is None else json.dumps(report), {}
        for path in sorted(directory.rounds.glob("round-*.json")):
            try:
                said = read_statement(path)
                rounds[str(int(said["round"]))] = {
                    key: float(said[key])
                    for key in ("test_accuracy", "seconds")
                    if isinstance(said.get(key), int | float)
                }
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
        self.index.set_meta({"report": stated, "rounds": json.dumps(rounds), "name": self._name(directory)})
        if report is None or self.index.meta("pictures of") == stated:
            return
        pictures = list(_pictures(directory))
        with self.index.changing() as db:
            db.execute("DELETE FROM pictures")
            db.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?)", pictures)
        self.index.set_meta({"pictures of": stated})

    def _name(self, directory: RunDirectory) -> str:
        try:
            config = load_config(directory.config)
        except (ConfigError, OSError):
            return ""
        return config.model.title or f"{config.model.name} on {config.data.dataset}"

    def _fill(self) -> bool:
        """Ask for gas and time of transactions whose events are there, the latest first; whether some are left."""
        waiting = self.index.rows("SELECT tx, block FROM wanted ORDER BY block DESC LIMIT ?", FILLED)
        if not waiting:
            return False
        eth = self.source.w3.eth
        known = {row["block"] for row in self.index.rows("SELECT block FROM blocks")}
        times, gas = dict[int, int](), list[tuple[str, int, int]]()
        for row in waiting:
            try:
                if row["block"] not in known and row["block"] not in times:
                    times[row["block"]] = int(eth.get_block(row["block"])["timestamp"])
                used = int(eth.get_transaction_receipt(row["tx"])["gasUsed"])
            except (BlockNotFound, TransactionNotFound):
                continue  # the chain was reorganised; the next reading finds out
            gas.append((row["tx"], used, row["block"]))
        with self.index.changing() as db:
            db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?)", times.items())
            db.executemany("INSERT OR REPLACE INTO receipts VALUES (?, ?, ?)", gas)
            db.executemany("DELETE FROM wanted WHERE tx = ?", [(row["tx"],) for row in waiting])
        return True


def _add_update(db: sqlite3.Connection, event: UpdateAccepted | UpdateRefused) -> None:
    (seq,) = db.execute(
        "SELECT coalesce(max(seq), 0) + 1 FROM updates WHERE round = ?", (event.round,)
    ).fetchone()
    place = event.at.block_number, event.at.tx_hash
    row: tuple[Any, ...]
    if isinstance(event, UpdateRefused):
        row = (event.round, seq, event.member, int(event.reason), None, None, None, None, None, None, None,
               "0x" + event.update_root.hex(), event.cid.hex(), *place)  # fmt: skip
    else:
        # A loss may be any uint64, SQLite's integers end at 2^63.
        loss = None if event.loss_micros == NOT_ATTESTED_LOSS else float(event.loss_micros)
        row = (event.round, seq, event.member, 0, event.weight, event.examples, event.accuracy_ppm, loss,
               event.labels, event.epsilon, str(event.sum_squares),
               "0x" + event.update_root.hex(), event.cid.hex(), *place)  # fmt: skip
    db.execute(f"INSERT INTO updates VALUES ({', '.join('?' * len(row))})", row)


def _pictures(directory: RunDirectory) -> Iterator[tuple[str, bytes]]:
    """(name, PNG) of a run's pictures. What a link leads to is none of the run's, and is not shown to anybody."""
    inside = directory.path.resolve() / directory.images.name
    for path in sorted(directory.images.rglob("*.png")):
        if path.resolve() != inside / path.relative_to(directory.images) or not path.is_file():
            continue
        if path.stat().st_size <= _MOST_PICTURE and (png := path.read_bytes()).startswith(_PNG):
            yield path.relative_to(directory.images).as_posix(), png
