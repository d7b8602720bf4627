"""Blocks of the embedded chain: one transaction each, executed by py-evm, written whole to SQLite.

One block per transaction resets the warm and cold access state between transactions, as Ethereum's rules demand, so
that the gas charged is exact.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth._utils.address import generate_contract_address
from eth.abc import BlockAPI, BlockHeaderAPI, ComputationAPI, SignedTransactionAPI
from eth.constants import ZERO_ADDRESS
from eth.exceptions import Revert, TransactionNotFound
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address

from fedvm.chain.errors import ChainError
from fedvm.devnet.sqlite_db import SCHEMA, SqliteDB
from fedvm.devnet.vm import chain_class
from fedvm.evm.keccak import keccak
from fedvm.evm.limits import BLOCK_GAS_LIMIT, MAX_CALLDATA_BYTES
from fedvm.jsontext import parse_json

FORMAT_VERSION = "1"
GENESIS_BALANCE_WEI = 10**24
DYNAMIC_FEE_TRANSACTION = 2


@dataclass(frozen=True)
class Genesis:
    """What a chain is created with; kept in its file and compared when it is opened again."""

    seed: int
    chain_id: int
    funded_roles: Mapping[str, int]


@dataclass(frozen=True)
class LogEntry:
    block_number: int
    log_index: int
    tx_index: int
    block_hash: bytes
    tx_hash: bytes
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Included:
    """A transaction in its block; gas in EVM gas units, price in wei."""

    transaction: SignedTransactionAPI
    header: BlockHeaderAPI
    index: int

    @property
    def gas_price(self) -> int:
        """What the sender paid per unit of gas (EIP-1559)."""
        fee = base_fee(self.header)
        return fee + min(self.transaction.max_priority_fee_per_gas, self.transaction.max_fee_per_gas - fee)


@dataclass(frozen=True)
class Receipt:
    included: Included
    succeeded: bool
    gas_used: int
    gas_price: int
    contract_address: bytes | None
    logs: tuple[LogEntry, ...]


@dataclass(frozen=True)
class CallRequest:
    """An unsigned message; ``to`` None creates a contract."""

    sender: bytes
    to: bytes | None
    data: bytes
    value: int
    gas: int


@dataclass(frozen=True)
class CallOutcome:
    """``gas_used`` counts everything a transaction would pay before refunds; ``depth`` how deeply calls were nested
    below the first."""

    succeeded: bool
    output: bytes
    gas_used: int
    error: str
    depth: int


def base_fee(header: BlockHeaderAPI) -> int:
    """A block's base fee in wei; every block of this chain has one."""
    assert header.base_fee_per_gas is not None
    return header.base_fee_per_gas


class TransactionRefused(ChainError):
    """A transaction breaks a rule of the chain and was not included."""


class TransactionReverted(ChainError):
    """A transaction that was to be included only if it succeeds has failed; ``outcome`` says why."""

    def __init__(self, outcome: CallOutcome) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome


def create_ledger(db: SqliteDB, genesis: Genesis, addresses: Sequence[bytes]) -> None:
    """Write an empty chain that funds ``addresses`` with 10^24 wei each; all or nothing."""
    with db.transaction():
        for statement in SCHEMA.split(";"):
            db.connection.execute(statement)
        chain_class(genesis.chain_id).from_genesis(
            db,
            {
                "gas_limit": BLOCK_GAS_LIMIT,
                "coinbase": ZERO_ADDRESS,
                "timestamp": int(time.time()) - 1,
                "mix_hash": _beacon(genesis.seed, 0),
            },
            {
                Address(address): {"balance": GENESIS_BALANCE_WEI, "nonce": 0, "code": b"", "storage": {}}
                for address in addresses
            },
        )
        meta = {
            "format": FORMAT_VERSION,
            "seed": str(genesis.seed),
            "chain_id": str(genesis.chain_id),
            "funded_roles": json.dumps(dict(genesis.funded_roles)),
        }
        db.connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


def read_genesis(db: SqliteDB) -> Genesis:
    """What the chain in the file was created with; :class:`ChainError` if the file holds something else."""
    tables = {name for (name,) in db.connection.execute("SELECT name FROM sqlite_master")}
    if "meta" not in tables:
        raise ChainError(f"{db.path} is not an embedded FedVM chain; choose another path or remove the file")
    meta = dict(db.connection.execute("SELECT key, value FROM meta").fetchall())
    if meta.get("format") != FORMAT_VERSION:
        raise ChainError(
            f"{db.path} has format {meta.get('format')!r}, this version reads {FORMAT_VERSION!r}; "
            "use the version that wrote it"
        )
    return Genesis(int(meta["seed"]), int(meta["chain_id"]), parse_json(meta["funded_roles"]))


class Ledger:
    """Executes transactions and reads the chain. Not thread-safe: the caller holds a lock."""

    def __init__(self, db: SqliteDB, genesis: Genesis, clock: Callable[[], float] = time.time) -> None:
        self.db = db
        self.genesis = genesis
        self.clock = clock
        # Any: py-evm's annotations ask for its NewTypes of int and bytes at every turn.
        self._chain: Any = chain_class(genesis.chain_id)(db)

    # Reading

    def head(self) -> BlockHeaderAPI:
        header: BlockHeaderAPI = self._chain.get_canonical_head()
        return header

    def header(self, number: int) -> BlockHeaderAPI:
        header: BlockHeaderAPI = self._chain.get_canonical_block_header_by_number(number)
        return header

    def block(self, header: BlockHeaderAPI) -> BlockAPI:
        block: BlockAPI = self._chain.get_block_by_header(header)
        return block

    def header_by_hash(self, block_hash: bytes) -> BlockHeaderAPI:
        header: BlockHeaderAPI = self._chain.get_block_header_by_hash(block_hash)
        return header

    def balance(self, address: bytes, header: BlockHeaderAPI) -> int:
        return int(self._chain.get_vm(header).state.get_balance(Address(address)))

    def nonce(self, address: bytes, header: BlockHeaderAPI) -> int:
        return int(self._chain.get_vm(header).state.get_nonce(Address(address)))

    def code(self, address: bytes, header: BlockHeaderAPI) -> bytes:
        return bytes(self._chain.get_vm(header).state.get_code(Address(address)))

    def storage(self, address: bytes, slot: int, header: BlockHeaderAPI) -> int:
        return int(self._chain.get_vm(header).state.get_storage(Address(address), slot))

    def included(self, tx_hash: bytes) -> Included | None:
        try:
            number, index = self._chain.get_canonical_transaction_index(tx_hash)
        except TransactionNotFound:
            return None
        transaction = self._chain.get_canonical_transaction_by_index(number, index)
        return Included(transaction, self.header(number), index)

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        included = self.included(tx_hash)
        if included is None:
            return None
        transaction, header = included.transaction, included.header
        receipt = self._chain.get_transaction_receipt_by_index(header.block_number, included.index)
        created = None
        if transaction.to == b"":
            created = generate_contract_address(transaction.sender, transaction.nonce)
        return Receipt(
            included,
            receipt.state_root == b"\x01",
            receipt.gas_used,
            included.gas_price,
            created,
            tuple(self.logs(header.block_number, header.block_number, (), ())),
        )

    def logs(
        self, first: int, last: int, addresses: Sequence[bytes], topics: Sequence[Sequence[bytes]]
    ) -> list[LogEntry]:
        """Events of the blocks ``first`` … ``last`` in order; an empty selection at a position matches
        anything."""
        query = ["SELECT * FROM logs WHERE block_number BETWEEN ? AND ?"]
        values: list[object] = [first, last]
        for column, wanted in [("address", addresses), *((f"topic{i}", t) for i, t in enumerate(topics))]:
            if wanted:
                query.append(f"AND {column} IN ({', '.join('?' * len(wanted))})")
                values.extend(wanted)
        query.append("ORDER BY block_number, log_index")
        rows = self.db.connection.execute(" ".join(query), values).fetchall()
        return [_log_entry(row) for row in rows]

    # Executing

    def call(self, request: CallRequest, header: BlockHeaderAPI | None = None) -> CallOutcome:
        """Run a message without keeping its effects.

        With ``header`` None it runs on top of the head, at the time the next block would have; otherwise in
        the context of that block and on its state. The sender pays no fee; BASEFEE and GASPRICE read zero.
        """
        context = (header or self.next_header()).copy(base_fee_per_gas=0)
        state = self._chain.get_vm(context).state
        unsigned = self._chain.create_unsigned_transaction(
            nonce=state.get_nonce(Address(request.sender)),
            gas_price=0,
            gas=request.gas,
            to=request.to or b"",
            value=request.value,
            data=request.data,
        )
        transaction = SpoofTransaction(unsigned, from_=Address(request.sender))
        if len(request.data) > MAX_CALLDATA_BYTES:
            raise TransactionRefused(_over_message_size(len(request.data)))
        if request.gas < transaction.intrinsic_gas:
            raise TransactionRefused(
                f"intrinsic gas too low: have {request.gas}, want {transaction.intrinsic_gas}"
            )
        computation = state.apply_transaction(transaction)
        return _outcome(computation, request.gas)

    def next_header(self) -> BlockHeaderAPI:
        """The header a block made now would start from."""
        parent = self.head()
        header: BlockHeaderAPI = self._chain.create_header_from_parent(
            parent,
            timestamp=max(int(self.clock()), parent.timestamp + 1),
            mix_hash=_beacon(self.genesis.seed, parent.block_number + 1),
        )
        return header

    def append(self, raw: bytes, *, if_successful: bool = False) -> bytes:
        """Execute a signed transaction and write its block; returns the transaction's hash.

        Raises :class:`TransactionRefused` (nothing is written) if it breaks a rule of Ethereum or of
        Filecoin. A transaction that reverts is included and pays, as on any chain; or, with ``if_successful``,
        :class:`TransactionReverted` is raised and nothing is written.
        """
        transaction = self._decode(raw)
        with self.db.transaction():
            header = self.next_header()
            self._chain.header = header
            result, _, computations = self._chain.mine_all([transaction])
            if if_successful and computations[0].is_error:
                raise TransactionReverted(_outcome(computations[0], transaction.gas))
            self._index_logs(result.imported_block)
        tx_hash: bytes = transaction.hash
        return tx_hash

    def append_empty(self) -> None:
        """Write a block without transactions."""
        with self.db.transaction():
            self._chain.header = self.next_header()
            self._chain.mine_all([])

    def _decode(self, raw: bytes) -> SignedTransactionAPI:
        if raw[:1] in (b"\x01", b"\x03", b"\x04"):
            raise TransactionRefused(
                f"transaction type {raw[0]} is not supported; Filecoin takes type 2 and legacy"
            )
        try:
            transaction: SignedTransactionAPI = self._chain.get_vm().get_transaction_builder().decode(raw)
        except Exception as error:
            raise TransactionRefused(f"malformed transaction: {error}") from error
        if transaction.type_id == DYNAMIC_FEE_TRANSACTION and transaction.access_list:
            raise TransactionRefused("access lists are not supported; send an empty one")
        if transaction.chain_id is None:
            raise TransactionRefused(
                "transaction is not bound to a chain; sign it with the chain id (EIP-155)"
            )
        if transaction.chain_id != self.genesis.chain_id:
            raise TransactionRefused(
                f"transaction is for chain {transaction.chain_id}, this is {self.genesis.chain_id}"
            )
        if len(transaction.data) > MAX_CALLDATA_BYTES:
            raise TransactionRefused(_over_message_size(len(transaction.data)))
        return transaction

    def _index_logs(self, block: BlockAPI) -> None:
        receipts = block.get_receipts(self._chain.chaindb)
        log_index = 0
        for tx_index, (transaction, receipt) in enumerate(zip(block.transactions, receipts, strict=True)):
            for log in receipt.logs:
                topics = [topic.to_bytes(32, "big") for topic in log.topics] + [None] * (4 - len(log.topics))
                place = (block.number, log_index, tx_index, block.hash, transaction.hash)
                row = (*place, log.address, *topics, log.data)
                self.db.connection.execute("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
                log_index += 1


def _outcome(computation: ComputationAPI, gas: int) -> CallOutcome:
    error = computation.error if computation.is_error else None
    reverted = isinstance(error, Revert)
    output = computation.output if error is None or reverted else b""
    text = "" if error is None else "execution reverted" if reverted else f"{type(error).__name__}: {error}"
    used = gas - computation.get_gas_remaining()
    return CallOutcome(error is None, bytes(output), used, text, _depth(computation))


def _depth(computation: ComputationAPI) -> int:
    return max((1 + _depth(child) for child in computation.children), default=0)


def _log_entry(row: tuple[Any, ...]) -> LogEntry:
    number, log_index, tx_index, block_hash, tx_hash, address, topic0, topic1, topic2, topic3, data = row
    topics = tuple(topic for topic in (topic0, topic1, topic2, topic3) if topic is not None)
    return LogEntry(number, log_index, tx_index, block_hash, tx_hash, address, topics, data)


def _beacon(seed: int, number: int) -> bytes:
    # PREVRANDAO stands in for Filecoin's beacon; following from the seed keeps runs reproducible.
    return keccak(b"FedVM beacon" + seed.to_bytes(32, "big") + number.to_bytes(8, "big"))


def _over_message_size(size: int) -> str:
    return (
        f"message too large: {size} bytes of calldata or init code, at most {MAX_CALLDATA_BYTES} fit into "
        "Filecoin's 64 KiB message; split it over several transactions"
    )
