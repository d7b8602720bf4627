"""The lane primitives, proved for every word: by z3 over 256-bit words, exhaustively over narrow lanes."""

from __future__ import annotations

import itertools
import random

import pytest
import z3
from symbolic import emitted, execute, execute_terms

from fedvm.compiler import lanes
from fedvm.compiler.assembler import AssemblyError
from fedvm.compiler.lanes import Shape
from fedvm.compiler.restride import plan_restride, restride

# (lane bits, bits of a value): the widest value a lane can take, a typical one, the narrowest lane
SHAPES = [Shape(L, 256 // L, B) for L, B in ((5, 4), (9, 8), (17, 16), (18, 10), (21, 20), (32, 8), (64, 63))]


def names(shape: Shape) -> str:
    return f"L{shape.lane_bits}-B{shape.bits}"


def lane(word: z3.BitVecRef, shape: Shape, index: int) -> z3.BitVecRef:
    low = shape.lane_bits * index
    return z3.Extract(low + shape.lane_bits - 1, low, word)


def in_range(word: z3.BitVecRef, shape: Shape):
    """Every lane holds at most B bits and the slack none."""
    return word & ~z3.BitVecVal(shape.all((1 << shape.bits) - 1), 256) == 0


def prove(assumptions, claims):
    """Every claim follows from the assumptions. One query a claim: lanes are independent and so stay small."""
    for claim in claims:
        solver = z3.Solver()
        solver.set("timeout", 60_000)
        solver.add(*assumptions, z3.Not(claim))
        answer = solver.check()
        assert answer == z3.unsat, solver.model() if answer == z3.sat else answer


def maximum_of(shape: Shape, *, clean: bool = True):
    """The code of max(x, y) for x and y on the stack."""

    def emit(a):
        a.swap(1)  # the second operand is pushed when it is wanted, here a copy
        lanes.maximum(a, shape, lambda: a.dup("y"), clean=clean)
        a.swap(1)
        a.op("POP")

    return emitted(["x", "y"], emit)


def larger(a: z3.BitVecRef, b: z3.BitVecRef):
    return z3.If(z3.UGT(a, b), a, b)


def slack_is_clear(result: z3.BitVecRef, shape: Shape):
    used = shape.lanes * shape.lane_bits
    return z3.Extract(255, used, result) == 0 if used < 256 else z3.BoolVal(True)


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("shape", SHAPES, ids=names)
def test_maximum_is_the_maximum_in_every_lane(shape):
    code = maximum_of(shape)
    x, y = z3.BitVecs("x y", 256)
    result = execute_terms(code, [x, y])
    claims = [
        lane(result, shape, i) == larger(lane(x, shape, i), lane(y, shape, i)) for i in range(shape.lanes)
    ]
    prove([in_range(x, shape), in_range(y, shape)], [*claims, slack_is_clear(result, shape)])


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("shape", SHAPES, ids=names)
def test_the_second_operand_of_a_maximum_may_have_foreign_bits(shape):
    code = maximum_of(shape, clean=False)
    x, y = z3.BitVecs("x y", 256)
    result = execute_terms(code, [x, y])
    value = y & shape.all((1 << shape.bits) - 1)
    claims = [
        lane(result, shape, i) == larger(lane(x, shape, i), lane(value, shape, i)) for i in range(shape.lanes)
    ]
    prove([in_range(x, shape)], [*claims, slack_is_clear(result, shape)])


# two values in a lane: with as little room as they need, and with some
PAIRED = [Shape(L, 256 // L, B, (0, up)) for L, B, up in ((10, 4, 5), (17, 7, 8), (18, 6, 9), (21, 8, 11))]


def value_of(word: z3.BitVecRef, shape: Shape, index: int, up: int) -> z3.BitVecRef:
    """A value of a lane with its free bit."""
    low = shape.lane_bits * index + up
    return z3.Extract(low + shape.bits, low, word)


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("shape", PAIRED, ids=names)
def test_two_values_in_a_lane_are_compared_apart(shape):
    x, y = z3.BitVecs("x y", 256)
    result = execute_terms(maximum_of(shape), [x, y])
    claims = [
        value_of(result, shape, i, up) == larger(value_of(x, shape, i, up), value_of(y, shape, i, up))
        for i in range(shape.lanes)
        for up in shape.beside
    ]
    prove([in_range(x, shape), in_range(y, shape)], [*claims, in_range(result, shape)])


@pytest.mark.parametrize("shape", PAIRED, ids=names)
@pytest.mark.parametrize("zeros", [(0, 0), (5, 0), (3, 9), (15, 15)])
def test_two_values_in_a_lane_are_clipped_apart(shape, zeros):
    high, u = 7, z3.BitVec("u", 256)
    kept = [i for i in range(shape.lanes) if i % 3 != 1]
    keep = lanes.at(high, [shape.lane_bits * i + up for i in kept for up in shape.beside])
    result = execute_terms(emitted(["u"], lambda a: lanes.clamp(a, shape, zeros, high, keep)), [u])
    wide, claims = shape.bits + 3, []
    for i in range(shape.lanes):
        for zero, up in zip(zeros, shape.beside, strict=True):
            value = z3.ZeroExt(2, value_of(u, shape, i, up)) - zero
            top = z3.BitVecVal(high, wide)
            clipped = z3.If(value < 0, z3.BitVecVal(0, wide), z3.If(value > high, top, value))
            claims.append(z3.ZeroExt(2, value_of(result, shape, i, up)) == (clipped if i in kept else 0))
    prove([in_range(u, shape)], [*claims, in_range(result, shape)])


@pytest.mark.parametrize("shape", SHAPES, ids=names)
def test_flags_become_masks(shape):
    code = emitted(["m"], lambda a: lanes.flags_to_masks(a, shape))
    m = z3.BitVec("m", 256)
    result = execute_terms(code, [m])
    full = z3.BitVecVal((1 << shape.bits) - 1, shape.lane_bits)
    claims = [
        lane(result, shape, i) == z3.If(lane(m, shape, i) != 0, full, z3.BitVecVal(0, shape.lane_bits))
        for i in range(shape.lanes)
    ]
    prove([m & ~z3.BitVecVal(shape.flags, 256) == 0], claims)


def clamp_cases():
    for shape in SHAPES:
        top = (1 << shape.bits) - 1
        zeros = sorted({0, 1, top // 3, top})
        highs = sorted({1, (1 << (shape.bits + 1) // 2) - 1, top})
        yield from ((shape, zero, high) for zero in zeros for high in highs if high <= top)


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize(
    ("shape", "zero", "high"), clamp_cases(), ids=lambda v: v if isinstance(v, int) else names(v)
)
def test_clamp_clips_every_kept_lane(shape, zero, high):
    kept = [i for i in range(shape.lanes) if i % 3 != 1]
    keep = sum(high << shape.lane_bits * i for i in kept)
    code = emitted(["u"], lambda a: lanes.clamp(a, shape, (zero,), high, keep))
    u = z3.BitVec("u", 256)
    result = execute_terms(code, [u])
    wide = shape.lane_bits + 2
    claims = []
    for i in range(shape.lanes):
        value = z3.ZeroExt(2, lane(u, shape, i)) - zero
        clipped = z3.If(
            value < 0, z3.BitVecVal(0, wide), z3.If(value > high, z3.BitVecVal(high, wide), value)
        )
        claims.append(z3.ZeroExt(2, lane(result, shape, i)) == (clipped if i in kept else 0))
    prove([in_range(u, shape)], [*claims, slack_is_clear(result, shape)])


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("spare", [1, 2])
def test_maximum_and_clamp_exhaustively_over_two_neighbouring_lanes(bits, spare):
    """Every pair of neighbours, at the top of the word and at the bottom, so that any carry would show."""
    lane_bits = bits + spare
    shape = Shape(lane_bits, 256 // lane_bits, bits)
    values = range(1 << bits)
    low, high = 0, lane_bits * (shape.lanes - 2)
    largest = maximum_of(shape)
    for at in (low, high):
        for x0, x1, y0, y1 in itertools.product(values, repeat=4):
            x, y = (x0 | x1 << lane_bits) << at, (y0 | y1 << lane_bits) << at
            assert execute(largest, [x, y]) == (max(x0, y0) | max(x1, y1) << lane_bits) << at
    for zero, cap in itertools.product(values, [v for v in values if v & (v + 1) == 0]):
        clip = emitted(["u"], lambda a, z=zero, c=cap: lanes.clamp(a, shape, (z,), c, shape.all(c)))
        for at in (low, high):
            for u0, u1 in itertools.product(values, repeat=2):
                wanted = (min(max(u0 - zero, 0), cap), min(max(u1 - zero, 0), cap))
                others = execute(clip, [0])
                mask = (1 << 2 * lane_bits) - 1
                result = execute(clip, [(u0 | u1 << lane_bits) << at])
                assert result >> at & mask == wanted[0] | wanted[1] << lane_bits
                assert result & ~(mask << at) == others & ~(mask << at)


# -- moving lanes ---------------------------------------------------------------------------------------------------


def field_positions(stride: int, count: int, rng: random.Random) -> list[int]:
    """`count` neighbouring lanes at a stride, the first one the highest, as the views place them."""
    lowest = rng.randint(0, 256 // stride - count)
    return [stride * (lowest + count - 1 - i) for i in range(count)]


def check_restride(
    sources: list[int], targets: list[int], width: int, dirty: int, rng: random.Random
) -> None:
    code = emitted(["w"], lambda a: restride(a, sources, targets, width, dirty))
    full = (1 << width) - 1
    for kind in ("random", "random", "full", "empty"):
        values = [{"full": full, "empty": 0}.get(kind, rng.randint(0, full)) for _ in sources]
        word = sum(v << s for v, s in zip(values, sources, strict=True))
        dirt = dirty if kind in ("full", "empty") else dirty & rng.getrandbits(256)
        wanted = sum(v << t for v, t in zip(values, targets, strict=True))
        assert execute(code, [word | dirt]) == wanted


@pytest.mark.parametrize("source", range(8, 41, 4))
def test_restride_for_every_pair_of_strides(source):
    rng = random.Random(source)
    moved = refused = 0
    for stride, target in itertools.product(range(source, min(source + 4, 41)), range(8, 41)):
        width = rng.randint(1, 8)
        count = rng.randint(1, 256 // max(stride, target))
        sources, targets = field_positions(stride, count, rng), field_positions(target, count, rng)
        fields = sum(((1 << width) - 1) << s for s in sources)
        dirty = rng.choice((0, ~fields & lanes.FULL, ~fields & rng.getrandbits(256)))
        try:
            plan_restride(tuple(sources), tuple(targets), width, dirty)
        except AssemblyError:
            refused += 1
            continue
        check_restride(sources, targets, width, dirty, rng)
        moved += 1
    assert moved > 10 * refused, (moved, refused)


def test_restride_proved_for_every_word():
    """Moves of 8-bit pixels into lanes and of lanes into wider and narrower ones, with all else dirty."""
    for stride, target, count, width in (
        (8, 18, 12, 8),
        (24, 18, 10, 8),
        (18, 21, 10, 6),
        (36, 21, 6, 6),
        (21, 18, 9, 7),
    ):
        top, goal = (256 // stride - 1) * stride, (256 // target - 1) * target
        sources, targets = [top - stride * i for i in range(count)], [goal - target * i for i in range(count)]
        full = (1 << width) - 1
        dirty = lanes.FULL & ~lanes.at(full, sources)
        code = emitted(["w"], lambda a, s=sources, t=targets, d=dirty, w=width: restride(a, s, t, w, d))
        word = z3.BitVec("w", 256)
        wanted = z3.BitVecVal(0, 256)
        for s, t in zip(sources, targets, strict=True):
            wanted |= (z3.LShR(word, s) & full) << t
        prove([], [execute_terms(code, [word]) == wanted])


def test_one_column_can_always_be_moved():
    """What `_longest` relies on when it cuts a row into pieces."""
    for source, target, width in itertools.product(range(0, 249, 8), range(0, 249, 7), (1, 5, 8)):
        if max(source, target) + width <= 256:
            plan_restride((source,), (target,), width, lanes.FULL & ~(((1 << width) - 1) << source))


def test_the_proof_sees_a_lane_without_a_free_bit():
    shape = Shape(8, 32, 8)
    code = maximum_of(shape)
    x, y = z3.BitVecs("x y", 256)
    result = execute_terms(code, [x, y])
    with pytest.raises(AssertionError):
        prove([], [lane(result, shape, 1) == larger(lane(x, shape, 1), lane(y, shape, 1))])
