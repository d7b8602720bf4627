"""What the accounts of one user have sent on one chain, on disk: so a killed process neither sends twice nor forgets.

A transaction is written down before it leaves, and its receipt as soon as a node shows it, since public gateways of
Filecoin show receipts for 20 epochs only. Signed transactions are no secrets; keys never come here.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import platformdirs
from filelock import FileLock, Timeout
from requests.exceptions import RequestException
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from fedvm.chain.errors import BadAnswer, ChainError, NetworkError
from fedvm.evm.keccak import keccak
from fedvm.evm.limits import FILECOIN_DEVNET_CHAIN_ID

STATE_VARIABLE: Final = "FEDVM_STATE_DIR"
"""Names the folder for outboxes and the places of watches, instead of the user's folder for the state of programs."""
LOCK_SECONDS: Final = 900.0
"""How long a process waits for another one that sends from the same account."""
FORGET_SECONDS: Final = 86_400.0
"""After so long, a repeated call is a new one, though nobody heard what became of the first."""

LOCAL_CHAINS: Final = frozenset((1337, 31337, FILECOIN_DEVNET_CHAIN_ID))
"""Chain ids that many chains have; the hash of the first block tells them apart. Public gateways do not show theirs."""

_COPIES: Final = ("anvil", "hardhat", "ganache", "ethereumjs")
"""Programs, as nodes name them, that can play a copy of another chain under its id and up to its latest block."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sent (
    hash TEXT PRIMARY KEY, account TEXT NOT NULL, nonce INTEGER NOT NULL, intent TEXT NOT NULL, action TEXT NOT NULL,
    raw BLOB NOT NULL, gas INTEGER NOT NULL, premium INTEGER NOT NULL, cap INTEGER NOT NULL, state TEXT NOT NULL,
    block INTEGER, receipt TEXT, heard INTEGER NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sent_by_nonce ON sent (account, nonce);
"""


class State(Enum):
    """Where a transaction is. LANDED: its receipt is known, but a reorganisation could undo it; LOST: another one has
    its nonce."""

    WAITING = "waiting"
    LANDED = "landed"
    FINAL = "final"
    LOST = "lost"


@dataclass(frozen=True)
class Entry:
    """One signed transaction. intent: what it is to do, whatever nonce and fees; heard: whether the caller was told."""

    hash: str
    account: str
    nonce: int
    intent: str
    action: str
    raw: bytes
    gas: int
    premium: int
    cap: int
    state: State
    block: int | None = None
    receipt: str | None = None
    heard: bool = False


def intent_of(account: str, to: str | None, value: int, data: bytes) -> str:
    """What a transaction is to do, as 64 hexadecimal digits."""
    parts = [account.lower().encode(), (to or "").lower().encode(), str(value).encode(), bytes(data)]
    return keccak(b"".join(keccak(part) for part in parts)).hex()


class Outbox:
    """A file of entries. Each call is one transaction of SQLite; a lock by account keeps senders apart.

    Raises ChainError if the file or its folder cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.DatabaseError) as error:
            raise ChainError(
                f"cannot keep sent transactions in {path} ({error}); make it writable, move it away if it is damaged, "
                f"or name another folder in {STATE_VARIABLE}"
            ) from error

    @contextmanager
    def sending(self, account: str) -> Iterator[None]:
        """Only one sender at a time, of all processes and threads. Raises NetworkError if another one does not end."""
        lock = FileLock(f"{self.path}.{account.lower()}.lock", thread_local=False)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise NetworkError(
                f"another process has been sending from {account} for {LOCK_SECONDS:.0f} s; let it end, then run the "
                "same again"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def add(self, entry: Entry) -> None:
        """Write an entry down, before it is sent."""
        self._db.execute(
            "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(entry.hash, entry.account.lower(), entry.nonce, entry.intent, entry.action, entry.raw),
                *(entry.gas, entry.premium, entry.cap, entry.state.value, entry.block, entry.receipt),
                *(int(entry.heard), time.time()),
            ),
        )

    def land(self, tx_hash: str, block: int, receipt: str) -> None:
        """A receipt was seen: the others of its nonce cannot land any more, unless the chain is reorganised."""
        self._db.execute(
            "UPDATE sent SET state = ?, block = ?, receipt = ? WHERE hash = ?",
            (State.LANDED.value, block, receipt, tx_hash),
        )

    def mark(self, tx_hash: str, state: State) -> None:
        self._db.execute("UPDATE sent SET state = ? WHERE hash = ?", (state.value, tx_hash))

    def lose(self, account: str, nonce: int) -> None:
        """Another one has used a nonce: of the transactions that wait with it none can land."""
        self._db.execute(
            "UPDATE sent SET state = 'lost' WHERE account = ? AND nonce = ? AND state = 'waiting'",
            (account.lower(), nonce),
        )

    def hear(self, account: str, nonce: int) -> None:
        """The caller has learnt what became of a nonce's transaction."""
        self._db.execute(
            "UPDATE sent SET heard = 1 WHERE account = ? AND nonce = ?", (account.lower(), nonce)
        )

    def waiting(self, account: str) -> dict[int, list[Entry]]:
        """Nonce → its transactions, for nonces of which none has landed. One that a node refused may have had the same
        nonce before."""
        rows = self._rows(
            "WHERE account = ?1 AND state = 'waiting' AND NOT EXISTS (SELECT 1 FROM sent AS o WHERE o.account = ?1 AND "
            "o.nonce = sent.nonce AND o.state IN ('landed', 'final')) ORDER BY nonce, created",
            account.lower(),
        )
        by_nonce: dict[int, list[Entry]] = {}
        for row in rows:
            by_nonce.setdefault(row.nonce, []).append(row)
        return by_nonce

    def landed(self) -> list[Entry]:
        """Transactions of all accounts that a reorganisation could undo, by account and nonce."""
        return self._rows("WHERE state = 'landed' ORDER BY account, nonce")

    def of_nonce(self, account: str, nonce: int) -> list[Entry]:
        """All transactions of a nonce that may land, the oldest first."""
        where = "WHERE account = ? AND nonce = ? AND state != 'lost' ORDER BY created"
        return self._rows(where, account.lower(), nonce)

    def unheard(self, intent: str) -> list[Entry]:
        """Transactions of this intent that landed, or were lost, without their caller hearing of it, by nonce."""
        where = (
            "WHERE intent = ? AND heard = 0 AND state != 'waiting' AND created > ? ORDER BY nonce, created"
        )
        return self._rows(where, intent, time.time() - FORGET_SECONDS)

    def refused(self, intent: str) -> list[Entry]:
        """Transactions of this intent that were given up and may have landed all the same, the latest first."""
        where = "WHERE intent = ? AND state = 'lost' AND created > ? ORDER BY created DESC"
        return self._rows(where, intent, time.time() - FORGET_SECONDS)

    def next_nonce(self, account: str) -> int:
        """The nonce behind the last one that landed, 0 if none did."""
        (last,) = self._db.execute(
            "SELECT max(nonce) FROM sent WHERE account = ? AND state IN ('landed', 'final')",
            (account.lower(),),
        ).fetchone()
        return 0 if last is None else int(last) + 1

    def close(self) -> None:
        self._db.close()

    def _rows(self, where: str, *values: object) -> list[Entry]:
        columns = "hash, account, nonce, intent, action, raw, gas, premium, cap, state, block, receipt, heard"
        rows: list[Any] = self._db.execute(f"SELECT {columns} FROM sent {where}", values).fetchall()
        return [
            Entry(*given, State(state), block, receipt, bool(heard))  # type: ignore[call-arg]
            for *given, state, block, receipt, heard in rows
        ]


def outbox_of(w3: Web3, folder: Path | None = None) -> Outbox:
    """The outbox for the chain that ``w3`` talks to. A local chain that was begun anew has a new one, and so has each
    copy of a network: what was tried there would be valid on the network itself.

    ``folder``: where outboxes lie; the user's folder for the state of programs unless given or named by
    FEDVM_STATE_DIR. Raises ChainError if it cannot be used.
    """
    base = folder or state_folder()
    name, instance = str(w3.eth.chain_id), _instance(w3)
    if instance:
        name += f"-{instance}"
    elif w3.eth.chain_id in LOCAL_CHAINS:
        genesis: Any = w3.eth.get_block(0)
        name += f"-{bytes(genesis['hash']).hex()[:16]}"
    elif instance is not None:  # it does not say which one it is
        name += f"-{secrets.token_hex(8)}"
    return Outbox(base / "sent" / f"{name}.sqlite")


def state_folder() -> Path:
    """The user's folder for the state of programs, or the one that FEDVM_STATE_DIR names."""
    named = os.environ.get(STATE_VARIABLE)
    return Path(named) if named else platformdirs.user_state_path("fedvm")


def _instance(w3: Web3) -> str | None:
    """What tells apart the runs of a program that plays copies of networks: two that start in the same second have the
    same first block. Empty if it does not say, None of other nodes."""
    try:
        program = str(w3.client_version).lower()
    except (Web3Exception, RequestException, BadAnswer):
        return None  # gateways may not say
    if not program.startswith(_COPIES):
        return None
    told = w3.provider.make_request(RPCEndpoint("hardhat_metadata"), []).get("result")
    instance = told.get("instanceId") if isinstance(told, dict) else None
    if isinstance(instance, str) and re.fullmatch("0x[0-9a-f]{64}", instance):
        return f"copy-{instance[2:18]}"
    return ""
