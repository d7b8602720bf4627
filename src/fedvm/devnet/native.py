"""Pure programs of the embedded chain run in revm instead of py-evm, some hundred times faster.

py-evm takes seconds for a network's million opcodes, revm a millisecond. A message is handed over when the
code it runs, and all code it can reach, uses arithmetic, memory, calldata, code and static or delegate calls
only: then the result and the gas follow from the codes, the input, the gas limit and the set of warm
addresses, all of which are passed on. Whatever does not end in success is left to py-evm, so that its own
rules for failures hold; so is code that reaches an account it does not name.

Only where a program swallows the failure of a part it called may the two differ afterwards: addresses
touched by the failed part stay warm here. Programs compiled by FedVM pass failures on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from eth.abc import MessageAPI, StateAPI
from eth_typing import Address

from fedvm.evm.opcodes import PUSH20, sweep
from fedvm.evm.revm import CALLER, run_fresh

MIN_CODE_BYTES: Final = 1_024
"""Shorter code is not worth handing over."""

MAX_ACCOUNTS: Final = 256

_PURE: Final = frozenset(
    [
        *range(0x00, 0x0C),  # STOP, arithmetic
        *range(0x10, 0x1E),  # comparison, bits
        0x20,  # KECCAK256
        *(0x35, 0x36, 0x37, 0x38, 0x39),  # calldata, own code
        *(0x3B, 0x3C, 0x3D, 0x3E),  # EXTCODESIZE, EXTCODECOPY, return data
        *range(0x50, 0x54),  # POP, memory
        *range(0x56, 0x5C),  # jumps, PC, MSIZE, GAS
        *(0x5E, 0x5F),  # MCOPY, PUSH0
        *range(0x60, 0xA0),  # PUSH, DUP, SWAP
        *(0xF3, 0xF4, 0xFA, 0xFD, 0xFE),  # RETURN, DELEGATECALL, STATICCALL, REVERT, INVALID
    ]
)


@dataclass(frozen=True)
class NativeOutcome:
    """A successful run: return data, execution gas, and the addresses that are warm afterwards."""

    output: bytes
    gas_used: int
    touched: tuple[Address, ...]


def run_natively(state: StateAPI, message: MessageAPI) -> NativeOutcome | None:
    """Run a message in revm, or return None if it must be left to py-evm."""
    if (
        message.is_create
        or message.value
        or message.code_address != message.storage_address
        or len(message.code) < MIN_CODE_BYTES
    ):
        return None
    codes = _reachable_codes(state, Address(message.code_address), bytes(message.code))
    if codes is None:
        return None
    entry = "0x" + message.code_address.hex()
    warm = [address for address in codes if state.is_address_warm(_canonical(address)) and address != entry]
    result, touched = run_fresh(codes, entry, bytes(message.data), message.gas, warm)
    unknown = touched - codes.keys() - _ALWAYS_LOADED
    if not result.success or unknown:
        return None
    addresses = tuple(_canonical(address) for address in sorted(touched & codes.keys()))
    return NativeOutcome(result.output, result.gas_used, addresses)


def is_pure(code: bytes) -> bool:
    """Whether every opcode of ``code`` is on the list; code that begins with STOP is data, which is pure."""
    return code[:1] == b"\x00" or _scan(code).pure


# revm loads the sender of a call and the block's beneficiary; both are warm on any chain.
_ALWAYS_LOADED: Final = frozenset({CALLER, "0x" + "00" * 20})


@dataclass(frozen=True)
class _Scan:
    pure: bool
    named: frozenset[bytes]


@lru_cache(maxsize=MAX_ACCOUNTS)
def _scan(code: bytes) -> _Scan:
    """Sweep over the opcodes: are all of them pure, and which addresses do PUSH20 immediates name?"""
    named = set()
    for instruction in sweep(code):
        if instruction.code not in _PURE:
            return _Scan(False, frozenset())
        if instruction.code == PUSH20:
            named.add(instruction.immediate.ljust(20, b"\x00"))
    return _Scan(True, frozenset(named))


def _reachable_codes(state: StateAPI, entry: Address, code: bytes) -> dict[str, bytes] | None:
    """The codes of ``entry`` and of all contracts that code names, or None if one of them is not pure."""
    codes: dict[str, bytes] = {}
    waiting = [(entry, code)]
    while waiting:
        address, runtime = waiting.pop()
        if not is_pure(runtime) or len(codes) >= MAX_ACCOUNTS:
            return None
        codes["0x" + address.hex()] = runtime
        if runtime[:1] == b"\x00":
            continue
        for named in sorted(_scan(runtime).named):
            if "0x" + named.hex() not in codes:
                named_code = bytes(state.get_code(Address(named)))
                if named_code:
                    waiting.append((Address(named), named_code))
    return codes


def _canonical(address: str) -> Address:
    return Address(bytes.fromhex(address[2:]))
