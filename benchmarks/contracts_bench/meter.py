"""What a transaction costs under three schedules: today's, that of Ethereum's next fork, and Filecoin's.

Today's is what the embedded chain charges, exact. The other two follow from what the transaction did, which is counted
opcode by opcode while it is mined:

* Ethereum's next fork: EIP-8037 (a byte of new state costs 1,530 gas, a slot has 64 bytes, an account 120) and
  EIP-8038 (access and writes of state), both in last call on 2026-11-01. What other proposals change, such as the
  price of calldata, is left as it is.
* Filecoin: an estimate. Opcodes as `fedvm.evm.opcodes` prices them; state, calls and messages as measured on the EVM
  actor of network version 28. Ranges are taken at their middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from eth.abc import OpcodeAPI

from fedvm.devnet.ledger import Ledger
from fedvm.devnet.vm import FilecoinComputation
from fedvm.evm.gas import (
    CHANGED_SLOT_GAS,
    CODE_BYTE_GAS,
    COLD_ACCOUNT_GAS,
    COLD_SLOT_GAS,
    CREATE_GAS,
    NEW_SLOT_GAS,
)
from fedvm.evm.opcodes import BY_BYTE, sweep

STATE_BYTE = 1_530
SLOT_BYTES, ACCOUNT_BYTES = 64, 120
COLD_ACCESS, SLOT_WRITE, CREATE_ACCESS = 3_000, 10_000, 11_000

_SLOAD, _SSTORE, _KECCAK, _CREATE, _CREATE2 = 0x54, 0x55, 0x20, 0xF0, 0xF5
_CALLS = {0xF1: 1, 0xF4: 1, 0xFA: 1}
"""Opcodes that call, and how deep in the stack the account lies."""
_ACCOUNTS = {0x31: 0, 0x3B: 0, 0x3C: 0, 0x3F: 0, **_CALLS}
_LOGS = range(0xA0, 0xA5)

_MESSAGE, _MESSAGE_BYTE = 2_089_765, 1_314
_FIRST_WRITE, _WRITE, _READ, _EVENT, _HASH = 2_150_000, 750_000, 128_000, 102_000, 19_000
_COLD_CALL, _WARM_CALL, _CALL_BYTE = 1_946_000, 1_446_000, 14.5
_CODE_BYTE, _SCAN_INSTRUCTION = 10.4, 84.4
_NEW_ACTOR, _NEW_CODE_BYTE = 52_000_000, 4_800
_OTHER = 600


@dataclass
class Work:
    """What one transaction did. gas: today's; filecoin: estimated; the rest are counts."""

    gas: int = 0
    filecoin: float = 0.0
    new_slots: int = 0
    changed_slots: int = 0
    cold_reads: int = 0
    cold_accounts: int = 0
    contracts: int = 0
    code_bytes: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            *(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    @property
    def next_fork(self) -> int:
        """Gas under EIP-8037 and EIP-8038."""
        slot = SLOT_BYTES * STATE_BYTE + SLOT_WRITE + COLD_ACCESS - NEW_SLOT_GAS
        contract = ACCOUNT_BYTES * STATE_BYTE + CREATE_ACCESS - CREATE_GAS
        return (
            self.gas
            + slot * self.new_slots
            + (SLOT_WRITE + COLD_ACCESS - CHANGED_SLOT_GAS) * self.changed_slots
            + (COLD_ACCESS - COLD_SLOT_GAS) * self.cold_reads
            + (COLD_ACCESS - COLD_ACCOUNT_GAS) * self.cold_accounts
            + contract * self.contracts
            + (STATE_BYTE - CODE_BYTE_GAS) * self.code_bytes
        )


@dataclass
class Meter:
    """The transactions since `metered` began, in order."""

    done: list[Work] = field(default_factory=list)

    def since(self, count: int) -> Work:
        """The sum over all transactions after the first `count`."""
        return sum(self.done[count:], Work())


class _Metered:
    """An opcode that is counted before it runs."""

    def __init__(self, code: int, opcode: Any, count: Callable[[int, Any], None]) -> None:
        self._code, self._opcode, self._count = code, opcode, count

    def __call__(self, computation: Any) -> Any:
        self._count(self._code, computation)
        return self._opcode(computation)


class _Counter:
    """Counts the opcodes of the transaction that is mined."""

    def __init__(self) -> None:
        self.work = Work()
        self._scans: dict[bytes, float] = {}

    def count(self, code: int, computation: Any) -> None:
        """Counts one opcode; the stack is still as the opcode will find it."""
        work, stack = self.work, [_int(item) for item in computation._stack.values[-3:]]
        if code == _SSTORE:
            self._write(computation, stack[-1], stack[-2])
        elif code == _SLOAD:
            work.filecoin += _READ
            work.cold_reads += self._is_cold(computation, stack[-1])
        elif code in _ACCOUNTS:
            self._account(code, computation, stack)
        elif code in (_CREATE, _CREATE2):
            work.contracts += 1
            work.filecoin += _NEW_ACTOR
        elif code in _LOGS:
            work.filecoin += _EVENT
        elif code == _KECCAK:
            work.filecoin += _HASH
        else:
            work.filecoin += BY_BYTE[code].filecoin if code in BY_BYTE else _OTHER

    def enter(self, computation: Any) -> None:
        """A contract's code is read and scanned before it runs."""
        code = bytes(computation.code._raw_code_bytes)
        if code not in self._scans:
            self._scans[code] = _CODE_BYTE * len(code) + _SCAN_INSTRUCTION * sum(1 for _ in sweep(code))
        self.work.filecoin += self._scans[code] + _CALL_BYTE * len(computation.msg.data)

    def _write(self, computation: Any, slot: int, value: int) -> None:
        work, account = self.work, computation.msg.storage_address
        state, cold = computation.state, self._is_cold(computation, slot)
        original = state.get_storage(account, slot, from_journal=False)
        current = state.get_storage(account, slot)
        first = work.new_slots + work.changed_slots == 0
        work.filecoin += _FIRST_WRITE if first else _WRITE
        if value == current or current != original:
            work.cold_reads += cold
        elif original == 0:
            work.new_slots += 1
        else:
            work.changed_slots += 1

    def _account(self, code: int, computation: Any, stack: list[int]) -> None:
        address = stack[-1 - _ACCOUNTS[code]].to_bytes(32, "big")[12:]
        cold = not computation.state.is_address_warm(address)
        self.work.cold_accounts += cold
        self.work.filecoin += _COLD_CALL if cold else _WARM_CALL

    @staticmethod
    def _is_cold(computation: Any, slot: int) -> bool:
        return not computation.state.is_storage_warm(computation.msg.storage_address, slot)


def _int(item: int | bytes) -> int:
    """An item of py-evm's stack, which may be bytes."""
    return item if isinstance(item, int) else int.from_bytes(item, "big")


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what every transaction does that is mined on an embedded chain while this lasts."""
    meter, counter = Meter(), _Counter()
    opcodes, apply, append = (
        FilecoinComputation.opcodes,
        FilecoinComputation.__dict__["apply_computation"],
        Ledger.append,
    )

    def apply_counted(cls: Any, state: Any, message: Any, *context: Any, **parent: Any) -> Any:
        computation = apply.__func__(cls, state, message, *context, **parent)
        counter.enter(computation)
        if message.is_create and computation.is_success:
            counter.work.code_bytes += len(computation.output)
            # What an opcode creates was counted with the opcode.
            counter.work.filecoin += _NEW_ACTOR if message.depth == 0 else 0
            counter.work.filecoin += _NEW_CODE_BYTE * len(computation.output)
        return computation

    def append_counted(self: Ledger, raw: bytes, **how: Any) -> bytes:
        counter.work = Work()
        tx_hash = append(self, raw, **how)
        receipt, included = self.receipt(tx_hash), self.included(tx_hash)
        assert receipt is not None and included is not None
        counter.work.gas = receipt.gas_used
        counter.work.filecoin += _MESSAGE + _MESSAGE_BYTE * len(included.transaction.data)
        meter.done.append(counter.work)
        # What is only called or estimated until the next one is no transaction's.
        counter.work = Work()
        return tx_hash

    FilecoinComputation.opcodes = {
        code: cast(OpcodeAPI, _Metered(code, opcode, counter.count)) for code, opcode in opcodes.items()
    }
    FilecoinComputation.apply_computation = classmethod(apply_counted)  # type: ignore[assignment]
    Ledger.append = append_counted  # type: ignore[method-assign]
    try:
        yield meter
    finally:
        FilecoinComputation.opcodes = opcodes
        FilecoinComputation.apply_computation = apply  # type: ignore[method-assign]
        Ledger.append = append  # type: ignore[method-assign]
