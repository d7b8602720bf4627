"""The embedded chain: an Ethereum chain inside the process, kept in one SQLite file.

It needs only pip packages, charges exact gas, and keeps the limits of Filecoin's EVM. py-evm executes; a
small JSON-RPC provider of ours sits on top instead of eth-tester, which cannot reopen a chain, scans every
block for every receipt, and knows neither Filecoin's limits nor its chain ids.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_canonical_address
from filelock import FileLock, Timeout
from web3 import Web3

from fedvm.chain.errors import ChainError, ChainLocked, ChainMismatch, ChainNotFound
from fedvm.devnet import CHAIN_FILE
from fedvm.devnet.accounts import FUNDED_ROLES, Keyring
from fedvm.devnet.ledger import Genesis, Ledger, create_ledger, read_genesis
from fedvm.devnet.rpc import EmbeddedProvider
from fedvm.devnet.sqlite_db import SqliteDB
from fedvm.evm.limits import FILECOIN_DEVNET_CHAIN_ID


class EmbeddedChain:
    """An open embedded chain; a context manager.

    ``w3`` is an ordinary :class:`web3.Web3`. ``transact({"from": a})`` works for every funded account and
    for every account that :meth:`account` returned.
    """

    def __init__(self, db: SqliteDB, lock: FileLock | None) -> None:
        self._db = db
        self._lock = lock
        self._shift = 0.0
        genesis = read_genesis(db)
        self.keyring = Keyring(genesis.seed, genesis.funded_roles)
        self._ledger = Ledger(db, genesis, clock=self._now)
        self._shift = self._ahead()
        self._provider = EmbeddedProvider(self._ledger, self.keyring)
        self.w3: Web3 = Web3(self._provider)

    @property
    def path(self) -> Path:
        return self._db.path

    @property
    def read_only(self) -> bool:
        return self._db.read_only

    @property
    def seed(self) -> int:
        return self._ledger.genesis.seed

    @property
    def chain_id(self) -> int:
        return self._ledger.genesis.chain_id

    def account(self, role: str, index: int = 0) -> LocalAccount:
        """The account of a role (``owner``, ``coordinator``, ``member``, ``user`` or any other name).

        Accounts outside the roles funded at genesis exist, but own nothing until someone sends them funds.
        """
        return self.keyring.account(role, index)

    def advance_time(self, seconds: int) -> None:
        """Move the chain's clock ``seconds`` ahead, and mine an empty block. A chain that is opened again continues
        from the time of its head.
        """
        if seconds < 0:
            raise ChainError(f"time does not go back ({seconds} s)")
        self._shift = self._ahead() + seconds
        self._ledger.append_empty()

    def close(self) -> None:
        """Close the file and release the lock; closing twice is harmless."""
        self._provider.close()
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> EmbeddedChain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _ahead(self) -> float:
        """Seconds by which this chain's time is ahead of the wall clock: blocks come a second apart at least."""
        return max(self._shift, self._ledger.head().timestamp - time.time())

    def _now(self) -> float:
        return time.time() + self._shift


def open_chain(
    path: Path | str,
    *,
    seed: int | None = None,
    create: bool = False,
    read_only: bool = False,
    chain_id: int = FILECOIN_DEVNET_CHAIN_ID,
    funded_roles: Mapping[str, int] = FUNDED_ROLES,
) -> EmbeddedChain:
    """Open the embedded chain at ``path`` (the file, or a directory that holds ``chain.sqlite``).

    ``create`` makes it if it is missing, which needs ``seed``, the unsigned integer from which all its keys
    derive; ``chain_id`` and ``funded_roles`` (role → number of accounts) apply to a new chain. A ``seed``
    given for an existing chain must be its own. One process at a time may write; any number may open it
    ``read_only`` meanwhile.

    Raises :class:`ChainNotFound`, :class:`ChainLocked`, :class:`ChainMismatch`, or :class:`ChainError` for a
    file that is not a chain.
    """
    path = Path(path)
    file = path / CHAIN_FILE if path.is_dir() or (not path.suffix and not path.exists()) else path
    if read_only:
        return _checked(EmbeddedChain(SqliteDB(file, read_only=True), None), seed)
    if not create and not file.is_file():
        raise ChainNotFound(
            f"no embedded chain at {file}; create it with create=True or name the run's directory"
        )
    lock = _acquire(file)
    try:
        db = SqliteDB(file)
        if db.is_empty():
            _create(db, seed, chain_id, funded_roles, allowed=create)
        return _checked(EmbeddedChain(db, lock), seed)
    except BaseException:
        lock.release()
        raise


def _acquire(file: Path) -> FileLock:
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{file}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ChainLocked(
            f"{file} is open for writing elsewhere; wait for that run to end, or open it with read_only=True"
        ) from error
    return lock


def _create(
    db: SqliteDB, seed: int | None, chain_id: int, roles: Mapping[str, int], *, allowed: bool
) -> None:
    if not allowed:
        raise ChainNotFound(f"{db.path} is empty; create the chain with create=True")
    if seed is None or not 0 <= seed < 2**256:
        raise ChainError(f"a new embedded chain needs a seed in 0 … 2^256 − 1, got {seed}")
    keyring = Keyring(seed, roles)
    addresses = [to_canonical_address(account.address) for account in keyring.funded_accounts()]
    create_ledger(db, Genesis(seed, chain_id, roles), addresses)


def _checked(chain: EmbeddedChain, seed: int | None) -> EmbeddedChain:
    if seed is not None and seed != chain.seed:
        chain.close()
        raise ChainMismatch(f"{chain.path} was created with seed {chain.seed}, not {seed}; use its own seed")
    return chain
