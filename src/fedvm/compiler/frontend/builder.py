"""Collects finished layers and does the arithmetic on layers under construction."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.calibration import accumulate, evaluate
from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.frontend.values import Part, Pending, Ref, Tensor, planes
from fedvm.compiler.graph import (
    INPUT,
    Activation,
    Conv,
    Dense,
    FloatArray,
    FloatLayer,
    Grid,
    Input,
    Pointwise,
    Term,
)

LEVEL_ERROR = 1e-4
"""Steps by which a byte may be off and still count as exact: floats scale and shift it."""
SELECTED = 1024
"""Largest tensor whose elements a dense layer puts in order where nothing cheaper does."""


class PaddingLevel(Exception):
    """Padding of the input needs levels that its range does not have; lowering starts over with a range that does.

    q: the bytes that padding would need, `[C]`, some of them not whole numbers; NaN for a channel where any byte will
    do.
    """

    def __init__(self, q: FloatArray) -> None:
        super().__init__(q)
        self.q = q


class InputGrid(Exception):
    """The file quantizes its input itself; lowering starts over with that as the meaning of the bytes.

    scale, offset: of the network's real input over bytes, each `[C]`.
    """

    def __init__(self, scale: FloatArray, offset: FloatArray) -> None:
        super().__init__(scale, offset)
        self.scale, self.offset = scale, offset


@dataclass
class Builder:
    """The layers finished so far, in topological order. spec: the input's layout and meaning; adjustable: whether its
    range may still be moved to make padding exact; measured: whether it comes from the calibration data alone; probe:
    some calibration inputs as bytes `[N, C, H, W]`, if there are any."""

    spec: Input
    adjustable: bool = False
    measured: bool = False
    probe: NDArray[np.uint8] | None = None
    layers: list[FloatLayer] = field(default_factory=list)
    _settled: dict[int, tuple[Part, Ref]] = field(default_factory=dict)
    _names: Counter[str] = field(default_factory=Counter)
    _tensors: dict[str, FloatArray] = field(default_factory=dict)

    def settle(self, part: Part) -> Ref:
        """The part as a finished tensor: a pending layer is appended to the list (once)."""
        if isinstance(part, Ref):
            return part
        known = self._settled.get(id(part))
        if known is not None:
            return known[1]
        low, high = part.ends
        if part.grid is not None and not low <= 0 <= high:
            part = replace(part, grid=None)  # integers that cannot hold zero: they are chosen anew
        wide, narrow = _in_two(part)
        ref = self._finish(wide)
        if narrow is not None:
            ref = self._finish(replace(narrow, terms=pending(ref).terms))
        self._settled[id(part)] = part, ref  # keeps the part alive, so that no other object gets its id
        return ref

    def _finish(self, part: Pending) -> Ref:
        """The part as a layer at the end of the list."""
        part, shift = _zero_inside(part) if part.grid is None else (part, 0.0)
        self._names[kind := _kind(part)] += 1
        layer = FloatLayer(
            f"{kind}{self._names[kind]}",
            part.terms,
            part.bias,
            part.shape,
            part.pool,
            activation_of(part),
            part.grid,
        )
        self.layers.append(layer)
        channels = part.shape[0]
        return Ref(layer.name, part.shape, np.ones(channels), np.full(channels, shift))

    def grid_of(self, ref: Ref) -> Grid | None:
        """The integers that the file gives for the tensor, if it does."""
        found = next((layer for layer in self.layers if layer.name == ref.source), None)
        return found.grid if found is not None and ref.plain else None

    def settle_plain(self, part: Part) -> Ref:
        """Like `settle`, and a scaled or shifted tensor becomes a layer of its own."""
        ref = self.settle(part)
        return ref if ref.plain else self.settle(pending(ref))

    def settle_all(self, tensor: Tensor) -> Tensor:
        """The tensor with all parts finished."""
        return replace(tensor, parts=tuple(self.settle(part) for part in tensor.parts))

    def open(self, part: Part) -> Pending:
        """The part as a sum to which terms can be added."""
        if isinstance(part, Pending) and part.linear:
            return part
        return pending(self.settle(part))

    def single(self, tensor: Tensor) -> Part:
        """The tensor as one part whose elements stand in ONNX order; a selection layer is pending if
        needed."""
        if len(tensor.parts) == 1 and tensor.whole and (np.diff(tensor.index.ravel()) == 1).all():
            return tensor.parts[0]
        settled = self.settle_all(tensor)
        size = tensor.index.size
        view = tensor.index[:, :, None, :] if tensor.index.ndim == 3 else tensor.index
        found = planes(replace(settled, index=view))
        if found is not None and not any(found.pads):
            eye = np.eye(len(found.channel))[:, :, None, None]
            return conv(replace(settled, index=view), eye, (1, 1), (0, 0, 0, 0), 1)
        if tensor.index.shape.count(1) == tensor.index.ndim - 1 or size <= SELECTED:
            return dense(settled, np.eye(size))
        raise UnsupportedOperator("the arrangement of the tensor's axes cannot be folded into the next layer")

    def values(self, part: Pending) -> FloatArray | None:
        """What the sums of the part are for the calibration inputs, `[N, C, H, W]`; None if there are none."""
        if self.probe is None:
            return None
        if not self._tensors:
            self._tensors = {INPUT: self.probe.astype(np.float64)}
        missing = tuple(layer for layer in self.layers if layer.name not in self._tensors)
        self._tensors = evaluate(missing, self._tensors)
        return np.asarray(accumulate(part.terms, part.bias, self._tensors), np.float64)

    def is_nonnegative(self, ref: Ref) -> bool:
        """Whether the tensor cannot be negative."""
        floor = 0.0 if ref.source == INPUT else _low(next(x for x in self.layers if x.name == ref.source))
        return floor >= 0 and bool((ref.scale >= 0).all() and (ref.offset >= 0).all())


def pending(ref: Ref) -> Pending:
    """A scaled tensor as the layer that computes it: a depthwise 1×1 convolution."""
    term = Conv(ref.source, ref.scale[:, None, None, None], groups=len(ref.scale))
    return Pending((term,), ref.offset, ref.shape)


def affine(part: Pending | Ref, scale: FloatArray, offset: FloatArray) -> Part:
    """`scale[c] · part + offset[c]`; a pending part must be linear."""
    if isinstance(part, Ref):
        return Ref(part.source, part.shape, part.scale * scale, part.offset * scale + offset)
    terms = tuple(
        replace(term, weight=term.weight * scale.reshape(-1, *[1] * (term.weight.ndim - 1)))
        for term in part.terms
    )
    return replace(part, terms=terms, bias=part.bias * scale + offset)


def conv(
    tensor: Tensor, weight: FloatArray, stride: tuple[int, int], pads: tuple[int, int, int, int], groups: int
) -> Pending:
    """Convolution of a tensor of finished parts that is an arrangement of channel planes.

    weight: `[O, I / groups, kh, kw]`. Scale, offset and channel order of the parts go into weight and bias;
    the arrangement of padded values is the caller's to check: a part with an offset must be the input, or
    unpadded.
    """
    found = planes(tensor)
    if found is None:
        raise UnsupportedOperator("the input of the convolution is not in channel, height, width order")
    pads = (
        pads[0] + found.pads[0], pads[1] + found.pads[1], pads[2] + found.pads[2], pads[3] + found.pads[3]
    )  # fmt: skip
    outputs, inputs, kh, kw = weight.shape
    bias = np.zeros(outputs)
    refs = [part for part in tensor.parts if isinstance(part, Ref)]
    height, width = refs[int(found.part[0])].shape[1:]
    shape = (
        outputs,
        (height + pads[0] + pads[2] - kh) // stride[0] + 1,
        (width + pads[1] + pads[3] - kw) // stride[1] + 1,
    )
    identity = len(refs) == 1 and np.array_equal(found.channel, np.arange(refs[0].shape[0]))
    if groups > 1 and not identity:
        weight, groups = ungrouped(weight, groups), 1
        inputs = weight.shape[1]
    per_group = outputs // groups
    terms: list[Term] = []
    for number, ref in enumerate(refs):
        used = np.flatnonzero(found.part == number)
        if not len(used):
            continue
        if groups > 1:
            own = np.arange(outputs)[:, None] // per_group * inputs + np.arange(
                inputs
            )  # [O, I/g] source channel
            scaled = weight * ref.scale[own][:, :, None, None]
            bias += (weight.sum(axis=(2, 3)) * ref.offset[own]).sum(axis=1)
        else:
            channels = found.channel[used]
            scaled = np.zeros((outputs, ref.shape[0], kh, kw))
            for c, o in zip(used, channels, strict=True):
                scaled[:, o] += weight[:, c] * ref.scale[o]
            bias += weight[:, used].sum(axis=(2, 3)) @ ref.offset[channels]
        terms += _padded_terms(ref, scaled, stride, pads, groups, tensor.fill)
    return Pending(tuple(terms), bias, shape)


def dense(tensor: Tensor, weight: FloatArray) -> Pending:
    """Matrix product `weight [O, F] · tensor` with a tensor of finished parts, flattened in ONNX order."""
    outputs = len(weight)
    index = tensor.index.ravel()
    bias = weight[:, index < 0].sum(axis=1) * tensor.fill
    sums: dict[str, FloatArray] = {}
    starts = tensor.starts
    for number, part in enumerate(tensor.parts):
        columns = np.flatnonzero((index >= starts[number]) & (index < starts[number + 1]))
        if not len(columns):
            continue
        ref = part if isinstance(part, Ref) else None
        assert ref is not None, "dense needs finished parts"
        local = index[columns] - starts[number]
        channel = local // (ref.shape[1] * ref.shape[2])
        scaled = sums.setdefault(ref.source, np.zeros((outputs, math.prod(ref.shape))))
        np.add.at(scaled.T, local, (weight[:, columns] * ref.scale[channel]).T)
        bias = bias + weight[:, columns] @ ref.offset[channel]
    terms: tuple[Term, ...] = tuple(Dense(source, scaled) for source, scaled in sums.items())
    if not terms:
        raise UnsupportedOperator("nothing of the input is left in the tensor: it holds padding alone")
    return Pending(terms, bias, (outputs, 1, 1))


def ungrouped(weight: FloatArray, groups: int) -> FloatArray:
    """A grouped convolution's weight as that of an ordinary one, zero between groups."""
    outputs, inputs, kh, kw = weight.shape
    full = np.zeros((outputs, inputs * groups, kh, kw))
    for o in range(outputs):
        start = o // (outputs // groups) * inputs
        full[o, start : start + inputs] = weight[o]
    return full


def _padded_terms(
    ref: Ref,
    weight: FloatArray,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    groups: int,
    fill: float,
) -> list[Term]:
    """The convolution as one term, or as one per padding value where channels of the input need different
    ones."""
    if not any(pads):
        return [Conv(ref.source, weight, stride, pads, 0, groups)]
    if ref.source != INPUT:
        if fill or ref.offset.any():
            raise UnsupportedOperator("padding with a value other than zero is supported on the input only")
        return [Conv(ref.source, weight, stride, pads, 0, groups)]
    exact, nearest = padding_bytes(ref, fill), np.rint(np.clip(padding_bytes(ref, fill), 0, 255))
    if len(np.unique(nearest)) == 1:
        return [Conv(ref.source, weight, stride, pads, _one_or_each(exact), groups)]
    full = ungrouped(weight, groups) if groups > 1 else weight
    terms: list[Term] = []
    for value in np.unique(nearest):
        own = nearest == value
        held = _one_or_each(np.where(own, exact, exact[own][0]))
        terms.append(Conv(ref.source, full * own[None, :, None, None], stride, pads, held))
    return terms


def padding_bytes(ref: Ref, fill: float) -> FloatArray:
    """The bytes of the input that `ref` makes `fill`, `[C]`, as real numbers; 0 where every byte does."""
    still = ref.scale == 0
    exact: FloatArray = np.where(still, 0.0, (fill - ref.offset) / np.where(still, 1, ref.scale))
    whole = np.rint(exact)
    return np.where(np.abs(exact - whole) < LEVEL_ERROR, whole, exact)


def _one_or_each(values: FloatArray) -> float | FloatArray:
    return float(values[0]) if (values == values[0]).all() else values


def _zero_inside(part: Pending) -> tuple[Pending, float]:
    """The part shifted so that its range contains zero, and what to add to undo that."""
    shift = part.low if part.low > 0 else part.high if part.high < 0 else 0.0
    if not shift:
        return part, 0.0
    return replace(part, bias=part.bias - shift, low=part.low - shift, high=part.high - shift), shift


def applied(part: Part, function: Pointwise, grid: Grid | None = None) -> Pending:
    """The function of the part. A part that is clipped, rounded or a function already becomes a function of both.

    grid: the integers that the file gives for a finished part, if it does; a part that is a function has none.
    """
    if isinstance(part, Ref):
        part = pending(part)
    elif part.grid is not None:
        grid = replace(part.grid, low=part.grid.level(part.low), high=part.grid.level(part.high))
    if grid is not None:
        function = _after(Pointwise("round", grid.rounded, increasing=True, grid=grid), function)
    elif part.function is not None:
        function = _after(part.function, function)
    elif part.clipped:
        low, high = part.low, part.high
        function = _after(Pointwise("clip", lambda x: np.clip(x, low, high), increasing=True), function)
    return replace(part, low=-math.inf, high=math.inf, function=function, grid=None)


def bounded(part: Pending, low: float, high: float) -> Pending:
    """The part, already a function, clipped to a range."""
    assert part.function is not None
    clip = Pointwise("clip", lambda x: np.clip(x, low, high), increasing=True)
    return replace(part, function=_after(part.function, clip))


def _after(first: Pointwise, second: Pointwise) -> Pointwise:
    name, rises = f"{first.name}, {second.name}", first.increasing and second.increasing
    return Pointwise(name, lambda x: second.of(first.of(x)), rises, first.grid)


def _in_two(part: Pending) -> tuple[Pending, Pending | None]:
    """The part, and the layer after it that clips its lower end, if its integers are not a power of two of values.

    A layer clips to a power of two of values. The first has the right upper end, the second the right lower one.
    """
    grid = part.grid
    if grid is None or part.function is not None:  # a table gives any of its layer's values
        return part, None
    low, high = grid.level(part.low), grid.level(part.high)
    count = 1 << (high - low).bit_length()
    if high - low + 1 == count:
        return part, None
    below, above = replace(grid, low=high - count + 1), replace(grid, low=low, high=low + count - 1)
    first = replace(part, low=below.ends[0], grid=replace(below, high=high))
    bias = np.zeros(part.shape[0])
    return first, Pending((), bias, part.shape, None, above.ends[0], above.ends[1], grid=above)


def activation_of(part: Pending) -> Activation:
    """The part's activation as a finished layer has it."""
    if part.function is not None:
        return part.function
    if not part.clipped:
        return "linear"
    return "relu" if part.low == 0 and part.high == math.inf else ("clip", part.low, part.high)


def _low(layer: FloatLayer) -> float:
    if isinstance(layer.activation, tuple):
        return layer.activation[1]
    return 0.0 if layer.activation == "relu" else -math.inf


def _kind(part: Pending) -> str:
    if any(isinstance(term, Dense) for term in part.terms):
        return "dense"
    convs = [term for term in part.terms if isinstance(term, Conv)]
    if all(is_uniform(term) for term in convs):
        return "add" if len(convs) > 1 else "pool" if part.pool or convs[0].weight[0].size > 1 else "scale"
    return "conv"


def is_uniform(term: Conv) -> bool:
    """Whether the term is a shortcut or an average: depthwise, with equal weights within each channel."""
    weight = term.weight
    return term.groups == len(weight) and bool((weight == weight[:, :, :1, :1]).all())
