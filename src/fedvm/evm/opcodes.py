"""Reading EVM code, and the opcodes that emitted programs use, with their cost on both machines.

EVM gas: the static part of the Ethereum cost (Yellow Paper appendix G, EIP-2929, EIP-3855, EIP-5656, EIP-3860).
Filecoin gas: what one execution costs in the wasm interpreter of Filecoin's EVM actor (network version 28),
measured by running the mainnet actor under the reference FVM's gas instrumentation; an estimate, not consensus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Opcode:
    """One opcode: its byte, stack items popped and pushed, EVM gas, Filecoin gas."""

    name: str
    code: int
    pops: int
    pushes: int
    gas: int
    filecoin: int


def _push_filecoin(size: int) -> int:
    known = {0: 429, 1: 553, 2: 593}
    if size in known:
        return known[size]
    return 553 + 20 * size if size <= 8 else round(1641 + 0.4 * size)


_TABLE = (
    ("STOP", 0x00, 0, 0, 0, 200),
    ("ADD", 0x01, 2, 1, 3, 805),
    ("MUL", 0x02, 2, 1, 5, 2849),
    ("SUB", 0x03, 2, 1, 3, 799),
    ("LT", 0x10, 2, 1, 3, 1009),
    ("GT", 0x11, 2, 1, 3, 1009),
    ("SLT", 0x12, 2, 1, 3, 1033),
    ("SGT", 0x13, 2, 1, 3, 1033),
    ("EQ", 0x14, 2, 1, 3, 953),
    ("ISZERO", 0x15, 1, 1, 3, 615),
    ("AND", 0x16, 2, 1, 3, 633),
    ("OR", 0x17, 2, 1, 3, 633),
    ("XOR", 0x18, 2, 1, 3, 633),
    ("NOT", 0x19, 1, 1, 3, 615),
    ("BYTE", 0x1A, 2, 1, 3, 900),
    ("SHL", 0x1B, 2, 1, 3, 1113),
    ("SHR", 0x1C, 2, 1, 3, 1053),
    ("SAR", 0x1D, 2, 1, 3, 1261),
    ("CALLDATALOAD", 0x35, 1, 1, 3, 2117),
    ("CALLDATASIZE", 0x36, 0, 1, 2, 445),
    ("CALLDATACOPY", 0x37, 3, 0, 3, 1873),
    ("CODECOPY", 0x39, 3, 0, 3, 1881),
    ("RETURNDATASIZE", 0x3D, 0, 1, 2, 445),
    ("RETURNDATACOPY", 0x3E, 3, 0, 3, 1873),
    ("EXTCODECOPY", 0x3C, 4, 0, 0, 1_950_000),
    ("POP", 0x50, 1, 0, 2, 289),
    ("MLOAD", 0x51, 1, 1, 3, 2065),
    ("MSTORE", 0x52, 2, 0, 3, 1410),
    ("MSTORE8", 0x53, 2, 0, 3, 670),
    ("JUMP", 0x56, 1, 0, 8, 367),
    ("JUMPI", 0x57, 2, 0, 10, 409),
    ("GAS", 0x5A, 0, 1, 2, 14600),
    ("JUMPDEST", 0x5B, 0, 0, 1, 224),
    ("MCOPY", 0x5E, 3, 0, 3, 2241),
    ("RETURN", 0xF3, 2, 0, 0, 600),
    ("STATICCALL", 0xFA, 6, 1, 0, 1_946_000),
    ("REVERT", 0xFD, 2, 0, 0, 600),
    ("INVALID", 0xFE, 0, 0, 0, 200),
)

OPCODES: dict[str, Opcode] = {name: Opcode(name, *rest) for name, *rest in _TABLE}
OPCODES["PUSH0"] = Opcode("PUSH0", 0x5F, 0, 1, 2, _push_filecoin(0))
for _n in range(1, 33):
    OPCODES[f"PUSH{_n}"] = Opcode(f"PUSH{_n}", 0x5F + _n, 0, 1, 3, _push_filecoin(_n))
for _n in range(1, 17):
    OPCODES[f"DUP{_n}"] = Opcode(f"DUP{_n}", 0x7F + _n, _n, _n + 1, 3, 691)
    OPCODES[f"SWAP{_n}"] = Opcode(f"SWAP{_n}", 0x8F + _n, _n + 1, _n + 1, 3, 676)

BY_BYTE: dict[int, Opcode] = {op.code: op for op in OPCODES.values()}

PUSH1: Final = 0x60
PUSH20: Final = 0x73
PUSH32: Final = 0x7F


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction in some code: its offset, its opcode byte, and the bytes it pushes (fewer if the code ends)."""

    offset: int
    code: int
    immediate: bytes = b""


def immediate_bytes(code: int) -> int:
    """How many bytes after the opcode are pushed by it."""
    return code - PUSH1 + 1 if PUSH1 <= code <= PUSH32 else 0


def sweep(code: bytes) -> Iterator[Instruction]:
    """The instructions of `code` in order, without treating pushed bytes as opcodes."""
    position = 0
    while position < len(code):
        after = position + 1 + immediate_bytes(code[position])
        yield Instruction(position, code[position], code[position + 1 : after])
        position = after
