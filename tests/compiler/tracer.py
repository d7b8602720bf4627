"""A small EVM of one contract that yields its whole state after every instruction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fedvm.compiler.assembler import disassemble

WORD = 2**256


def signed(value: int) -> int:
    return value - WORD if value >> 255 else value


BINARY = {
    "ADD": lambda a, b: a + b, "MUL": lambda a, b: a * b, "SUB": lambda a, b: a - b, "LT": lambda a, b: a < b,
    "GT": lambda a, b: a > b, "SLT": lambda a, b: signed(a) < signed(b), "SGT": lambda a, b: signed(a) > signed(b),
    "EQ": lambda a, b: a == b, "AND": lambda a, b: a & b, "OR": lambda a, b: a | b, "XOR": lambda a, b: a ^ b,
    "BYTE": lambda a, b: b >> 8 * (31 - a) & 255 if a < 32 else 0, "SHL": lambda a, b: b << a if a < 256 else 0,
    "SHR": lambda a, b: b >> a if a < 256 else 0, "SAR": lambda a, b: signed(b) >> min(a, 255),
}  # fmt: skip
UNARY = {"NOT": lambda a: ~a, "ISZERO": lambda a: a == 0}


@dataclass
class State:
    """Where the program stands. `returned`: the data it ended with (None while it runs)."""

    counter: int = 0
    stack: list[int] = field(default_factory=list)
    memory: bytearray = field(default_factory=bytearray)
    returned: bytes | None = None

    def pop(self) -> int:
        return self.stack.pop()

    def word(self, at: int) -> int:
        self.grow(at + 32)
        return int.from_bytes(self.memory[at : at + 32], "big")

    def grow(self, end: int) -> None:
        self.memory.extend(bytes(max(0, -(-end // 32) * 32 - len(self.memory))))


def trace(code: bytes, calldata: bytes) -> Iterator[tuple[int, str, State]]:
    """(offset, opcode, state after it) of each instruction that runs, until the program returns or reverts."""
    program = {offset: (name, immediate) for offset, name, immediate in disassemble(code)}
    state = State()
    while state.returned is None:
        offset = state.counter
        name, immediate = program[offset]
        state.counter += 1 + len(immediate)
        _step(state, name, immediate, program, calldata)
        yield offset, name, state


def _step(state: State, name: str, immediate: bytes, program, calldata: bytes) -> None:
    stack = state.stack
    if name.startswith("PUSH"):
        stack.append(int.from_bytes(immediate, "big"))
    elif name.startswith("DUP"):
        stack.append(stack[-int(name[3:])])
    elif name.startswith("SWAP"):
        depth = int(name[4:]) + 1
        stack[-1], stack[-depth] = stack[-depth], stack[-1]
    elif name in BINARY:
        stack.append(int(BINARY[name](state.pop(), state.pop())) % WORD)
    elif name in UNARY:
        stack.append(int(UNARY[name](state.pop())) % WORD)
    elif name == "POP":
        state.pop()
    elif name == "MLOAD":
        stack.append(state.word(state.pop()))
    elif name in ("MSTORE", "MSTORE8"):
        at, value = state.pop(), state.pop()
        size = 32 if name == "MSTORE" else 1
        state.grow(at + size)
        state.memory[at : at + size] = (value % 256**size).to_bytes(size, "big")
    elif name == "CALLDATALOAD":
        at = state.pop()
        stack.append(int.from_bytes(calldata[at : at + 32].ljust(32, b"\0"), "big"))
    elif name == "CALLDATASIZE":
        stack.append(len(calldata))
    elif name in ("MCOPY", "CALLDATACOPY"):
        to, at, size = state.pop(), state.pop(), state.pop()
        state.grow(max(to, at if name == "MCOPY" else 0) + size)
        source = bytes(state.memory) if name == "MCOPY" else calldata
        state.memory[to : to + size] = source[at : at + size].ljust(size, b"\0")
    elif name in ("JUMP", "JUMPI"):
        to = state.pop()
        if name == "JUMP" or state.pop():
            assert program[to][0] == "JUMPDEST"
            state.counter = to
    elif name in ("RETURN", "REVERT"):
        at, size = state.pop(), state.pop()
        state.grow(at + size)
        state.returned = bytes(state.memory[at : at + size])
    else:
        assert name == "JUMPDEST", name
