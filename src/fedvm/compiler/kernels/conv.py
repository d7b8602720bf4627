"""Convolution with pooling, requantization and clipping, which also writes the views that its readers need.

For every output row: for every convolution row under the pool and every word of a row, the accumulators of all
output channels are computed from words of x on the stack and staged; then, channel by channel, the staged words are
requantized (or before, where that takes less code), pooled, clipped, their lanes moved to the readers' strides, and
stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.filtering import ROWS
from fedvm.compiler.graph import Conv
from fedvm.compiler.kernels.accumulate import STAGED_WORDS, Place, add_product, load_from
from fedvm.compiler.kernels.filtered import Filtered, Sums, scratch_words
from fedvm.compiler.kernels.pooling import advance, may_pair, squash_row
from fedvm.compiler.kernels.rescale import channels_of, requantize
from fedvm.compiler.kernels.squash import fill_padding
from fedvm.compiler.kernels.table import aligned, emit_table, room
from fedvm.compiler.layout import ConvPlan
from fedvm.compiler.view import WORD_BYTES, View

CUT_GAS, CUT_BYTES, GAS_A_BYTE = 6, 36, 0.12
"""Gas of a mask, bytes of a shift with its mask, and what a byte of code costs a call, which calls a contract more for
every 24,576 of them."""


@dataclass(frozen=True)
class Tap:
    """One word of x under a kernel row: term, channel of its source, kernel row."""

    term: int
    channel: int
    row: int


@dataclass(frozen=True)
class Phase:
    """Products of some taps for some outputs. staged: the words of x wait on the stack for all outputs."""

    taps: tuple[Tap, ...]
    outputs: tuple[int, ...]
    staged: bool


def weight_word(plan: ConvPlan, tap: Tap, output: int) -> int:
    """The taps of one kernel row as one signed integer, the first of them at lane skip; 0 if the output does not use
    it."""
    term = plan.terms[tap.term]
    conv = term.conv
    per_group = conv.weight.shape[1]
    group = output * conv.groups // plan.layer.bias.shape[0]
    local = tap.channel - group * per_group
    if not 0 <= local < per_group:
        return 0
    row = conv.weight[output, local, tap.row]
    return sum(int(row[s]) << (plan.lane_bits * (i + term.skip)) for i, s in enumerate(term.taps))


def phases_of(plan: ConvPlan, outputs: range) -> list[Phase]:
    """Order of the products: words that several outputs share are staged, the others are loaded where used."""
    phases: list[Phase] = []
    total = plan.layer.bias.shape[0]
    for index, term in enumerate(plan.terms):
        per_group, kernel_rows = term.conv.weight.shape[1], term.conv.weight.shape[2]
        for group in range(term.conv.groups):
            first, last = group * total // term.conv.groups, (group + 1) * total // term.conv.groups
            mine = tuple(o for o in outputs if first <= o < last)
            if not mine:
                continue
            taps = [
                Tap(index, group * per_group + c, r) for c in range(per_group) for r in range(kernel_rows)
            ]
            taps = [t for t in taps if any(weight_word(plan, t, o) for o in mine)]
            if len(mine) == 1:
                phases.append(Phase(tuple(taps), mine, staged=False))
            else:
                for i in range(0, len(taps), STAGED_WORDS):
                    phases.append(Phase(tuple(taps[i : i + STAGED_WORDS]), mine, staged=True))
    return _join_single(phases)


def _join_single(phases: list[Phase]) -> list[Phase]:
    """Phases of one output each are joined, so that its accumulator stays on the stack between its terms."""
    staged = [p for p in phases if p.staged]
    single: dict[int, list[Tap]] = {}
    for phase in phases:
        if not phase.staged:
            single.setdefault(phase.outputs[0], []).extend(phase.taps)
    return staged + [Phase(tuple(taps), (output,), staged=False) for output, taps in sorted(single.items())]


@dataclass(frozen=True)
class Scratch:
    """Memory that a convolution needs besides its views: one word per output, the words of all positions under a
    pool row, and the table, if the layer has one."""

    accumulators: int
    stage: int
    table: int

    @classmethod
    def bytes(cls, plan: ConvPlan, outputs: int) -> int:
        table = plan.requant.table
        return cls._sums(plan, outputs) + (0 if table is None else room(len(table)))

    @classmethod
    def allocate(cls, plan: ConvPlan, outputs: int, base: int) -> Scratch:
        positions, table = plan.pool.kernel[0] * plan.chunks, plan.requant.table
        stage = base + WORD_BYTES * outputs if positions > 1 else base
        if plan.filtered:
            stage = base + WORD_BYTES * outputs * (3 + ROWS)
        return cls(base, stage, aligned(base + cls._sums(plan, outputs), 1 if table is None else len(table)))

    @classmethod
    def _sums(cls, plan: ConvPlan, outputs: int) -> int:
        if plan.filtered:
            return WORD_BYTES * scratch_words(plan, outputs)
        positions = plan.pool.kernel[0] * plan.chunks
        return WORD_BYTES * outputs * (1 + (positions if positions > 1 else 0))


def emit_conv(
    a: Assembler, plan: ConvPlan, sources: Mapping[View, Place], targets: Mapping[View, int], scratch: Scratch,
    outputs: range,
) -> None:  # fmt: skip
    """Append the layer, or of a split layer the given output channels.

    sources: where the views of the terms lie; targets: memory address of each output view, at channel outputs.start.
    """
    for view, base in targets.items():
        fill_padding(a, view, base, len(outputs))
    if plan.requant.table is not None:
        emit_table(a, plan.requant.table, scratch.table)
    pool, stride = plan.pool, plan.stride
    for i, (view, base) in enumerate(targets.items()):
        a.push(base + view.top * view.row_bytes, name=f"to_row{i}")
    views = list(targets)
    apart = replace(plan, requant=plan.requant.unlifted)
    straight = _squash_bytes(apart, views, outputs) <= plan.unroll_bytes
    plan = apart if straight else plan
    phase = None if plan.filtered else _unrolled(plan, outputs)
    early = not straight or not _rescales_late(plan, views, outputs, phase)
    if plan.filtered:
        _emit_pairs(a, plan, sources, views, scratch, outputs, straight, early)
        return
    together = plan.tiling.rows
    with a.loop(
        "row", 0, together * pool.stride[0] * stride[0] * plan.row_bytes, plan.layer.shape[1] // together
    ):
        if phase is not None:
            _accumulate_unrolled(a, plan, phase, sources, scratch, outputs, rescales=early)
        else:
            with _positions(a, plan, scratch, len(outputs)):
                _accumulate(a, plan, sources, scratch, outputs, rescales=early)
        squash_row(a, plan, views, scratch.stage, scratch.table, outputs, unrolled=straight, sums=not early)
        advance(a, [together * view.row_bytes for view in views])
    for _ in views:
        a.op("POP")


def _emit_pairs(
    a: Assembler, plan: ConvPlan, sources: Mapping[View, Place], views: list[View], scratch: Scratch, outputs: range,
    straight: bool, early: bool,
) -> None:  # fmt: skip
    """All rows of a layer, two rows of sums at a time. straight: whether they are squashed without a loop; early:
    whether they are rescaled before. Stack: the pointers to the rows of the views, which go."""
    size, count = WORD_BYTES * len(outputs), plan.layer.shape[1] * plan.pool.stride[0] // ROWS
    emitter = Filtered(a, plan, sources, outputs, rescales=early)
    made = scratch.accumulators + 3 * size
    row_stage = size * plan.chunks
    with a.loop("row", 0, ROWS * plan.stride[0] * plan.row_bytes, count):
        if _unrolls_pairs(plan, outputs):
            for chunk in range(plan.chunks):
                first = scratch.stage + size * chunk
                emitter.emit("row", chunk, Sums(scratch.accumulators, (first, first + row_stage)))
        else:
            with a.loop("word", 0, WORD_BYTES, plan.chunks):
                a.dup("row")
                a.dup("word")
                a.op("ADD", result="p")
                emitter.emit("p", 0, Sums(scratch.accumulators, (made, made + size)))
                a.op("POP")
                for i in range(ROWS):
                    a.push(size)
                    a.push(made + i * size)
                    a.dup("word")
                    a.push(len(outputs))
                    a.op("MUL")
                    a.push(scratch.stage + i * row_stage)
                    a.op("ADD", "MCOPY")
                    a.copied(len(outputs))
        for i in range(ROWS // plan.pool.kernel[0]):
            stage = scratch.stage + i * row_stage
            squash_row(a, plan, views, stage, scratch.table, outputs, unrolled=straight, sums=not early)
            advance(a, [view.row_bytes for view in views])
    for _ in views:
        a.op("POP")


def _rescales_late(plan: ConvPlan, views: list[View], outputs: range, phase: Phase | None) -> bool:
    """Whether channels that are squashed without a loop are rescaled there, too: where two share a word, or where it
    saves more masks of the rows under a pool than code repeated more often costs. phase: of the sums without a loop."""
    if any(
        len(channels.outputs) > 1 for channels in channels_of(plan, outputs, paired=may_pair(plan, views))
    ):
        return True
    rows = plan.pool.kernel[0]
    repeated = (ROWS if plan.filtered else rows) * plan.chunks
    if plan.filtered:
        once = repeated if _unrolls_pairs(plan, outputs) else ROWS
    else:
        once = repeated if phase is not None else 1
    saved = CUT_GAS * (rows - 1) * plan.chunks * plan.layer.shape[1]
    return saved >= GAS_A_BYTE * CUT_BYTES * (repeated - once)


def _unrolls_pairs(plan: ConvPlan, outputs: range) -> bool:
    """Whether the code of a pair of rows is repeated for every word of them."""
    return plan.chunks == 1 or _pair_bytes(plan, outputs) * plan.chunks <= plan.unroll_bytes


def _pair_bytes(plan: ConvPlan, outputs: range) -> int:
    """Code bytes of a pair of rows for one word of them."""
    a = Assembler()
    a.push(0, name="row")
    sources = {term.view: Place("MLOAD", 0) for term in plan.terms}
    Filtered(a, plan, sources, outputs, rescales=True).emit("row", 0, Sums(0, (0, 0)))
    return a.size


def _squash_bytes(plan: ConvPlan, views: list[View], outputs: range) -> int:
    """Code bytes that squashing all channels without a loop takes, but for those of rescaling, which are needed
    anyway."""
    squashing, rescaling, some = Assembler(), Assembler(), outputs[:2]
    for i in range(len(views)):
        squashing.push(0, name=f"to_row{i}")
    squash_row(squashing, plan, views, 0, 0, some, unrolled=True, sums=True)
    rescaling.push(0, name="acc")
    for output in some:
        for _ in range(plan.pool.kernel[0] * plan.chunks):
            requantize(rescaling, plan, output)
    return (squashing.size - rescaling.size) * len(outputs) // len(some)


def _unrolled(plan: ConvPlan, outputs: range) -> Phase | None:
    """The layer's phase, if it has only one and its code is short enough to be repeated for every position."""
    phases = phases_of(plan, outputs)
    positions = plan.pool.kernel[0] * plan.chunks
    if len(phases) != 1 or not phases[0].staged or positions == 1:
        return None
    words = [weight_word(plan, tap, o) for tap in phases[0].taps for o in outputs]
    size = sum(4 + (abs(w).bit_length() + 7) // 8 for w in words if w) + 40 * len(outputs)
    return phases[0] if size * positions <= plan.unroll_bytes else None


def _accumulate_unrolled(
    a: Assembler,
    plan: ConvPlan,
    phase: Phase,
    sources: Mapping[View, Place],
    scratch: Scratch,
    outputs: range,
    *,
    rescales: bool,
) -> None:
    """All positions under a pool row without loops; from one convolution row to the next, words of x that are still
    needed stay on the stack, and new ones take the place of those that are not."""
    for chunk in range(plan.chunks):
        held: list[tuple[int, int, int]] = []  # (term, channel, row of the source) on the stack
        for row in range(plan.pool.kernel[0]):
            first = row * plan.stride[0]
            needed = {(t.term, t.channel, first + t.row): t for t in phase.taps}
            for key, tap in needed.items():
                if key in held:
                    continue
                _load_tap(a, plan, sources, tap, _name(key), "row", first, chunk)
                gone = next((k for k in held if k not in needed), None)
                if gone is not None:
                    a.swap(len(a.stack) - 1 - a.stack.index(_name(gone)))
                    a.op("POP")
                    held.remove(gone)
                held.append(key)
            for output in outputs:
                products = [(_name(key), weight_word(plan, tap, output)) for key, tap in needed.items()]
                _sum(a, plan, output, [(name, w) for name, w in products if w])
                if rescales:
                    requantize(a, plan, output)
                position = row * plan.chunks + chunk
                a.push(scratch.stage + WORD_BYTES * (position * len(outputs) + output - outputs.start))
                a.op("MSTORE")
        for _ in held:
            a.op("POP")


def _name(key: tuple[int, int, int]) -> str:
    return "x{}.{}.{}".format(*key)


def _sum(a: Assembler, plan: ConvPlan, output: int, products: list[tuple[str, int]]) -> None:
    """One sum of products. Stack: → acc."""
    sign = -1 if len(products) > 1 and products[0][1] < 0 else 1
    a.push(sign * lanes.replicate(plan.requant.initial[output], plan.lane_bits, plan.lanes), name="acc")
    for i, (name, weight) in enumerate(products):
        a.dup(name)
        sign = add_product(a, weight, sign, last=i == len(products) - 1)


@contextmanager
def _positions(a: Assembler, plan: ConvPlan, scratch: Scratch, outputs: int) -> Iterator[None]:
    """Run the body with "p" = offset of the source words, for every convolution row under the pool and every word.

    After each run the accumulators are copied to their place in the stage.
    """
    rows, chunks, stride = plan.pool.kernel[0], plan.chunks, plan.stride[0]
    size = WORD_BYTES * outputs
    if rows * chunks == 1:
        a.dup("row")
        a.rename("p")
        yield
        a.op("POP")
        return
    row_step, word_step = stride * plan.row_bytes, WORD_BYTES * plan.tiling.advance
    uniform = chunks == 1 or rows == 1 or row_step == word_step * chunks
    if uniform:
        step = row_step if chunks == 1 else word_step
        a.dup("row")
        a.rename("p")
        with a.loop("stage", scratch.stage, size, rows * chunks):
            yield
            _copy_stage(a, scratch, size)
            a.swap(1)
            a.push(step)
            a.op("ADD", result="p")
            a.swap(1)
        a.op("POP")
        return
    a.push(scratch.stage, name="stage")
    with a.loop("under", 0, row_step, rows), a.loop("word", 0, word_step, chunks):
        a.dup("row")
        a.dup("under")
        a.dup("word")
        a.op("ADD", "ADD", result="p")
        yield
        _copy_stage(a, scratch, size)
        a.op("POP")
        a.swap(2)
        a.push(size)
        a.op("ADD", result="stage")
        a.swap(2)
    a.op("POP")


def _copy_stage(a: Assembler, scratch: Scratch, size: int) -> None:
    a.push(size)
    a.push(scratch.accumulators)
    a.dup("stage")
    a.op("MCOPY")
    a.copied(size // WORD_BYTES)


def _accumulate(
    a: Assembler, plan: ConvPlan, sources: Mapping[View, Place], scratch: Scratch, outputs: range, *, rescales: bool
) -> None:  # fmt: skip
    phases = phases_of(plan, outputs)
    words = {
        (tap, o): weight_word(plan, tap, o) for phase in phases for tap in phase.taps for o in phase.outputs
    }
    todo = {o: sum(o in phase.outputs for phase in phases) for o in outputs}
    left = {o: sum(words[t, o] != 0 for p in phases if o in p.outputs for t in p.taps) for o in outputs}
    sign = {
        o: next((-1 if words[t, o] < 0 < left[o] - 1 else 1
                 for p in phases if o in p.outputs for t in p.taps if words[t, o]), 1)
        for o in outputs
    }  # fmt: skip
    started: set[int] = set()

    def begin(output: int) -> None:
        if output in started:
            a.push(scratch.accumulators + WORD_BYTES * (output - outputs.start))
            a.op("MLOAD", result="acc")
        else:
            started.add(output)
            value = lanes.replicate(plan.requant.initial[output], plan.lane_bits, plan.lanes)
            a.push(sign[output] * value, name="acc")

    def end(output: int) -> None:
        todo[output] -= 1
        if todo[output] == 0 and rescales:
            requantize(a, plan, output)
        a.push(scratch.accumulators + WORD_BYTES * (output - outputs.start))
        a.op("MSTORE")

    def product(output: int, weight: int, count: int = 1) -> None:
        left[output] -= count
        sign[output] = add_product(a, weight, sign[output], last=left[output] == 0)

    for output in outputs:
        if todo[output] == 0:  # all weights are zero, so the sum is the bias
            todo[output] = 1
            begin(output)
            end(output)
    for phase in phases:
        if phase.staged:
            for i, tap in enumerate(phase.taps):
                _load_tap(a, plan, sources, tap, f"x{i}")
            for output in phase.outputs:
                begin(output)
                for i, tap in enumerate(phase.taps):
                    if words[tap, output]:
                        a.dup(f"x{i}")
                        product(output, words[tap, output])
                end(output)
            for _ in phase.taps:
                a.op("POP")
        else:
            output = phase.outputs[0]
            begin(output)
            for weight, taps in _by_weight(phase.taps, lambda tap, o=output: words[tap, o]):  # type: ignore[misc]
                for i, tap in enumerate(taps):
                    _load_tap(a, plan, sources, tap, "x")
                    if i:
                        a.op("ADD", result="x")
                product(output, weight, len(taps))
            end(output)


def _by_weight(taps: tuple[Tap, ...], word: Callable[[Tap], int]) -> list[tuple[int, list[Tap]]]:
    """Taps grouped by their word of weights (x words of equal weight are summed first: one MUL for all)."""
    groups: dict[int, list[Tap]] = {}
    for tap in taps:
        if word(tap):
            groups.setdefault(word(tap), []).append(tap)
    return list(groups.items())


def _load_tap(
    a: Assembler, plan: ConvPlan, sources: Mapping[View, Place], tap: Tap, name: str,
    pointer: str = "p", below: int = 0, chunk: int = 0,
) -> None:  # fmt: skip
    """Load the word under a tap, `below` rows further down and for word `chunk` of the outputs. Stack: → x."""
    term = plan.terms[tap.term]
    view = term.view
    row = view.top - term.conv.pads[0] + tap.row + below
    word = chunk * plan.tiling.advance + term.word
    offset = tap.channel * view.channel_bytes + row * view.row_bytes + WORD_BYTES * word
    load_rows(a, plan, view, sources[view], pointer, offset, name)


def load_rows(
    a: Assembler, plan: ConvPlan, view: View, place: Place, pointer: str, offset: int, name: str
) -> None:
    """The words of x of the rows that are computed together, in one word. offset: of the first. Stack: → x."""
    load_from(a, pointer, place, offset, name)
    tiling = plan.tiling
    own = lanes.at(
        (1 << view.lane_bits) - 1, [view.bit(0, view.start + i * view.every) for i in range(tiling.pitch)]
    )
    for number in range(1, tiling.rows):
        if number == 1 and view.pad_value:  # beside the image lies padding that would meet the next row
            lanes.and_constant(a, own)
        load_from(a, pointer, place, offset + number * plan.stride[0] * view.row_bytes, "next")
        if number < tiling.rows - 1 and view.pad_value:
            lanes.and_constant(a, own)
        lanes.shift(a, -number * tiling.pitch * plan.lane_bits)
        a.op("OR", result=name)


def macs(plan: ConvPlan) -> int:
    """Multiply-accumulates of the layer, counted as is usual (with padding, without identity shortcuts)."""
    height, width = plan.layer.shape[1:]
    pool = plan.pool
    area = ((height - 1) * pool.stride[0] + pool.kernel[0]) * ((width - 1) * pool.stride[1] + pool.kernel[1])
    total = 0
    convs = [term for term in plan.layer.terms if isinstance(term, Conv)]
    for conv in convs:
        weight = np.asarray(conv.weight)
        identity = weight.shape[1:] == (1, 1, 1) and conv.groups == weight.shape[0] and len(convs) > 1
        total += 0 if identity else weight.size * area
    return total
