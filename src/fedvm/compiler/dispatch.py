"""The interface of an entry contract: how it checks its calldata, and how it returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

from fedvm.compiler.assembler import Assembler
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.kernels.scores import emit_return_class, emit_return_scores, emit_scores
from fedvm.compiler.layout import Plan
from fedvm.evm.calls import CLASSIFY, INPUT_AT, PREDICT, selector

WRONG_LENGTH = selector("WrongInputLength(uint256,uint256)")
MALFORMED = selector("MalformedInput()")
PART_FAILED = selector("PartFailed()")
UNKNOWN = selector("UnknownFunction()")


def begin_program(a: Assembler, count: int) -> None:
    """Dispatch and validation of an input of `count` bytes. Leaves "class" on the stack: 1 for classify, 0 for
    predict."""
    with a.section("entry"):
        a.push(0)
        a.op("CALLDATALOAD")
        a.push(224)
        a.op("SHR", result="selector")
        a.dup("selector")
        a.push(int.from_bytes(CLASSIFY, "big"))
        a.op("EQ", result="class")
        a.swap(1)
        a.push(int.from_bytes(PREDICT, "big"))
        a.op("EQ", result="predict")
        a.dup("class")
        a.op("OR", result="known")
        require(a, UNKNOWN)
        # the canonical encoding of one bytes argument, so that the input begins at a fixed place
        a.push(4)
        a.op("CALLDATALOAD")
        a.push(32)
        a.op("EQ")
        a.push(INPUT_AT + count - 1)
        a.op("CALLDATASIZE", "GT", "AND", result="canonical")
        a.push(36)
        a.op("CALLDATALOAD")
        a.push(count)
        a.op("EQ", result="fits")
        ok = a.new_label("length_ok", [*a.stack[:-1]])
        a.jump_if(ok)
        with a.failure(), _wrong_length(a, count):
            a.push(36)
            a.op("CALLDATALOAD")
        a.place(ok, reached=False)
        require(a, MALFORMED)


def begin_stage(a: Assembler, size: int) -> None:
    """Check that the calldata is a state (or an input) of `size` bytes, and nothing else."""
    with a.section("entry"):
        a.push(size)
        a.op("CALLDATASIZE", "EQ", result="fits")
        ok = a.new_label("length_ok", a.stack[:-1])
        a.jump_if(ok)
        with a.failure(), _wrong_length(a, size):
            a.op("CALLDATASIZE")
        a.place(ok, reached=False)


def end_program(a: Assembler, plan: Plan, source: Place, output: int) -> dict[str, int]:
    """Append the two ways to return the scores (predict and classify). Returns the gas of each way alone."""
    with a.section("scores"):
        emit_scores(a, plan.layers[-1], plan.graph.scores.order, source, output + 64)
    return return_scores(a, prod(plan.layers[-1].layer.shape), output)


def return_scores(a: Assembler, count: int, output: int) -> dict[str, int]:
    """Append the two ways to return `count` scores that lie as words from output + 64 on. Stack: class → . Returns the
    gas of each way alone."""
    with a.section("scores"):
        classify = a.new_label("classify", a.stack[:-1])
        a.jump_if(classify)
        a.stack = []
    with a.section("predict"):
        emit_return_scores(a, count, output)
    with a.section("classify"):
        a.place(classify, reached=False)
        emit_return_class(a, count, output + 64)
    return {name: a.sections[name].gas for name in ("predict", "classify")}


def end_last_stage(a: Assembler, plan: Plan, source: Place, output: int) -> None:
    """Return the scores as the ABI's int32[]."""
    with a.section("scores"):
        emit_scores(a, plan.layers[-1], plan.graph.scores.order, source, output + 64)
        emit_return_scores(a, prod(plan.layers[-1].layer.shape), output)


def end_stage(a: Assembler, output: int, size: int) -> None:
    """Return the next state, which is at `output` in memory."""
    with a.section("entry"):
        a.push(size)
        a.push(output)
        a.op("RETURN")


def require(a: Assembler, error: bytes) -> None:
    """Revert with an error without arguments unless the top of the stack is true. Stack: condition →"""
    ok = a.new_label("ok", a.stack[:-1])
    a.jump_if(ok)
    with a.failure():
        a.push(int.from_bytes(error, "big") << 224)
        a.push(0)
        a.op("MSTORE")
        a.push(4)
        a.push(0)
        a.op("REVERT")
    a.place(ok, reached=False)


@contextmanager
def _wrong_length(a: Assembler, expected: int) -> Iterator[None]:
    """Revert with WrongInputLength; what is appended inside leaves the actual length on the stack."""
    a.push(int.from_bytes(WRONG_LENGTH, "big") << 224)
    a.push(0)
    a.op("MSTORE")
    a.push(expected)
    a.push(4)
    a.op("MSTORE")
    yield
    a.push(36)
    a.op("MSTORE")
    a.push(68)
    a.push(0)
    a.op("REVERT")
