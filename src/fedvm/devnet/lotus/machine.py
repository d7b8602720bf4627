"""Executes messages with py-evm and counts what Filecoin would charge for them.

py-evm's own gas never runs out before Filecoin's does: an EVM gas is some 500 times a Filecoin gas, and the machine
gives each message the gas of a whole block. A message whose Filecoin gas exceeds its limit is undone, as exit code 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from eth.abc import MessageAPI, StateAPI, TransactionContextAPI
from eth.constants import ZERO_ADDRESS
from eth.db.atomic import AtomicDB
from eth.exceptions import (
    FullStack,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfGas,
    Revert,
    VMError,
)
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.state import CancunState
from eth.vm.forks.cancun.transactions import CancunTransactionBuilder
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address, BlockNumber, Hash32

from fedvm.devnet.lotus import prices
from fedvm.devnet.vm import FILECOIN_PRECOMPILES, FilecoinComputation, FilecoinState
from fedvm.evm import gas as evm_gas
from fedvm.evm.keccak import keccak
from fedvm.evm.limits import BLOCK_GAS_LIMIT
from fedvm.evm.opcodes import BY_BYTE

EXIT_OK, EXIT_OUT_OF_GAS, EXIT_REVERTED, EXIT_INVALID = 0, 7, 33, 34
"""Exit codes: success, SysErrOutOfGas, and of the EVM actor EVM_CONTRACT_REVERTED, EVM_CONTRACT_INVALID_INSTRUCTION."""
_EXITS: Final = {
    OutOfGas: 7,
    InvalidInstruction: 35,
    InsufficientStack: 36,
    FullStack: 37,
    InvalidJumpDestination: 39,
}

_GET_RANDOMNESS: Final = Address(bytes.fromhex("fe00000000000000000000000000000000000006"))
_CALLS: Final = {0xF1: prices.CALL, 0xF4: prices.DELEGATE, 0xFA: prices.CALL}
_COPIES: Final = {0x37: 2, 0x39: 2, 0x3E: 2, 0x5E: 2}
"""Opcode → where the length lies, counted from the top of the stack."""


@dataclass(frozen=True)
class Message:
    """A call or, with ``to`` None, a creation; ``value`` in attoFIL."""

    sender: bytes
    to: bytes | None
    data: bytes
    value: int


@dataclass(frozen=True)
class Log:
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Outcome:
    """What a message came to. gas_used: Filecoin gas, at most the limit; error: of the virtual machine, in words."""

    exit_code: int
    output: bytes
    gas_used: int
    error: str
    logs: tuple[Log, ...]
    created: bytes | None


@dataclass
class Meter:
    """Filecoin gas of one message."""

    gas: float = 0.0
    stored: bool = False


class _Metered:
    """An opcode that is counted before py-evm runs it."""

    def __init__(self, function: Any, cost: Callable[[Any, Meter], float]) -> None:
        self._function, self._cost = function, cost

    def __call__(self, computation: Any) -> None:
        meter = computation.state.meter
        meter.gas += self._cost(computation, meter)
        self._function(computation=computation)


def _peek(computation: Any, depth: int) -> int:
    """A word of the stack, 0 where it is too short; py-evm will refuse the opcode then."""
    values = computation._stack.values
    if depth >= len(values):
        return 0
    word = values[-1 - depth]
    if isinstance(word, tuple):
        word = word[1]
    return word if isinstance(word, int) else int.from_bytes(word, "big")


def _address(word: int) -> Address:
    return Address((word % 2**160).to_bytes(20, "big"))


def _warmth(computation: Any, address: Address) -> int:
    return prices.WARM_DISCOUNT if computation.state.is_address_warm(address) else 0


def _cost_of(code: int) -> Callable[[Any, Meter], float]:
    known = BY_BYTE.get(code)
    if code in _CALLS:
        base, inputs = _CALLS[code], 4 if code == 0xF1 else 3

        def call(computation: Any, meter: Meter) -> float:
            size = min(_peek(computation, inputs), BLOCK_GAS_LIMIT)
            return (
                base
                - _warmth(computation, _address(_peek(computation, 1)))
                + evm_gas.PASSED_BYTE_FILECOIN * size
            )

        return call
    if code in _COPIES:
        static = known.filecoin if known else prices.ENVIRONMENT
        return lambda c, _: (
            static + evm_gas.COPY_BYTE_FILECOIN * min(_peek(c, _COPIES[code]), BLOCK_GAS_LIMIT)
        )
    if 0xA0 <= code <= 0xA4:
        return lambda *_: prices.LOG + prices.LOG_TOPIC * (code - 0xA0)
    match code:
        case 0x00 if known:  # STOP, which py-evm also runs where there is no code
            stop = known.filecoin
            return lambda c, _: stop if c.msg.code else 0
        case 0x55:  # SSTORE

            def store(_: Any, meter: Meter) -> float:
                first, meter.stored = not meter.stored, True
                return prices.FIRST_STORE if first else prices.STORE

            return store
        case 0x54:  # SLOAD
            return lambda c, _: (
                prices.WARM_LOAD
                if c.state.is_storage_warm(c.msg.storage_address, _peek(c, 0))
                else prices.COLD_LOAD
            )
        case 0x5C | 0x5D:  # TLOAD, TSTORE
            return lambda *_: prices.TRANSIENT
        case 0x20:  # KECCAK256
            return lambda c, _: prices.KECCAK + prices.KECCAK_BYTE * min(_peek(c, 1), BLOCK_GAS_LIMIT)
        case 0x3C:  # EXTCODECOPY
            return lambda c, _: (
                prices.CODE_READ
                - _warmth(c, _address(_peek(c, 0)))
                + evm_gas.DATA_BYTE_FILECOIN * min(_peek(c, 3), BLOCK_GAS_LIMIT)
            )
        case 0x3B | 0x3F:  # EXTCODESIZE, EXTCODEHASH
            return lambda c, _: prices.CODE_HASH - _warmth(c, _address(_peek(c, 0)))
        case 0x31:  # BALANCE
            return lambda *_: prices.BALANCE
    cost = known.filecoin if known else prices.STATIC.get(code, prices.ENVIRONMENT)
    return lambda *_: cost


def _randomness(computation: Any) -> Any:
    """`get_randomness` of Filecoin's EVM: the beacon's value of an epoch that has come, the same on every fork."""
    epoch = int.from_bytes(bytes(computation.msg.data[:32]).ljust(32, b"\0"), "big")
    if epoch > computation.state.block_number:
        raise VMError(f"epoch {epoch} has not come")
    computation.output = keccak(b"drand of a local chain" + epoch.to_bytes(32, "big"))
    return computation


class _WithBeacon(FilecoinComputation):
    _precompiles: Any = FILECOIN_PRECOMPILES | {_GET_RANDOMNESS: _randomness}


class _UncountedState(FilecoinState):
    computation_class = _WithBeacon


class _CountedComputation(_WithBeacon):
    """Every opcode is counted, so nothing is handed to another machine."""

    opcodes: Any = {  # noqa: RUF012, as in the class above
        code: _Metered(function, _cost_of(code)) for code, function in FilecoinComputation.opcodes.items()
    }

    @classmethod
    def apply_computation(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: Any = None,
    ) -> Any:
        meter: Meter = state.meter  # type: ignore[attr-defined]
        meter.gas += prices.entry(bytes(message.code))
        # Past FilecoinComputation, which would hand pure programs to revm.
        computation: Any = super(FilecoinComputation, cls).apply_computation(
            state, message, transaction_context, parent_computation
        )
        meter.gas += evm_gas.memory_filecoin(len(computation._memory))
        if parent_computation is not None:
            meter.gas += evm_gas.GIVEN_BACK_BYTE_FILECOIN * len(computation.output)
        return computation

    @classmethod
    def apply_create_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: Any = None,
    ) -> Any:
        computation: Any = super().apply_create_message(
            state, message, transaction_context, parent_computation
        )
        meter: Meter = state.meter  # type: ignore[attr-defined]
        meter.gas += prices.CREATED
        if computation.is_success:
            meter.gas += prices.CREATED_BYTE * len(computation.output)
        return computation


class _CountedState(CancunState):
    computation_class = _CountedComputation
    meter: Meter


@dataclass(frozen=True)
class Epoch:
    """The surroundings in which messages run. hashes: those of the epochs before, newest first."""

    number: int
    timestamp: int
    base_fee: int
    beacon: bytes
    hashes: Sequence[bytes]


class Machine:
    """State of a chain, by its root; every root that was ever computed stays readable."""

    def __init__(self, chain_id: int, balances: dict[bytes, int]) -> None:
        self.chain_id = chain_id
        self._db = AtomicDB()
        state = self._state(_CountedState, Epoch(0, 0, 0, bytes(32), ()), None)
        for address, balance in balances.items():
            state.set_balance(Address(address), balance)
        self.genesis_root = _persisted(state)

    def apply(
        self, root: bytes, epoch: Epoch, message: Message, gas_limit: int, fee_cap: int, premium: int
    ) -> tuple[bytes, Outcome]:
        """Execute a message that is in a tipset: its nonce is spent and its gas paid whatever becomes of it. Returns
        the new root."""
        state = self._state(_CountedState, epoch, root)
        outcome = _execute(state, message, gas_limit)
        fee = charged(outcome.gas_used, gas_limit, epoch.base_fee, fee_cap, premium)
        state.delta_balance(Address(message.sender), -fee)
        return _persisted(state), outcome

    def try_out(
        self, root: bytes, epoch: Epoch, message: Message, *, counted: bool, before: Sequence[Message] = ()
    ) -> Outcome:
        """Run a message and keep nothing, behind others that are sure to come first. Not counted, pure programs run in
        revm, and the gas is no Filecoin gas."""
        state = self._state(_CountedState if counted else _UncountedState, epoch, root)
        for earlier in before:
            _execute(state, earlier, BLOCK_GAS_LIMIT)
        return _execute(state, message, BLOCK_GAS_LIMIT)

    def balance(self, root: bytes, address: bytes) -> int:
        return int(self._read(root).get_balance(Address(address)))

    def nonce(self, root: bytes, address: bytes) -> int:
        return int(self._read(root).get_nonce(Address(address)))

    def code(self, root: bytes, address: bytes) -> bytes:
        return bytes(self._read(root).get_code(Address(address)))

    def storage(self, root: bytes, address: bytes, slot: int) -> int:
        return int(self._read(root).get_storage(Address(address), slot))

    def _read(self, root: bytes) -> Any:
        return self._state(FilecoinState, Epoch(0, 0, 0, bytes(32), ()), root)

    def _state(self, kind: Any, epoch: Epoch, root: bytes | None) -> Any:
        context = ExecutionContext(
            coinbase=ZERO_ADDRESS,
            timestamp=epoch.timestamp,
            block_number=BlockNumber(epoch.number),
            difficulty=0,
            mix_hash=Hash32(epoch.beacon),
            gas_limit=BLOCK_GAS_LIMIT,
            prev_hashes=[Hash32(value) for value in epoch.hashes],
            chain_id=self.chain_id,
            base_fee_per_gas=0,
            excess_blob_gas=0,
        )
        state = kind(self._db, context, root) if root is not None else kind(self._db, context, _EMPTY_ROOT)
        state.meter = Meter()
        return state


def charged(gas_used: int, gas_limit: int, base_fee: int, fee_cap: int, premium: int) -> int:
    """AttoFIL that a message costs: the base fee for the gas used and for the part of an over-estimate that is burnt,
    and the premium for the whole limit (lotus, chain/vm/burn.go)."""
    price = min(base_fee, fee_cap)
    tip = max(min(premium, fee_cap - price), 0)
    return price * (gas_used + overestimation_burn(gas_used, gas_limit)) + tip * gas_limit


def overestimation_burn(gas_used: int, gas_limit: int) -> int:
    """Gas that is burnt because the limit was more than 1.1 times what was used."""
    if not gas_used:
        return gas_limit
    over = min(max(gas_limit - 11 * gas_used // 10, 0), gas_used)
    return (gas_limit - gas_used) * over // gas_used


_EMPTY_ROOT: Final = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")


def _persisted(state: Any) -> bytes:
    root = bytes(state.make_state_root())
    state.persist()
    return root


def _execute(state: Any, message: Message, gas_limit: int) -> Outcome:
    state.meter = Meter(evm_gas.MESSAGE_FILECOIN + evm_gas.CALLDATA_BYTE_FILECOIN * len(message.data))
    sender = Address(message.sender)
    nonce = state.get_nonce(sender)
    unsigned = _BUILDER.create_unsigned_transaction(
        nonce=nonce,
        gas_price=0,
        gas=BLOCK_GAS_LIMIT,
        to=Address(message.to or b""),
        value=message.value,
        data=message.data,
    )
    with _undone_unless_kept(state) as keep:
        computation: Any = state.apply_transaction(SpoofTransaction(unsigned, from_=sender))
        error = computation.error if computation.is_error else None
        output = bytes(computation.output) if error is None or isinstance(error, Revert) else b""
        used = int(state.meter.gas + evm_gas.RETURNED_BYTE_FILECOIN * (len(output) if message.to else 0))
        if used <= gas_limit:
            keep()
            return _outcome(computation, error, output, used, message)
    state.set_nonce(sender, nonce + 1)
    return Outcome(EXIT_OUT_OF_GAS, b"", gas_limit, "out of gas", (), None)


def _outcome(computation: Any, error: Any, output: bytes, used: int, message: Message) -> Outcome:
    if error is None:
        logs = tuple(
            Log(bytes(address), tuple(topic.to_bytes(32, "big") for topic in topics), bytes(data))
            for address, topics, data in computation.get_log_entries()
        )
        created = None if message.to else bytes(computation.msg.storage_address)
        return Outcome(EXIT_OK, output, used, "", logs, created)
    if isinstance(error, Revert):
        return Outcome(EXIT_REVERTED, output, used, "contract reverted", (), None)
    return Outcome(
        _EXITS.get(type(error), EXIT_INVALID), b"", used, f"{type(error).__name__}: {error}", (), None
    )


@contextmanager
def _undone_unless_kept(state: Any) -> Any:
    snapshot = state.snapshot()
    kept: list[bool] = []
    yield lambda: kept.append(True)
    if kept:
        state.commit(snapshot)
    else:
        state.revert(snapshot)


_BUILDER: Final = CancunTransactionBuilder
