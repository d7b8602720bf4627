"""Straight-line code over one machine's words: on numbers, and on z3 terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import z3

from fedvm.compiler.assembler import Assembler, disassemble

WORD = 2**256


def emitted(inputs: Sequence[str], emit: Callable[[Assembler], None]) -> bytes:
    """The code that `emit` appends for a stack of these items; it must leave exactly one."""
    a = Assembler()
    a.stack = list(inputs)
    emit(a)
    assert len(a.stack) == 1, a.stack
    return a.assemble()[0]


def execute(code: bytes, stack: Sequence[int]) -> int:
    """Run straight-line code on numbers; returns the one item that is left."""
    return _run(code, list(stack), lambda value: value, _NUMBERS)


def execute_terms(code: bytes, stack: Sequence[z3.BitVecRef]) -> z3.BitVecRef:
    """Run straight-line code on 256-bit terms; returns the one item that is left."""
    return _run(code, list(stack), lambda value: z3.BitVecVal(value, 256), _TERMS)


def _run(code: bytes, stack: list[Any], constant: Callable[[int], Any], operators: dict[str, Any]) -> Any:
    for _, name, immediate in disassemble(code):
        if name.startswith("PUSH"):
            stack.append(constant(int.from_bytes(immediate, "big")))
        elif name.startswith("DUP"):
            stack.append(stack[-int(name[3:])])
        elif name.startswith("SWAP"):
            depth = int(name[4:]) + 1
            stack[-1], stack[-depth] = stack[-depth], stack[-1]
        elif name == "POP":
            stack.pop()
        else:
            first, second = stack.pop(), stack.pop()
            stack.append(operators[name](first, second))
    (result,) = stack
    return result


_NUMBERS: dict[str, Callable[[int, int], int]] = {
    "ADD": lambda a, b: (a + b) % WORD,
    "SUB": lambda a, b: (a - b) % WORD,
    "MUL": lambda a, b: a * b % WORD,
    "AND": lambda a, b: a & b,
    "OR": lambda a, b: a | b,
    "XOR": lambda a, b: a ^ b,
    "SHL": lambda a, b: b << a & WORD - 1 if a < 256 else 0,
    "SHR": lambda a, b: b >> a if a < 256 else 0,
}


def _multiply(a: z3.BitVecRef, b: z3.BitVecRef) -> z3.BitVecRef:
    """Multiplication by 2^k − 1 as a shift and a subtraction, which is the same and far easier to prove."""
    if z3.is_bv_value(b):
        a, b = b, a
    assert z3.is_bv_value(a), "only products with constants are emitted for lanes"
    factor = a.as_long()
    if factor & (factor + 1) == 0:
        return (b << factor.bit_length()) - b
    return a * b


_TERMS: dict[str, Callable[[Any, Any], Any]] = {
    "ADD": lambda a, b: a + b,
    "SUB": lambda a, b: a - b,
    "MUL": _multiply,
    "AND": lambda a, b: a & b,
    "OR": lambda a, b: a | b,
    "XOR": lambda a, b: a ^ b,
    "SHL": lambda a, b: b << a,
    "SHR": lambda a, b: z3.LShR(b, a),
}
