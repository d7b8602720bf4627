"""Would the checks see a wrong program? One opcode or number of a small program is changed at a time.

A mutant is killed if any answer, refusal or gas differs. A survivor must be one of those that compute the same: its
whole state is followed beside the original's. Either it never differs (operands without common bits make ADD, OR and
XOR one), or the difference ends where its bits are dropped: at a mask or a shift (lanes that nobody keeps), at a POP
(the word that only touches memory), in a number that only has to be large or non-zero, in memory nobody reads again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from evm import CLASSIFY, PREDICT, Outcome, call, encode, fresh
from exact_bench.inputs import hard_inputs
from graphs import draw_input
from tracer import trace

from fedvm.compiler import compile_integer
from fedvm.compiler.assembler import disassemble
from fedvm.compiler.graph import INPUT, Conv, Dense, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import run
from fedvm.evm.opcodes import OPCODES

ALIKE = ("ADD", "SUB", "MUL", "AND", "OR", "XOR", "SHL", "SHR", "LT", "GT", "SGT", "SLT", "EQ")
DROPPING = ("AND", "SHL", "SHR", "POP")
EXCHANGED = {
    **{name: tuple(o for o in ALIKE if o != name) for name in ALIKE},
    "MLOAD": ("CALLDATALOAD", "NOT", "ISZERO"), "CALLDATALOAD": ("MLOAD", "NOT"), "MSTORE": ("MSTORE8",),
    "ISZERO": ("NOT",), "CALLDATASIZE": ("PUSH0",), "PUSH0": ("CALLDATASIZE",), "RETURN": ("REVERT",),
    "REVERT": ("RETURN",), "POP": ("JUMPDEST",), "MCOPY": ("CALLDATACOPY",), "JUMPI": ("MSTORE",), "JUMP": ("POP",),
}  # fmt: skip


def network(seed: int = 1280) -> IntegerGraph:
    """Padding, stride, pooling, a residual sum, per-output shifts and a dense layer, as small as can be."""
    rng = np.random.default_rng(seed)

    def layer(name, terms, outputs, shape, high: int | None = 15, pool=None, least=11):
        shift = np.zeros(outputs, np.int64) if high is None else least + np.arange(outputs) % 2
        bias = rng.integers(-3000, 3000, outputs)
        return IntegerLayer(name, terms, bias, shift, shape, np.ones(outputs), 0, high, pool)

    def weights(*shape):
        return rng.integers(-127, 128, shape)

    identity = Conv("a", np.full((2, 1, 1, 1), 127), groups=2)
    graph = IntegerGraph(
        draw_input((1, 5, 6), "CHW"),
        (
            layer("a", (Conv(INPUT, weights(2, 1, 3, 3), pads=(1, 1, 1, 1), pad_value=9),), 2, (2, 2, 3), 63,
                  MaxPool((2, 2), (2, 2))),
            layer("b", (Conv("a", weights(2, 2, 2, 3), pads=(1, 1, 0, 1), pad_value=5), identity), 2, (2, 2, 3),
                  least=9),
            layer("scores", (Dense("b", weights(3, 12)),), 3, (3, 1, 1), None),
        ),
    )  # fmt: skip
    *inner, last = graph.layers
    balance = np.median(run(graph, hard_inputs(graph, 40, 3)), axis=0).astype(np.int64)
    return replace(
        graph, layers=(*inner, replace(last, bias=last.bias - balance))
    )  # so that every class wins


@cache
def program() -> bytes:
    (code,) = compile_integer(network()).codes
    return code


@cache
def calls() -> tuple[bytes, ...]:
    """Predictions and classifications of hard inputs, and calls that must be refused."""
    graph = network()
    inputs = [row.tobytes() for row in hard_inputs(graph, 40, 3)]
    count = len(inputs[0])
    answered = [encode(PREDICT, data) for data in inputs] + [encode(CLASSIFY, data) for data in inputs]
    exact = encode(PREDICT, inputs[9])[: 68 + count]
    refused = [
        b"", PREDICT, encode(PREDICT, b""), encode(PREDICT, inputs[9] + b"\1"), encode(CLASSIFY, inputs[9][1:]),
        encode(b"\1\2\3\4", inputs[9]), exact[:-1], exact[:35] + b"\x21" + exact[36:],
        exact[:4] + b"\1" + exact[5:], exact[:36] + b"\1" + exact[37:],
        bytes([PREDICT[0] ^ 1]) + exact[1:], PREDICT[:3] + bytes([PREDICT[3] ^ 128]) + exact[4:],
    ]  # fmt: skip
    return (*answered, exact, exact + b"\xff" * 40, *refused)


@cache
def expected() -> tuple[Outcome, ...]:
    return tuple(outcomes(program()))


def outcomes(code: bytes) -> Iterator[Outcome]:
    evm = fresh([code])
    for calldata in calls():
        yield call(evm, 0, calldata, gas=200_000)


@dataclass(frozen=True)
class Mutant:
    """A program that differs in the instruction at `offset`."""

    code: bytes
    offset: int
    before: str
    after: str


def mutate(code: bytes, rng: random.Random) -> Mutant:
    """Change one instruction at random: another opcode of the same form, or another number."""
    while True:
        offset, name, immediate = rng.choice(disassemble(code))
        changed = bytearray(code)
        if immediate:
            value = int.from_bytes(immediate, "big")
            other = rng.choice(
                [value ^ 1 << rng.randrange(8 * len(immediate)), value + 1, value - 1, value + 32]
            )
            other %= 256 ** len(immediate)
            changed[offset + 1 : offset + 1 + len(immediate)] = other.to_bytes(len(immediate), "big")
            return Mutant(bytes(changed), offset, f"{name} {value:#x}", f"{name} {other:#x}")
        after = _exchange(name, rng)
        if after:
            changed[offset] = OPCODES[after].code
            return Mutant(bytes(changed), offset, name, after)


def _exchange(name: str, rng: random.Random) -> str | None:
    for stem in ("DUP", "SWAP"):
        if name.startswith(stem):
            depth = int(name[len(stem) :])
            return f"{stem}{rng.choice([d for d in (depth - 1, depth + 1, depth + 2) if 1 <= d <= 16])}"
    return rng.choice(EXCHANGED[name]) if name in EXCHANGED else None


def killed(mutant: Mutant) -> bool:
    return any(got != wanted for got, wanted in zip(outcomes(mutant.code), expected(), strict=True))


# -- why a mutant survives --------------------------------------------------------------------------------------------


def explain(mutant: Mutant) -> str:
    """What makes the mutant equal to the original on every call: "" if nothing known does."""
    reasons = {_difference(mutant, calldata) for calldata in calls()} - {""}
    if not reasons:
        return _never_differs(mutant)
    return "absorbed: " + ", ".join(sorted(reasons)) if "?" not in reasons else ""


def _difference(mutant: Mutant, calldata: bytes) -> str:
    """How a difference of the states ends: at which kind of opcode; "" if there is none, "?" if it stays."""
    differed, ends = False, set()
    pushed = False
    pairs = zip(trace(program(), calldata), trace(mutant.code, calldata), strict=True)
    for (offset, name, a), (_, _, b) in pairs:
        assert a.counter == b.counter or offset == mutant.offset
        same = a.stack == b.stack and a.memory == b.memory
        if differed and same:
            ends.add("a number that decides nothing" if pushed and name not in DROPPING else name)
        pushed = offset == mutant.offset and name.startswith("PUSH")
        differed = not same
        if a.returned is not None and a.returned != b.returned:
            return "?"
    if differed:
        return "memory that nobody reads"
    return ", ".join(sorted(ends))


def _never_differs(mutant: Mutant) -> str:
    kinds = {mutant.before, mutant.after}
    if kinds <= {"ADD", "OR", "XOR"}:
        return "equal: operands without common bits"
    if kinds <= {"SUB", "XOR"}:
        return "equal: subtraction without borrow"
    if mutant.before.startswith(("DUP", "SWAP")):
        return "equal: the same number twice on the stack"
    if kinds <= {"GT", "LT", "SGT", "SLT", "EQ", "AND", "MUL"}:
        return "equal: the same truth for every call"
    return "equal: a result that no input changes" if _constant_result(mutant.offset) else ""


def _constant_result(offset: int) -> bool:
    """Whether the instruction leaves the same on every call that is answered (an address, a count, a bound that no sum
    reaches)."""
    seen = set()
    for calldata, outcome in zip(calls(), expected(), strict=True):
        if outcome.returned:
            found = [state.stack[-1:] for at, _, state in trace(program(), calldata) if at == offset]
            seen.add(tuple(map(tuple, found)))
    return len(seen) == 1


def campaign(count: int, seed: int) -> tuple[float, Counter[str], list[Mutant]]:
    """(share killed, explanations of survivors, survivors without one) of `count` mutants."""
    rng = random.Random(seed)
    reasons: Counter[str] = Counter()
    unexplained: list[Mutant] = []
    dead = 0
    for _ in range(count):
        mutant = mutate(program(), rng)
        if killed(mutant):
            dead += 1
            continue
        reason = explain(mutant)
        reasons[reason] += 1
        if not reason:
            unexplained.append(mutant)
    return dead / count, reasons, unexplained


def assert_seen(count: int, seed: int) -> None:
    share, reasons, unexplained = campaign(count, seed)
    print(f"{count} mutants, {share:.1%} killed, survivors: {dict(reasons)}")
    assert not unexplained, [(m.offset, m.before, m.after) for m in unexplained]
    assert share > 0.8


def test_the_small_program_is_right():
    graph = network()
    inputs = hard_inputs(graph, 40, 3)
    assert [o.returned for o in expected()] == [True] * 82 + [False] * 12
    scores = run(graph, inputs)
    assert len({int(s.argmax()) for s in scores}) == 3 and (scores < 0).any() and (scores > 0).any()
    for calldata, outcome in zip(calls(), expected(), strict=True):
        *_, (_, _, state) = trace(program(), calldata)
        assert state.returned == outcome.data  # the tracer agrees with revm


def test_mutants_are_killed():
    assert_seen(60, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_mutants_are_killed():
    assert_seen(1000, seed=2)
