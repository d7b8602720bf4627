"""The layout of all numbers: lane widths, words, and the proof that no lane can overflow.

A 256-bit word holds n = ⌊256 / L⌋ lanes of L bits, lane n−1−i (bits L·(n−1−i) …) holding the i-th column; the 256 − nL
unused bits are at the top, where a truncated product may leave any value. One MUL of such a word with a word of k taps
gives n−k+1 complete k-tap sums (HiKonv, arXiv 2112.13972).

`plan_layers` chooses L and the number of columns a word computes for every layer, from the exact interval bounds of
its accumulators, and the words (`View`) in which each layer wants to read its sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fedvm.compiler.defaults import OPTIMIZE, Optimize
from fedvm.compiler.errors import RangeError, UnsupportedOperator
from fedvm.compiler.graph import (
    INPUT,
    Conv,
    Dense,
    FloatGraph,
    FloatLayer,
    Input,
    IntegerGraph,
    IntegerLayer,
    MaxPool,
)
from fedvm.compiler.interpreter import accumulator_bounds
from fedvm.compiler.packing import packed_lanes
from fedvm.compiler.scalars import Scalar, scalars_of
from fedvm.compiler.tiling import NO_POOL, WORD_BITS, Rows, Tiling, tile
from fedvm.compiler.view import WORD_BYTES, View

MAX_LANE_BITS = 64
IMMEDIATE = 36
"""Code bytes of a word of weights as an immediate, with its product."""
BLOCK_CODE = 20_000
"""Code bytes that the products of one block of activations may take."""


@dataclass(frozen=True)
class Requant:
    """How one layer's accumulators are rescaled, proved for every input.

    Lanes start at bias[o] + offset[o]·2^shift[o], so they are never negative; after the shift they are raised by
    lift[o] to the layer-wide `zero` (the value that means 0) and fit `bits` bits. They are clipped to 0..clip; `table`:
    what then stands for each of these values (None: they stand for themselves); high: the largest output.
    """

    shift: tuple[int, ...]
    offset: tuple[int, ...]
    lift: tuple[int, ...]
    initial: tuple[int, ...]  # start value of a lane, ≥ 0
    widths: tuple[int, ...]  # bits of each lane after the shift, before it is raised
    need: int  # lane bits the accumulators need
    zero: int
    bits: int
    high: int | None
    clip: int | None
    table: tuple[int, ...] | None = None

    def zero_of(self, output: int) -> int:
        """The value that means 0 in the lanes of an output."""
        return self.offset[output] + self.lift[output]

    @property
    def unlifted(self) -> Requant:
        """The same with a zero for each output, so that nothing need be raised."""
        return replace(self, lift=(0,) * len(self.lift))


@dataclass(frozen=True)
class ConvTerm:
    """Some taps of a convolution term and how they meet the lanes: the first of `taps` is at degree `skip`, in the
    word of x that lies `word` words after the first of its word of outputs."""

    conv: Conv
    view: View
    skip: int
    taps: range
    word: int = 0


@dataclass(frozen=True)
class ConvPlan:
    """A convolutional layer: `chunks` words a row, each computing `columns` output columns (after pooling), or one word
    for several rows."""

    layer: IntegerLayer
    lane_bits: int
    tiling: Tiling
    terms: tuple[ConvTerm, ...]
    requant: Requant
    outputs: tuple[View, ...] = ()
    unroll_bytes: int = 8000
    """A loop whose code without the loop would be longer than this stays a loop."""
    filtered: bool = False
    """Whether two rows of sums are made together from fewer products (`filtering.py`)."""

    @property
    def lanes(self) -> int:
        return WORD_BITS // self.lane_bits

    @property
    def columns(self) -> int:
        return self.tiling.columns

    @property
    def chunks(self) -> int:
        return self.tiling.chunks

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of x, in every view that is read."""
        return WORD_BYTES * self.tiling.row_words

    @property
    def pool(self) -> MaxPool:
        return self.layer.pool or NO_POOL

    @property
    def stride(self) -> tuple[int, int]:
        """Rows of x, and lanes, from one sum to the next."""
        down, along = self.terms[0].conv.stride
        return down, along // self.terms[0].view.every

    @property
    def native(self) -> View:
        """The layout of the output as the layer computes it, without moving lanes."""
        channels, height, width = self.layer.shape
        return View(
            self.layer.name, channels, height, width, self.lane_bits, 0, self.columns, self.chunks,
            stride=self.stride[1] * self.pool.stride[1],
        )  # fmt: skip

    def is_native(self, view: View) -> bool:
        """Whether the readers of `view` can use the computed words unchanged, because none looks at columns that only
        the next word holds."""
        if self.tiling.rows > 1:  # a word of sums holds several rows, each of which is stored as a word
            return False
        return view == self.native and (view.words == 1 or view.reach <= view.step)


@dataclass(frozen=True)
class DensePlan:
    """A dense layer: outputs in `words` words of n lanes. sources: where each term's elements are read."""

    layer: IntegerLayer
    lane_bits: int
    words: int
    terms: tuple[
        tuple[Dense, View | None, int], ...
    ]  # (term, view or None for raw input bytes, largest value)
    requant: Requant
    raw: Input
    packed: bool = False
    """Whether the weights lie in data contracts instead of the code."""

    @property
    def lanes(self) -> int:
        return WORD_BITS // self.lane_bits

    @property
    def native(self) -> View:
        return View(self.layer.name, 1, 1, self.layer.shape[0], self.lane_bits, 0, self.lanes, self.words)

    @property
    def block(self) -> int:
        """Activations that wait on the stack together: 15, or fewer where a block's code would not fit a contract."""
        return max(1, min(15, BLOCK_CODE // (IMMEDIATE * self.words)))

    @cached_property
    def weight_words(self) -> list[list[list[int]]]:
        """The weights of every activation as signed integers: `[term][element][output word]`."""
        view, result = self.native, []
        for dense, _, _ in self.terms:
            weight = dense.weight.astype(object)
            words = [
                sum(weight[o] << view.bit(word, o) for o in view.columns(word) if o < view.width)
                for word in range(self.words)
            ]
            result.append(np.stack(words, axis=1).tolist())
        return result

    @cached_property
    def scalars(self) -> list[Scalar]:
        """The numbers that are multiplied, with the words of weights for each."""
        return scalars_of(self.terms, self.weight_words, self.raw)

    @property
    def outputs(self) -> tuple[View, ...]:
        return (self.native,)


LayerPlan = ConvPlan | DensePlan


@dataclass(frozen=True)
class Plan:
    """All layers and, for the input, the views that the first layers read."""

    graph: IntegerGraph
    layers: tuple[LayerPlan, ...]
    input_views: tuple[View, ...]


def requantization(layer: IntegerLayer, low: list[int], high: list[int]) -> Requant:
    """Offsets that keep every lane non-negative, and the lane bits that then suffice for any input.

    low, high: exact interval bounds of the accumulator of each output, bias included.
    """
    if layer.high is None or layer.clip is None:
        # the scores are neither shifted nor clipped, so every output keeps an offset of its own
        offsets = [max(0, -lo) for lo in low]
        sizes = tuple(max(1, (hi + m).bit_length()) for hi, m in zip(high, offsets, strict=True))
        bits = max(sizes)
        still = (0,) * len(low)
        return Requant(
            shift=still, offset=tuple(offsets), lift=still, zero=0, widths=sizes, bits=bits, high=None, clip=None,
            initial=tuple(int(b) + m for b, m in zip(layer.bias, offsets, strict=True)),
            need=bits + (layer.pool is not None),  # taking the maximum needs one free bit
        )  # fmt: skip
    shifts = [int(s) for s in layer.shift]
    least = [max(0, -(lo >> k)) for lo, k in zip(low, shifts, strict=True)]  # ceil(−lo / 2^k)
    zero = max(least)
    need = max((hi + (m << k)).bit_length() for hi, m, k in zip(high, least, shifts, strict=True))
    most = [max(0, hi >> k) for hi, k in zip(high, shifts, strict=True)]
    bits = max(1, max((top + zero).bit_length() for top in most))
    half = 1 << (bits - 1)
    if max(most) < half and 0 < zero <= half:
        zero = half  # so the highest bit alone tells which values are negative
    offset = [
        zero if (hi + (zero << k)).bit_length() <= need else m
        for hi, m, k in zip(high, least, shifts, strict=True)
    ]
    widths = [max(1, (top + m).bit_length()) for top, m in zip(most, offset, strict=True)]
    initial = [int(b) + (m << k) for b, m, k in zip(layer.bias, offset, shifts, strict=True)]
    # the comparisons of clip and max need one free bit; readers mask all bits of `high`
    need = max(need, bits + 1, layer.high.bit_length(), layer.clip.bit_length())
    return Requant(
        shift=tuple(shifts), offset=tuple(offset), lift=tuple(zero - m for m in offset), initial=tuple(initial),
        widths=tuple(widths), need=need, zero=zero, bits=bits, high=layer.high, clip=layer.clip,
        table=None if layer.table is None else tuple(int(entry) for entry in layer.table),
    )  # fmt: skip


def rows_of(
    layer: FloatLayer | IntegerLayer, widths: Mapping[str, int], *, scores: bool, skip: bool = True
) -> Rows:
    """The rows of a convolutional layer. widths: of the tensors it may read; scores: whether it is the last layer,
    whose words are read where they were computed; skip: whether words leave out columns that it skips."""
    convs = [t for t in layer.terms if isinstance(t, Conv)]
    left, every = max(c.pads[1] for c in convs), skips(layer) if skip else 1
    kernel = max(left - c.pads[1] + c.weight.shape[3] for c in convs)
    pool, apart = layer.pool or NO_POOL, scores or layer.pool is not None
    extent = 0 if apart else max(-(-(left + widths[c.source]) // every) for c in convs)
    height = (layer.shape[1] - 1) * pool.stride[0] + pool.kernel[0]
    return Rows(layer.shape[2], kernel, convs[0].stride[1] // every, pool, height, extent)


def skips(layer: FloatLayer | IntegerLayer) -> int:
    """Columns of x from one that a convolution of single columns reads to the next; the words it reads hold no
    others. 1 if its kernels are wider."""
    convs = [t for t in layer.terms if isinstance(t, Conv)]
    single = all(c.weight.shape[3] == 1 and not any(c.pads[1::2]) for c in convs)
    return convs[0].stride[1] if single else 1


def widths_of(graph: FloatGraph | IntegerGraph) -> dict[str, int]:
    """Width of every tensor by name."""
    return {INPUT: graph.input.shape[2]} | {layer.name: layer.shape[2] for layer in graph.layers}


def widest_lanes(rows: Rows, least: int, most: int) -> int:
    """The widest L between `least` and `most` bits that needs no more products than `least` does."""
    best = tile(rows, least)
    lane_bits = least
    while best is not None and lane_bits < most:
        wider = tile(rows, lane_bits + 1)
        if wider is None or wider.products(rows.height) != best.products(rows.height):
            break
        lane_bits += 1
    return lane_bits


def plan_layers(
    graph: IntegerGraph, optimize: Optimize = OPTIMIZE, narrow: bool = True, skip: bool = True
) -> Plan:
    """Choose lanes, words and views for every layer. optimize: for little gas per prediction, or little code. narrow:
    whether lanes stay so narrow that the most rows share a word, rather than as wide as those of their neighbours.
    skip: whether words leave out columns that their reader skips, rather than serve other readers, too.
    Raises RangeError if some sum does not fit a lane, UnsupportedOperator for shapes without a kernel.
    """
    bounds = accumulator_bounds(graph)
    requants = {
        layer.name: requantization(
            layer, [int(v) for v in bounds[layer.name][0]], [int(v) for v in bounds[layer.name][1]]
        )
        for layer in graph.layers
    }
    lane_bits = _lane_bits(graph, requants, narrow, skip)
    demands = _Demands()
    drafts: list[LayerPlan] = []
    for layer in graph.layers:
        requant, bits = requants[layer.name], lane_bits[layer.name]
        if all(isinstance(t, Dense) for t in layer.terms):
            packed = False
            if optimize == "deploy":
                bits, packed = packed_lanes(layer, bits, IMMEDIATE)
            words = -(-layer.shape[0] // (WORD_BITS // bits))
            drafts.append(DensePlan(layer, bits, words, (), requant, graph.input, packed))
        elif all(isinstance(t, Conv) for t in layer.terms):
            draft = _draft_conv(graph, layer, bits, requant, demands, skip)
            drafts.append(replace(draft, unroll_bytes=0) if optimize == "deploy" else draft)
        else:
            raise UnsupportedOperator(f"layer {layer.name!r} adds a convolution and a dense product")
    views = demands.merged()
    return _settle(graph, drafts, views)


def _lane_bits(
    graph: IntegerGraph, requants: Mapping[str, Requant], narrow: bool, skip: bool
) -> dict[str, int]:
    """L of every layer. Layers that pass words on share the same L if that costs no more words. narrow, skip: as in
    `plan_layers`."""
    result: dict[str, int] = {}
    widest: dict[str, int] = {}
    widths = widths_of(graph)
    for layer in graph.layers:
        sources = max(graph.high_of(t.source).bit_length() for t in layer.terms)
        need = max(requants[layer.name].need, sources)  # more than the sums need if weights are all zero
        if need > MAX_LANE_BITS:
            raise RangeError(
                f"layer {layer.name!r}: sums need {need} bits, a lane has at most {MAX_LANE_BITS}"
            )
        result[layer.name] = need
        widest[layer.name] = need
        if isinstance(layer.terms[0], Conv):
            rows = rows_of(layer, widths, scores=layer.high is None, skip=skip)
            if tile(rows, need) is None:
                raise RangeError(
                    f"layer {layer.name!r}: a window of {rows.pool.kernel[1]} columns of {need} bits, {rows.stride} "
                    "lanes apart, does not fit a 256-bit word"
                )
            rows = rows if narrow else replace(rows, extent=0)
            widest[layer.name] = widest_lanes(rows, need, MAX_LANE_BITS)
            tall = any(t.weight.shape[2] > 1 and t.stride[0] == 1 for t in layer.terms if isinstance(t, Conv))
            if tall and WORD_BITS % need == 0 and need < widest[layer.name]:
                result[layer.name] += 1  # a bit above the highest lane lets two rows be made together
    changed = True
    while changed:
        changed = False
        for a in graph.layers:
            for b in graph.layers:
                if a is b or not _aligned(a, b):
                    continue
                low, high = sorted((a.name, b.name), key=lambda name: result[name])
                if result[low] < result[high] <= widest[low]:
                    result[low] = result[high]
                    changed = True
    return result


def _aligned(a: IntegerLayer, b: IntegerLayer) -> bool:
    """Whether equal lanes save work: b reads what a reads, or what a writes with a column in every lane."""
    sources = {t.source for t in b.terms}
    if sources & {t.source for t in a.terms}:
        return True
    first = a.terms[0]
    dense = isinstance(first, Conv) and first.stride[1] == 1 and (a.pool is None or a.pool.stride[1] == 1)
    return dense and a.name in sources and isinstance(b.terms[0], Conv)


class _Demands:
    """Collects the views that layers ask for, and merges those that one set of words can serve."""

    def __init__(self) -> None:
        self._asked: list[View] = []

    def ask(self, view: View) -> None:
        self._asked.append(view)

    def merged(self) -> list[View]:
        views: list[View] = []
        for ask in self._asked:
            for i, have in enumerate(views):
                if _mergeable(have, ask):
                    views[i] = replace(
                        have,
                        top=max(have.top, ask.top),
                        bottom=max(have.bottom, ask.bottom),
                        pad_value=ask.pad_value if ask.padded else have.pad_value,
                        padded=have.padded or ask.padded,
                        reach=max(have.reach, ask.reach),
                    )
                    break
            else:
                views.append(ask)
        return views


def _mergeable(a: View, b: View) -> bool:
    same = (a.tensor, a.lane_bits, a.start, a.step, a.words, a.every) == (
        b.tensor,
        b.lane_bits,
        b.start,
        b.step,
        b.words,
        b.every,
    )
    return same and (a.pad_value == b.pad_value or not (a.padded and b.padded))


def _draft_conv(
    graph: IntegerGraph, layer: IntegerLayer, bits: int, requant: Requant, demands: _Demands, skip: bool
) -> ConvPlan:
    convs = [t for t in layer.terms if isinstance(t, Conv)]
    if len({c.stride for c in convs}) != 1:
        raise UnsupportedOperator(f"layer {layer.name!r} adds convolutions of different strides")
    rows = rows_of(layer, widths_of(graph), scores=layer.high is None, skip=skip)
    kernel, stride, pool = rows.kernel, rows.stride, rows.pool
    if any(pool.pads):
        raise UnsupportedOperator(f"layer {layer.name!r}: MaxPool with padding has no kernel")
    tiling = tile(rows, bits)
    assert tiling is not None, "lanes of these bits were found to fit"
    left, every = max(c.pads[1] for c in convs), skips(layer) if skip else 1
    terms = []
    for conv in convs:
        channels, height, in_width = graph.shape_of(conv.source)
        top = conv.pads[0]
        last = (rows.height - 1) * conv.stride[0] - top + conv.weight.shape[2] - 1
        taps = kernel if tiling.segments == 1 else tiling.unit
        view = View(
            conv.source, channels, height, in_width, bits, -left, tiling.unit * every, tiling.row_words,
            every=every, top=top, bottom=max(0, last - (height - 1)),
            pad_value=int(conv.pad_value) if any(conv.pads) else 0, padded=any(conv.pads),
            reach=((tiling.columns - 1) * pool.stride[1] + pool.kernel[1] - 1) * stride * every + taps,
        )  # fmt: skip
        demands.ask(view)
        terms += _stretches(conv, view, left - conv.pads[1], tiling)
    return ConvPlan(layer, bits, tiling, tuple(terms), requant)


def _stretches(conv: Conv, view: View, skip: int, tiling: Tiling) -> list[ConvTerm]:
    """The taps of a convolution by the word of x they meet. skip: columns from the leftmost tap of the layer to the
    convolution's first."""
    kernel = conv.weight.shape[3]
    if tiling.segments == 1:
        return [ConvTerm(conv, view, skip, range(kernel))]
    terms = []
    for word in range(tiling.segments):
        first = word * tiling.unit - skip
        taps = range(max(0, first), min(kernel, first + tiling.unit))
        if taps:
            terms.append(ConvTerm(conv, view, taps.start - first, taps, word))
    return terms


def _settle(graph: IntegerGraph, drafts: list[LayerPlan], views: list[View]) -> Plan:
    """Give every term the merged view it reads, and every layer the views it must write."""

    def view_for(ask: View) -> View:
        return next(v for v in views if _mergeable(v, ask) and v.top >= ask.top and v.bottom >= ask.bottom)

    flattened = {t.source for layer in graph.layers for t in layer.terms if isinstance(t, Dense)}
    written: dict[str, tuple[View, ...]] = {}
    for draft in drafts:
        name = draft.layer.name
        wanted = tuple(v for v in views if v.tensor == name)
        if isinstance(draft, DensePlan):
            if wanted:
                raise UnsupportedOperator(f"a convolution reads the dense layer {name!r}")
            written[name] = (draft.native,)
        elif not wanted or (name in flattened and not any(v.holds_all for v in wanted)):
            # views for convolutions may lack columns that only a dense layer reads
            written[name] = (*wanted, draft.native)
        else:
            written[name] = wanted
    layers: list[LayerPlan] = []
    for draft in drafts:
        if isinstance(draft, ConvPlan):
            terms = tuple(replace(t, view=view_for(t.view)) for t in draft.terms)
            layers.append(replace(draft, terms=terms, outputs=written[draft.layer.name]))
        else:
            reads = tuple(
                (t, None if t.source == INPUT else _whole(written[t.source]), graph.high_of(t.source))
                for t in draft.layer.terms
                if isinstance(t, Dense)
            )
            layers.append(replace(draft, terms=reads))
    return Plan(graph, tuple(layers), tuple(v for v in views if v.tensor == INPUT))


def _whole(views: tuple[View, ...]) -> View:
    """The first of a tensor's views that holds all of it."""
    return next(view for view in views if view.holds_all)
