"""Tracks where every bit of a word came from, through shifts, masks, ORs and products with constants.

Moves between layouts are proved with it: code is interpreted on words whose bits are labels instead of values, and
what it stores must hold the expected labels. The result is true for all values at once. If a sum could carry, the bits
that the carry may reach become unknown, so nothing false can be proved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.assembler import AssemblyError, Instruction, Label
from fedvm.compiler.tiling import WORD_BITS

MASK = (1 << WORD_BITS) - 1
ZERO, ONE, UNKNOWN = 0, 1, -1
"""Codes of bits that are constant, and of those of which nothing is known. Labels are larger than ONE."""
FIRST_LABEL = 2

Bits: TypeAlias = NDArray[np.int64]
"""Codes of the 256 bits of a word, the lowest first."""

Value: TypeAlias = int | Bits
"""A number that is known, or a word of which the origin of every bit is."""


@lru_cache(maxsize=4096)
def _ones(value: int) -> NDArray[np.bool_]:
    raw = np.frombuffer((value & MASK).to_bytes(WORD_BITS // 8, "little"), np.uint8)
    return np.unpackbits(raw, bitorder="little").astype(np.bool_)


def bits_of(value: Value) -> Bits:
    """Codes `[256]` of a value; a number's bits are constants."""
    return _ones(value).astype(np.int64) if isinstance(value, int) else value


def fields(labels: Mapping[int, Sequence[int]]) -> Bits:
    """A word that holds the labels `labels[bit]` from each bit on, and zeros elsewhere.

    Raises AssemblyError if a field does not lie inside the word, or two overlap.
    """
    word = np.zeros(WORD_BITS, np.int64)
    for bit, codes in labels.items():
        if bit < 0 or bit + len(codes) > WORD_BITS:
            raise AssemblyError(f"a field of {len(codes)} bits at bit {bit} does not lie in a word")
        if word[bit : bit + len(codes)].any():
            raise AssemblyError(f"two fields overlap at bit {bit}")
        word[bit : bit + len(codes)] = codes
    return word


def _shifted(bits: Bits, amount: int) -> Bits:
    """Left by `amount`, right if negative."""
    result = np.zeros_like(bits)
    if abs(amount) < WORD_BITS:
        if amount >= 0:
            result[amount:] = bits[: WORD_BITS - amount]
        else:
            result[:amount] = bits[-amount:]
    return result


def _and(x: Value, y: Value) -> Value:
    if isinstance(x, int) and isinstance(y, int):
        return x & y
    a, b = bits_of(x), bits_of(y)
    either_zero = (a == ZERO) | (b == ZERO)
    same = np.where(a == ONE, b, np.where((b == ONE) | (a == b), a, UNKNOWN))
    return np.asarray(np.where(either_zero, ZERO, same), np.int64)


def _or(x: Value, y: Value) -> Value:
    if isinstance(x, int) and isinstance(y, int):
        return x | y
    a, b = bits_of(x), bits_of(y)
    either_one = (a == ONE) | (b == ONE)
    same = np.where(a == ZERO, b, np.where((b == ZERO) | (a == b), a, UNKNOWN))
    return np.asarray(np.where(either_one, ONE, same), np.int64)


def _add(x: Value, y: Value) -> Value:
    if isinstance(x, int) and isinstance(y, int):
        return (x + y) & MASK
    return _sum([bits_of(x), bits_of(y)])


def _sum(words: Sequence[Bits]) -> Bits:
    """A bit of the sum is known where one word at most has a bit that is not zero and no carry can come in: not even
    if every bit that may be set is."""
    stacked = np.stack(words) if words else np.zeros((1, WORD_BITS), np.int64)
    may_be_set = stacked != ZERO
    counts, carries, carry = may_be_set.sum(axis=0), np.zeros(WORD_BITS, np.int64), 0
    for i, count in enumerate(counts.tolist()):
        carries[i] = carry
        carry = (count + carry) // 2
    alone = np.where(may_be_set, stacked, 0).sum(axis=0)
    return np.asarray(np.where((counts <= 1) & (carries == 0), alone, UNKNOWN), np.int64)


def _multiply(x: Value, y: Value) -> Value:
    if isinstance(x, int) and isinstance(y, int):
        return x * y & MASK
    if isinstance(x, int):
        factor, word = x, bits_of(y)
    elif isinstance(y, int):
        factor, word = y, x
    else:
        return np.full(WORD_BITS, UNKNOWN, np.int64)
    return _sum([_shifted(word, i) for i in range(WORD_BITS) if factor >> i & 1])


def _shift(amount: Value, word: Value, sign: int) -> Value:
    if not isinstance(amount, int):
        return np.full(WORD_BITS, UNKNOWN, np.int64)
    if isinstance(word, int):
        return (word << amount) & MASK if sign > 0 else word >> amount
    return _shifted(word, sign * amount)


def _byte(index: Value, word: Value) -> Value:
    """One byte of a word, counted from the top."""
    if not isinstance(index, int):
        return np.full(WORD_BITS, UNKNOWN, np.int64)
    return _and(0xFF, _shift(max(0, WORD_BITS - 8 - 8 * index), word, -1)) if index < 32 else 0


def _differ(x: Value, y: Value) -> Value:
    if isinstance(x, int) and isinstance(y, int):
        return x ^ y
    return np.full(WORD_BITS, UNKNOWN, np.int64)


_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "AND": _and,
    "OR": _or,
    "XOR": _differ,
    "ADD": _add,
    "MUL": _multiply,
    "SHL": lambda amount, word: _shift(amount, word, 1),
    "SHR": lambda amount, word: _shift(amount, word, -1),
    "BYTE": _byte,
}


class Machine:
    """Interprets code that moves bits, loops included. stack: bottom first; stored: words by address."""

    def __init__(
        self,
        stack: Sequence[Value],
        load: Callable[[str, int], Bits],
        look_up: Callable[[Bits], Bits] | None = None,
    ) -> None:
        """load(opcode, address): the word that MLOAD or CALLDATALOAD finds where nothing was stored yet;
        look_up(address): the word that MLOAD finds at an address that depends on data."""
        self.stack: list[Value | Label] = list(stack)
        self.stored: dict[int, Bits] = {}
        self._load, self._look_up = load, look_up

    def run(self, instructions: Sequence[Instruction]) -> None:
        """Run from the first instruction to the end. Raises AssemblyError for an opcode that moves of values do not
        use."""
        at = {ins.label: i for i, ins in enumerate(instructions) if ins.label is not None}
        counter = 0
        while counter < len(instructions):
            instruction = instructions[counter]
            counter += 1
            if instruction.name in ("JUMP", "JUMPI"):
                label = self.stack.pop()
                if not isinstance(label, Label):
                    raise AssemblyError("a jump whose target is no label among moves")
                if instruction.name == "JUMP" or self._number():
                    counter = at[label]
            else:
                self._step(instruction)

    def _step(self, instruction: Instruction) -> None:
        name, stack = instruction.name, self.stack
        if name.startswith("PUSH"):
            value = instruction.immediate or 0
            if isinstance(value, str):
                raise AssemblyError(f"{name} of {value} among moves")
            stack.append(value)
        elif name.startswith("DUP"):
            stack.append(stack[-int(name[3:])])
        elif name.startswith("SWAP"):
            depth = int(name[4:]) + 1
            stack[-1], stack[-depth] = stack[-depth], stack[-1]
        elif name == "POP":
            stack.pop()
        elif name in _BINARY:
            stack.append(_BINARY[name](self.pop(), self.pop()))
        elif name == "MLOAD" and self._look_up is not None and isinstance(self.stack[-1], np.ndarray):
            stack.append(self._look_up(bits_of(self.pop())))
        elif name in ("MLOAD", "CALLDATALOAD"):
            address = self._number()
            known = self.stored.get(address) if name == "MLOAD" else None
            stack.append(self._load(name, address) if known is None else known)
        elif name == "MSTORE":
            address = self._number()
            self.stored[address] = bits_of(self.pop())
        elif name != "JUMPDEST":
            raise AssemblyError(f"{name} is no move")

    def pop(self) -> Value:
        """Take the top of the stack. Raises AssemblyError if it is a label."""
        value = self.stack.pop()
        if isinstance(value, Label):
            raise AssemblyError("a label is used as a number")
        return value

    def _number(self) -> int:
        value = self.stack.pop()
        if not isinstance(value, int):
            raise AssemblyError("an address or a condition of a move depends on data")
        return value
