"""The cost of a prediction as one transaction, or as several with the state kept on chain in between.

Ethereum: upper bounds of the gas *limit* that a transaction of InferenceSession.sol needs, close ones, from the
schedule (Yellow Paper appendix G, EIP-2028, EIP-2929, EIP-3529, EIP-3860; 63/64 of EIP-150). Filecoin: estimates, from
the costs of the mainnet actor (see `fedvm.evm.gas`); keeping a byte there costs about as much as deploying one.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.compiler.contract import Linked
from fedvm.compiler.defaults import Target
from fedvm.compiler.view import WORD_BYTES
from fedvm.evm.calls import INPUT_AT
from fedvm.evm.gas import (
    CALLDATA_BYTE_FILECOIN,
    CALLDATA_BYTE_GAS,
    CHANGED_SLOT_GAS,
    CODE_BYTE_FILECOIN,
    CODE_BYTE_GAS,
    COLD_ACCOUNT_GAS,
    COLD_SLOT_GAS,
    CREATE_FILECOIN,
    CREATE_GAS,
    MESSAGE_FILECOIN,
    NEW_SLOT_GAS,
    RETURNED_BYTE_FILECOIN,
    SLOT_FILECOIN,
    TRANSACTION_GAS,
    WARM_ACCOUNT_GAS,
    memory_gas,
)
from fedvm.evm.limits import BLOCK_GAS_LIMIT, CODE_LIMIT, ETHEREUM_TRANSACTION_GAS_LIMIT

LIMITS: dict[Target, int] = {
    "ethereum": ETHEREUM_TRANSACTION_GAS_LIMIT,
    "filecoin": BLOCK_GAS_LIMIT,
}
"""Gas that one transaction may take: EIP-7825; Filecoin's block gas limit."""

CHUNK_BYTES = CODE_LIMIT - 1
"""Bytes that one data contract holds behind its STOP."""
SESSION_GAS = 32_000
"""What InferenceSession does in every transaction beside the terms below: slots, events, dispatch."""
START_GAS = 95_000
"""Slots of a new session."""
PIN_GAS = 1_000
"""Reading and comparing the code hash of one contract, the account's first access apart."""
SCORE_GAS = 900
"""Decoding, recording in the event and packing one score, its share of a slot apart."""
WORD_GAS = 15
"""Copies of a word of the state, at most five."""

SPARE_GAS, SPARE_FILECOIN = 20_000, 20_000_000
"""What InferenceSession wants left beside what it gives a stage (BoundedCall.sol)."""

SESSION_FILECOIN = 15_000_000
PIN_FILECOIN = 1_600_000
CHUNK_READ_FILECOIN = 3_100_000


@dataclass(frozen=True)
class Work:
    """What a stage does. gas, filecoin: of its execution; need: gas it must be given; contracts: how many it consists
    of, the entry included; takes, gives: bytes of state (of the input for the first stage); scores: how many it
    returns, in the last stage only."""

    gas: int
    need: int
    filecoin: int
    contracts: int
    takes: int
    gives: int
    scores: int
    first: bool

    @classmethod
    def of(cls, linked: Linked, takes: int, gives: int, scores: int, *, first: bool) -> Work:
        return cls(
            linked.gas, linked.need, linked.filecoin, len(linked.contracts), takes, gives, scores, first
        )


def call_gas(target: Target, gas: int, filecoin: int, input_bytes: int, scores: int) -> int:
    """Gas of a transaction that calls predict with the dearest input of that many bytes. gas, filecoin: of the
    execution; scores: how many it returns."""
    if target == "filecoin":
        passed = CALLDATA_BYTE_FILECOIN * (INPUT_AT + -(-input_bytes // WORD_BYTES) * WORD_BYTES)
        returned = RETURNED_BYTE_FILECOIN * WORD_BYTES * (2 + scores)
        return filecoin + MESSAGE_FILECOIN + passed + returned
    return gas + TRANSACTION_GAS + CALLDATA_BYTE_GAS * (INPUT_AT + input_bytes)


def given_gas(target: Target, need: int, filecoin: int) -> int:
    """Gas that InferenceSession gives a stage, whoever runs it: on Ethereum what it needs, which is exact; on Filecoin
    a quarter more than the estimate. need, filecoin: of the stage's row in the manifest."""
    return filecoin + filecoin // 4 if target == "filecoin" else need


def stage_gas(target: Target, work: Work) -> int:
    """Gas limit of the transaction of InferenceSession that runs a stage and keeps what it returns."""
    return _filecoin(work) if target == "filecoin" else _ethereum(work)


def _ethereum(work: Work) -> int:
    pinned = work.contracts * (COLD_ACCOUNT_GAS + PIN_GAS)
    before = TRANSACTION_GAS + SESSION_GAS + pinned
    if work.first:
        # start(bytes32,bytes): the input is calldata, and new slots hold the session
        before += START_GAS + CALLDATA_BYTE_GAS * (INPUT_AT + 64 + work.takes)
    else:
        before += _chunks(work.takes) * (COLD_SLOT_GAS + COLD_ACCOUNT_GAS + 4 * WARM_ACCOUNT_GAS)
    words = -(-work.takes // WORD_BYTES) + -(-work.gives // WORD_BYTES) + 64 + 6 * work.contracts
    before += WORD_GAS * words + memory_gas(words + 3 * work.scores)
    after = SCORE_GAS * work.scores
    if work.scores:
        after += NEW_SLOT_GAS * (1 + -(-work.scores // 8)) + CHANGED_SLOT_GAS * _chunks(work.takes)
    else:
        # the number of data contracts and their addresses overwrite those of the state before
        chunks = _chunk_sizes(work.gives)
        old = 0 if work.first else 1 + min(_chunks(work.takes), len(chunks))
        after += CHANGED_SLOT_GAS * old + NEW_SLOT_GAS * (1 + len(chunks) - old)
        after += CHANGED_SLOT_GAS * max(0, _chunks(work.takes) - len(chunks))
        after += sum(_data_contract_gas(size) for size in chunks)
    # the pins have touched the stage's contracts, so that its own calls find them warm
    warmed = (work.contracts - 1) * (COLD_ACCOUNT_GAS - WARM_ACCOUNT_GAS)
    given = given_gas("ethereum", work.need, work.filecoin)
    return before + max(work.gas - warmed + after, given + given // 63 + SPARE_GAS)


def _data_contract_gas(size: int) -> int:
    """Gas of creating a data contract of `size` bytes, without its storage slot."""
    words = -(-size // WORD_BYTES)
    return CREATE_GAS + CODE_BYTE_GAS * (size + 1) + 5 * words + memory_gas(words + 1)


def _filecoin(work: Work) -> int:
    before = MESSAGE_FILECOIN + SESSION_FILECOIN + PIN_FILECOIN * work.contracts
    if work.first:
        before += CALLDATA_BYTE_FILECOIN * (INPUT_AT + 64 + work.takes)
    else:
        before += CHUNK_READ_FILECOIN * _chunks(work.takes)
    after = sum(
        CREATE_FILECOIN + SLOT_FILECOIN + CODE_BYTE_FILECOIN * size for size in _chunk_sizes(work.gives)
    )
    after += SLOT_FILECOIN * (1 + -(-work.scores // 8))
    given = given_gas("filecoin", work.need, work.filecoin)
    return before + max(work.filecoin + after, given + given // 63 + SPARE_FILECOIN)


def _chunks(size: int) -> int:
    return -(-size // CHUNK_BYTES)


def _chunk_sizes(size: int) -> list[int]:
    return [min(CHUNK_BYTES, size - at) for at in range(0, size, CHUNK_BYTES)]
