"""The interpretation on labels says nothing that is not true of every value."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tracer import BINARY

from fedvm.compiler.assembler import Assembler, AssemblyError, Instruction
from fedvm.compiler.provenance import FIRST_LABEL, ONE, UNKNOWN, ZERO, Machine, bits_of, fields

WORD = 2**256


def random_moves(rng: random.Random, words: int) -> list[Instruction]:
    """Shifts, masks, ORs, sums and products with constants on a stack of some words; one result is left on top."""
    a = Assembler()
    for i in range(words):
        a.push(0, name=f"x{i}")
    start = len(a.instructions)
    a.dup("x0")
    for _ in range(rng.randint(1, 12)):
        kind = rng.choice(["SHL", "SHR", "AND", "OR", "MUL", "ADD"])
        if kind in ("SHL", "SHR"):
            a.push(rng.choice([0, 1, 7, 32, 100, 255, 256, 300]))
        elif kind == "AND":
            a.push(rng.getrandbits(256) | rng.getrandbits(256))
        elif kind == "MUL":
            a.push(sum(1 << rng.randrange(256) for _ in range(rng.randint(1, 4))))
        else:
            a.dup(f"x{rng.randrange(words)}")
        a.op(kind)
    return a.instructions[start:]


def evaluate(instructions: list[Instruction], words: list[int]) -> int:
    stack = list(words)
    for ins in instructions:
        if ins.name.startswith("PUSH"):
            stack.append(ins.immediate or 0)
        elif ins.name.startswith("DUP"):
            stack.append(stack[-int(ins.name[3:])])
        else:
            stack.append(int(BINARY[ins.name](stack.pop(), stack.pop())) % WORD)
    return stack[-1]


def no_load(opcode, address):
    raise AssertionError


def test_known_bits_are_the_bits_of_every_value():
    rng = random.Random(7)
    known = 0
    for _ in range(400):
        places = [rng.sample(range(0, 256, 16), rng.randint(1, 6)) for _ in range(2)]
        width = rng.choice([1, 5, 16])
        firsts = iter(range(FIRST_LABEL, 10_000, 16))
        labels = [{place: range(first := next(firsts), first + width) for place in at} for at in places]
        code = random_moves(rng, 2)
        machine = Machine([fields(word) for word in labels], no_load)
        machine.run(code)
        result = bits_of(machine.stack[-1])
        for _ in range(4):
            values = {
                label: rng.getrandbits(1) for word in labels for field in word.values() for label in field
            }
            words = [
                sum(values[label] << (at + i) for at, field in word.items() for i, label in enumerate(field))
                for word in labels
            ]
            found = evaluate(code, words)
            for bit, code_of in enumerate(result.tolist()):
                if code_of != UNKNOWN:
                    wanted = {ZERO: 0, ONE: 1}.get(code_of, values.get(code_of))
                    assert found >> bit & 1 == wanted
                    known += code_of > ONE
    assert known > 5_000  # something was said at all


def product(word, factor: int):
    a = Assembler()
    a.push(0, name="x")
    a.push(factor)
    a.op("MUL")
    machine = Machine([word], no_load)
    machine.run(a.instructions[1:])
    return bits_of(machine.stack[-1]).tolist()


def test_a_carry_makes_all_it_may_reach_unknown():
    result = product(fields({0: range(10, 14)}), 0b101)
    # bits 2 and 3 are sums of two bits each; no carry goes past the bit above the highest copy
    assert result[:7] == [10, 11, *[UNKNOWN] * 5] and not any(result[7:])


def test_a_bit_that_no_carry_can_reach_stays_known():
    """Copies that overlap below a field: their sum has no carry left where the field begins."""
    word = fields({0: [10], 4: [14]})
    assert product(word, 0b11)[:6] == [10, 10, ZERO, ZERO, 14, 14]
    overlapping = product(fields({0: [10], 1: [11], 3: [13]}), 0b11)
    assert overlapping[:5] == [10, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert product(fields({0: [10], 1: [11], 4: [14]}), 0b11)[4] == 14


@pytest.mark.parametrize("labels", [{-1: range(2, 4)}, {255: range(2, 4)}, {0: range(2, 9), 5: range(9, 12)}])
def test_fields_lie_apart_and_inside_the_word(labels):
    with pytest.raises(AssemblyError, match="field"):
        fields(labels)


def test_loops_run_and_stores_are_read_again():
    a = Assembler()
    a.push(0, name="x")
    with a.loop("at", 0, 32, 3):
        a.dup("x")
        a.dup("at")
        a.op("MSTORE")
    a.push(32)
    a.op("MLOAD")
    word = fields({8: range(2, 10)})
    machine = Machine([word], no_load)
    machine.run(a.instructions[1:])
    assert sorted(machine.stored) == [0, 32, 64]
    assert np.array_equal(bits_of(machine.stack[-1]), word)


def test_only_moves_are_interpreted():
    a = Assembler()
    a.push(0, name="x")
    a.op("NOT")
    with pytest.raises(AssemblyError, match="NOT is no move"):
        Machine([0], no_load).run(a.instructions[1:])
    a = Assembler()
    a.push(0, name="x")
    a.op("MLOAD")
    with pytest.raises(AssemblyError, match="depends on data"):
        Machine([fields({0: range(2, 4)})], no_load).run(a.instructions[1:])
