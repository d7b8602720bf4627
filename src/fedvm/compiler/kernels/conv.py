"""Convolution with pooling, requantization and clipping, and the writing of the views its readers want.

For every output row: for every convolution row under the pool and every word of a row, the accumulators of all
output channels are computed from words of x on the stack, requantized, and staged; then, channel by channel, the
staged words are pooled, clipped, their lanes moved to the readers' strides, and stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.kernels.accumulate import STAGED_WORDS, Place, add_product, load_from
from fedvm.compiler.layout import WORD_BYTES, ConvPlan, View


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
    """The taps of one kernel row as one signed integer, tap s at lane s + skip; 0 if the output does not use it."""
    term = plan.terms[tap.term]
    conv = term.conv
    per_group = conv.weight.shape[1]
    group = output * conv.groups // plan.layer.bias.shape[0]
    local = tap.channel - group * per_group
    if not 0 <= local < per_group:
        return 0
    row = conv.weight[output, local, tap.row]
    return sum(int(w) << (plan.lane_bits * (s + term.skip)) for s, w in enumerate(row))


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
    """Memory of a convolution beside its views: one word per output, and those of all positions under a pool row."""

    accumulators: int
    stage: int

    @classmethod
    def bytes(cls, plan: ConvPlan, outputs: int) -> int:
        positions = plan.pool.kernel[0] * plan.chunks
        return WORD_BYTES * outputs * (1 + (positions if positions > 1 else 0))

    @classmethod
    def allocate(cls, plan: ConvPlan, outputs: int, base: int) -> Scratch:
        positions = plan.pool.kernel[0] * plan.chunks
        return cls(base, base + WORD_BYTES * outputs if positions > 1 else base)


def emit_conv(
    a: Assembler, plan: ConvPlan, sources: Mapping[View, Place], targets: Mapping[View, int], scratch: Scratch,
    outputs: range,
) -> None:  # fmt: skip
    """Append the layer, or of a split layer the given output channels.

    sources: where the views of the terms lie; targets: memory address of each output view, at channel outputs.start.
    """
    for view, base in targets.items():
        fill_padding(a, view, base, len(outputs))
    pool, stride = plan.pool, plan.stride
    row_bytes = WORD_BYTES * plan.chunks
    row_names = [f"to_row{i}" for i in range(len(targets))]
    for name, (view, base) in zip(row_names, targets.items(), strict=True):
        a.push(base + view.top * view.row_bytes, name=name)
    with a.loop("row", 0, pool.stride[0] * stride[0] * row_bytes, plan.layer.shape[1]):
        with _positions(a, plan, scratch, len(outputs)):
            _accumulate(a, plan, sources, scratch, outputs)
        _finish_row(a, plan, targets, scratch, len(outputs), row_names)
        _advance(a, [view.row_bytes for view in targets])
    for _ in row_names:
        a.op("POP")


def _advance(a: Assembler, steps: list[int]) -> None:
    """Add to the row pointers that lie below "row"."""
    depth = len(steps)
    for i, step in enumerate(steps):
        below = depth - i
        name = a.stack[-1 - below]
        a.swap(below)
        a.push(step)
        a.op("ADD", result=name)
        a.swap(below)


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
    row_step = stride * WORD_BYTES * chunks
    uniform = chunks == 1 or rows == 1 or stride == 1
    if uniform:
        step = row_step if chunks == 1 else WORD_BYTES
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
    with a.loop("under", 0, row_step, rows), a.loop("word", 0, WORD_BYTES, chunks):
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
    a: Assembler, plan: ConvPlan, sources: Mapping[View, Place], scratch: Scratch, outputs: range
) -> None:
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
        if todo[output] == 0:
            _requantize(a, plan, output)
        a.push(scratch.accumulators + WORD_BYTES * (output - outputs.start))
        a.op("MSTORE")

    def product(output: int, weight: int, count: int = 1) -> None:
        left[output] -= count
        sign[output] = add_product(a, weight, sign[output], last=left[output] == 0)

    for output in outputs:
        if todo[output] == 0:  # all weights zero: the bias alone
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


def _load_tap(a: Assembler, plan: ConvPlan, sources: Mapping[View, Place], tap: Tap, name: str) -> None:
    term = plan.terms[tap.term]
    view = term.view
    row = view.top - term.conv.pads[0] + tap.row
    load_from(a, "p", sources[view], tap.channel * view.channel_bytes + row * view.row_bytes, name)


def _requantize(a: Assembler, plan: ConvPlan, output: int) -> None:
    """Shift right, drop the neighbours' bits, raise to the layer's zero. Stack: acc → u."""
    requant = plan.requant
    k = requant.shift[output]
    if k or requant.high is not None or plan.lane_bits * plan.lanes < 256:
        lanes.shift(a, -k)
        width = min(requant.bits, plan.lane_bits - k)
        lanes.and_constant(a, lanes.replicate((1 << width) - 1, plan.lane_bits, plan.lanes))
    if requant.lift[output]:
        a.push(lanes.replicate(requant.lift[output], plan.lane_bits, plan.lanes))
        a.op("ADD", result="acc")


# -- pooling, clipping, storing ---------------------------------------------------------------------------------------


def _finish_row(
    a: Assembler,
    plan: ConvPlan,
    targets: Mapping[View, int],
    scratch: Scratch,
    outputs: int,
    row_names: list[str],
) -> None:
    views = list(targets)
    for i, name in enumerate(row_names):
        a.dup(name)
        a.rename(f"to{i}")
    with a.loop("from", scratch.stage, WORD_BYTES, outputs):
        for chunk in range(plan.chunks):
            _pooled(a, plan, chunk, outputs)
            if plan.requant.high is not None:
                _clip(a, plan, chunk)
            a.rename(f"v{chunk}")
        for i, view in enumerate(views):
            _store(a, plan, view, f"to{i}", last=i == len(views) - 1)
        _advance(a, [view.channel_bytes for view in views])
    for _ in views:
        a.op("POP")


def _shape(plan: ConvPlan) -> lanes.Shape:
    return lanes.Shape(plan.lane_bits, plan.lanes, plan.requant.bits)


def _pooled(a: Assembler, plan: ConvPlan, chunk: int, outputs: int) -> None:
    """Load the staged words under the pool and take their maximum. Stack: → u."""
    shape, (rows, columns) = _shape(plan), plan.pool.kernel
    for row in range(rows):
        load_from(a, "from", Place("MLOAD", 0), WORD_BYTES * outputs * (row * plan.chunks + chunk), "u")
        if row:
            lanes.maximum(a, shape)
            a.rename("u")
    if columns == 2:
        a.dup("u")
        lanes.shift(a, plan.stride[1] * plan.lane_bits)
        lanes.maximum(a, shape)
    elif columns > 2:
        a.rename("u0")
        a.dup("u0")
        for column in range(1, columns):
            a.dup("u0")
            lanes.shift(a, plan.stride[1] * plan.lane_bits * column)
            lanes.maximum(a, shape)
        a.swap(1)
        a.op("POP")
    a.rename("u")


def _valid(plan: ConvPlan, chunk: int) -> range:
    """Output columns of a chunk."""
    first = chunk * plan.columns
    return range(first, min(first + plan.columns, plan.layer.shape[2]))


def _clip(a: Assembler, plan: ConvPlan, chunk: int) -> None:
    high = plan.requant.high
    assert high is not None
    keep = lanes.at(high, [plan.native.bit(chunk, column) for column in _valid(plan, chunk)])
    lanes.clamp(a, _shape(plan), plan.requant.zero, high, keep)


def _store(a: Assembler, plan: ConvPlan, view: View, pointer: str, *, last: bool) -> None:
    """Write the words v0.. of a row into one view. Stack: v0 … → v0 … , or → nothing if `last`."""
    native = plan.native
    if view == native:
        for chunk in reversed(range(plan.chunks)):
            if not last:
                a.dup(f"v{chunk}")
            store_word(a, pointer, WORD_BYTES * chunk)
        return
    high = plan.requant.high
    assert high is not None
    width = high.bit_length()
    position: dict[int, dict[int, int]] = {}  # chunk → column → bit after moving
    moved: list[str] = []
    for chunk in range(plan.chunks):
        columns = _valid(plan, chunk)
        sources = [native.bit(chunk, c) for c in columns]
        targets = _targets(view, columns)
        position[chunk] = dict(zip(columns, targets, strict=True))
        a.dup(f"v{chunk}")
        lanes.restride(a, sources, targets, width)
        a.rename(f"m{chunk}")
        moved.append(f"m{chunk}")
    for word in range(view.words):
        _gather(a, view, word, position)
        store_word(a, pointer, WORD_BYTES * word)
    for _ in moved:
        a.op("POP")
    if last:
        for _ in range(plan.chunks):
            a.op("POP")


def _targets(view: View, columns: range) -> list[int]:
    """Bits for the columns at the view's stride, where possible in place for the word that takes most of them."""
    best = max(range(view.words), key=lambda w: len(set(columns) & set(view.columns(w))))
    bits = [view.bit(best, c) for c in columns]
    low, top = min(bits), max(bits) + view.lane_bits
    if low < 0:
        bits = [b - low for b in bits]
    elif top > 256:
        bits = [b - (max(bits) - view.lane_bits * (view.lanes - 1)) for b in bits]
    return bits


def _gather(a: Assembler, view: View, word: int, position: Mapping[int, Mapping[int, int]]) -> None:
    """Assemble one word of a view from the moved words. Stack: → w."""
    inside = [c for c in view.columns(word) if 0 <= c < view.width]
    pieces = 0
    for chunk, bits in position.items():
        mine = [c for c in inside if c in bits]
        if not mine:
            continue
        a.dup(f"m{chunk}")
        lanes.shift(a, view.bit(word, mine[0]) - bits[mine[0]])
        if pieces:
            a.op("OR")
        a.rename("w")
        pieces += 1
    padding = padding_word(view, word)
    if not pieces:
        a.push(padding, name="w")
    elif padding:
        a.push(padding)
        a.op("OR", result="w")


def padding_word(view: View, word: int) -> int:
    """`pad_value` in the lanes of a word that lie beside the image."""
    return lanes.at(
        view.pad_value, [view.bit(word, c) for c in view.columns(word) if not 0 <= c < view.width]
    )


def store_word(a: Assembler, pointer: str, offset: int) -> None:
    a.dup(pointer)
    if offset:
        a.push(offset)
        a.op("ADD")
    a.op("MSTORE")


def fill_padding(a: Assembler, view: View, base: int, channels: int) -> None:
    """Write the rows of padding above and below the image (the memory may have been used before)."""
    rows = [*range(view.top), *range(view.top + view.height, view.rows)]
    if not rows:
        return
    full = lanes.at(view.pad_value, [view.bit(0, c) for c in view.columns(0)])
    with a.loop("channel", base, view.channel_bytes, channels):
        a.push(full, name="pad")
        for row in rows:
            for word in range(view.words):
                a.dup("pad")
                a.dup("channel")
                a.push(row * view.row_bytes + word * WORD_BYTES)
                a.op("ADD", "MSTORE")
        a.op("POP")


def macs(plan: ConvPlan) -> int:
    """Multiply-accumulates of the layer as the field counts them (padding included, identity shortcuts not)."""
    height, width = plan.layer.shape[1:]
    pool = plan.pool
    area = ((height - 1) * pool.stride[0] + pool.kernel[0]) * ((width - 1) * pool.stride[1] + pool.kernel[1])
    total = 0
    for term in plan.terms:
        weight = np.asarray(term.conv.weight)
        identity = (
            weight.shape[1:] == (1, 1, 1) and term.conv.groups == weight.shape[0] and len(plan.terms) > 1
        )
        total += 0 if identity else weight.size * area
    return total
