"""One function an ONNX operator: from lowered inputs to lowered outputs (semantics: ONNX operator
schemas)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.aligned import aligned, vector_of
from fedvm.compiler.frontend.builder import SELECTED, Builder, PaddingLevel
from fedvm.compiler.frontend.load import FLOATS, MAX_ELEMENTS
from fedvm.compiler.frontend.phases import from_phases, in_phases, over_phases
from fedvm.compiler.frontend.values import PADDING, Part, Pending, Ref, Tensor, planes, tensor_of
from fedvm.compiler.frontend.varying import MOST_VERSIONS, Relayout, by_position, divisors, layout_for
from fedvm.compiler.graph import INPUT, SIGNS, Conv, Dense, FloatArray, MaxPool, Pointwise, Term

Array: TypeAlias = NDArray[Any]
Value: TypeAlias = Tensor | Array


@dataclass(frozen=True)
class Node:
    """One node with its inputs: tensors, known arrays (float64 if floating-point), None where left out."""

    proto: onnx.NodeProto
    inputs: list[Value | None]
    builder: Builder
    opset: int
    relayout: bool  # whether the layout of the input may still be chosen

    def attribute(self, name: str, default: Any = None) -> Any:
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def given(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def tensor(self, position: int = 0) -> Tensor:
        value = self.inputs[position] if self.given(position) else None
        if not isinstance(value, Tensor):
            raise self.refuse(f"input {position} must come from the network's input")
        return value

    def array(self, position: int) -> Array:
        value = self.inputs[position] if self.given(position) else None
        if value is None or isinstance(value, Tensor):
            raise self.refuse(f"input {position} must be a constant")
        return value

    def ints(self, name: str, position: int) -> list[int] | None:
        """A list of integers that older opsets hold in an attribute and newer ones in an input."""
        if self.given(position):
            return [int(n) for n in self.array(position).ravel()]
        value = self.attribute(name)
        return None if value is None else [int(n) for n in value]

    @property
    def label(self) -> str:
        """The node in an error."""
        return f"node {self.proto.name or self.proto.output[0]} ({self.proto.op_type})"

    def refuse(self, reason: str) -> UnsupportedOperator:
        return UnsupportedOperator(f"{self.label}: {reason}")


# --- rearrangements ---------------------------------------------------------------------------


def _identity(node: Node) -> list[Tensor]:
    return [node.tensor()]


def _dropout(node: Node) -> list[Tensor]:
    if node.given(2) and bool(node.array(2).ravel()[0]):
        raise node.refuse("training mode; export the model after model.eval()")
    return [node.tensor()]


def _cast(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    if node.attribute("to") not in FLOATS and not tensor.head:
        name = TensorProto.DataType.Name(node.attribute("to"))
        raise node.refuse(f"casting activations to {name} would round them; remove the cast")
    return [tensor]


def _view(change: Callable[[Node, Array], Array]) -> Callable[[Node], list[Tensor]]:
    def lower(node: Node) -> list[Tensor]:
        tensor = node.tensor()
        try:
            return [replace(tensor, index=change(node, tensor.index))]
        except (ValueError, IndexError, np.exceptions.AxisError) as error:
            raise ModelError(f"node {node.proto.name or node.proto.op_type} has bad axes: {error}") from error

    return lower


def _reshape(node: Node, index: Array) -> Array:
    shape = [int(n) for n in node.array(1).ravel()]
    if not node.attribute("allowzero", 0):
        shape = [index.shape[axis] if n == 0 else n for axis, n in enumerate(shape)]
    return index.reshape(shape)


def _flatten(node: Node, index: Array) -> Array:
    axis = node.attribute("axis", 1)
    axis += index.ndim if axis < 0 else 0
    return index.reshape(math.prod(index.shape[:axis]), -1)


def _transpose(node: Node, index: Array) -> Array:
    return index.transpose(node.attribute("perm"))


def _squeeze(node: Node, index: Array) -> Array:
    axes = node.ints("axes", 1)
    return index.squeeze() if axes is None else index.squeeze(tuple(axes))


def _unsqueeze(node: Node, index: Array) -> Array:
    axes = node.ints("axes", 1)
    if axes is None:
        raise ValueError("axes are missing")
    return np.expand_dims(index, tuple(axes))


def _slice(node: Node, index: Array) -> Array:
    starts, ends = node.ints("starts", 1), node.ints("ends", 2)
    if starts is None or ends is None:
        raise ValueError("starts or ends are missing")
    axes = node.ints("axes", 3) or list(range(len(starts)))
    steps = node.ints("steps", 4) or [1] * len(starts)
    cuts = [slice(None)] * index.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0 and end < -index.shape[axis]:  # beyond the first
            cuts[axis] = slice(start, None, step)
        else:
            cuts[axis] = slice(start, end, step)
    result = index[tuple(cuts)]
    if not result.size:
        raise ValueError("the slice is empty")
    return result


def _gather(node: Node, index: Array) -> Array:
    positions = node.array(1).astype(np.int64)
    if positions.size * index.size > MAX_ELEMENTS:
        raise ValueError("the result is too large")
    return index.take(positions, axis=node.attribute("axis", 0))


def _split(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    axis = node.attribute("axis", 0)
    sizes = node.ints("split", 1)
    count = len(node.proto.output)
    if not -tensor.index.ndim <= axis < tensor.index.ndim:
        raise ModelError(f"node {node.proto.name or 'Split'} has a bad axis")
    length = tensor.index.shape[axis]
    if sizes is None:
        each = -(-length // count)
        sizes = [min(each, length - each * i) for i in range(count)]
    if sum(sizes) != length or min(sizes) <= 0 or len(sizes) != count:
        raise ModelError(f"node {node.proto.name or 'Split'} splits {length} into {sizes}")
    pieces = np.split(tensor.index, np.cumsum(sizes)[:-1], axis=axis)
    return [replace(tensor, index=piece) for piece in pieces]


def _concat(node: Node) -> list[Tensor]:
    parts: list[Part] = []
    indices: list[Array] = []
    start = 0
    for position in range(len(node.inputs)):
        tensor = node.tensor(position)
        if (tensor.index == PADDING).any() or tensor.head:
            raise node.refuse("input is padded or a head; only feature maps can be joined")
        parts += tensor.parts
        indices.append(tensor.index + start)
        start += tensor.starts[-1]
    axis = node.attribute("axis", 1)
    try:
        joined = np.concatenate(indices, axis=axis)
    except ValueError as error:
        raise ModelError(f"node {node.proto.name or 'Concat'}: {error}") from error
    # The parts will be read together with others, so that each has to stand on its own.
    return [node.builder.settle_all(Tensor(tuple(parts), joined))]


def _pad(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    if node.attribute("mode", "constant") != "constant":
        raise node.refuse("only constant padding is supported")
    pads = node.ints("pads", 1)
    fill = float(node.array(2).ravel()[0]) if node.given(2) else float(node.attribute("value", 0.0))
    axes = node.ints("axes", 3) or list(range(tensor.index.ndim))
    if pads is None or len(pads) != 2 * len(axes):
        raise node.refuse("pads do not fit the axes")
    if not any(pads):
        return [tensor]
    if min(pads) < 0 or max(pads) > 4096:
        raise node.refuse("pads must lie in 0..4096")
    if (tensor.index == PADDING).any() and tensor.fill != fill:
        raise node.refuse("two paddings with different values cannot be joined")
    widths = [(0, 0)] * tensor.index.ndim
    for position, axis in enumerate(axes):
        widths[axis] = (pads[position], pads[position + len(axes)])
    if math.prod(n + a + b for n, (a, b) in zip(tensor.index.shape, widths, strict=True)) > MAX_ELEMENTS:
        raise node.refuse("the result is too large")
    return [replace(tensor, index=np.pad(tensor.index, widths, constant_values=PADDING), fill=fill)]


# --- elementwise ------------------------------------------------------------------------------


def _scale_shift(node: Node, tensor: Tensor, scale: Array | float, offset: Array | float) -> Tensor:
    """`scale · tensor + offset` with constants that broadcast to the tensor and do not vary within a
    channel."""
    if (tensor.index == PADDING).any():
        raise node.refuse("a padded tensor must go into a convolution or a pooling layer first")
    scale, offset = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    try:
        shape = np.broadcast_shapes(tensor.index.shape, scale.shape, offset.shape)
    except ValueError as error:
        raise ModelError(f"node {node.proto.name or node.proto.op_type}: {error}") from error
    if math.prod(shape) != tensor.index.size:
        if math.prod(shape) > MAX_ELEMENTS:
            raise node.refuse("the result is too large")
        tensor = replace(tensor, index=np.broadcast_to(tensor.index, shape))
    if not tensor.whole:
        tensor = tensor_of_single(node, tensor)
    index = tensor.index.reshape(shape)
    flat = np.argsort(index, axis=None)  # the inverse of the arrangement
    scales = np.broadcast_to(scale, shape).ravel()[flat]
    offsets = np.broadcast_to(offset, shape).ravel()[flat]
    parts = []
    for number, part in enumerate(tensor.parts):
        own = slice(tensor.starts[number], tensor.starts[number + 1])
        a, b = scales[own].reshape(part.shape[0], -1), offsets[own].reshape(part.shape[0], -1)
        if (a != a[:, :1]).any() or (b != b[:, :1]).any():
            return _vary(node, tensor, flat, scales, offsets)
        if isinstance(part, Pending) and not part.linear:
            part = node.builder.settle(part)
        parts.append(build.affine(part, a[:, 0], b[:, 0]))
    return replace(tensor, parts=tuple(parts), index=index)


def _vary(node: Node, tensor: Tensor, order: Array, scales: Array, offsets: Array) -> Tensor:
    """`scale · tensor + offset` with constants that vary over positions, given in the order of the parts' elements."""
    if node.relayout:
        other = layout_for(node.builder, tensor, scales, offsets, node.label)
        if other is not None:
            raise other
    tensor = node.builder.settle_all(tensor)
    shape = tensor.index.shape
    if len(np.unique(np.stack([scales, offsets], axis=1), axis=0)) > MOST_VERSIONS:
        vector = vector_of(node.builder, tensor) if tensor.index.size <= SELECTED else None
        if vector is not None:
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            part = build.affine(node.builder.open(vector), scales[back], offsets[back])
            return Tensor((part,), np.arange(tensor.index.size).reshape(shape))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return by_position(tensor, scales[back].reshape(shape), offsets[back].reshape(shape))


def tensor_of_single(node: Node, tensor: Tensor) -> Tensor:
    """The tensor gathered into one part, in the same ONNX shape."""
    part = single(node, tensor)
    return Tensor((part,), np.arange(tensor.index.size, dtype=np.int64).reshape(tensor.index.shape))


def single(node: Node, tensor: Tensor) -> Part:
    try:
        return node.builder.single(tensor)
    except UnsupportedOperator as error:
        raise node.refuse(str(error)) from error


def _add(node: Node, sign: float = 1.0) -> list[Tensor]:
    left, right = node.inputs[0], node.inputs[1]
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        if sign < 0:
            right = _scale_shift(node, right, sign, 0.0)
        return [_sum(node, left, right)]
    if isinstance(left, Tensor):
        return [_scale_shift(node, left, 1.0, sign * node.array(1))]
    return [_scale_shift(node, node.tensor(1), sign, node.array(0))]


def _subtract(node: Node) -> list[Tensor]:
    return _add(node, -1.0)


def _sum_all(node: Node) -> list[Tensor]:
    total: Value | None = node.inputs[0]
    for position in range(1, len(node.inputs)):
        total = _add(replace(node, inputs=[total, node.inputs[position]]))[0]
    if not isinstance(total, Tensor):
        raise node.refuse("sum of constants")
    return [total]


def _multiply(node: Node) -> list[Tensor]:
    left, right = node.inputs[0], node.inputs[1]
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        raise node.refuse(
            "the product of two activations has no kernel (gates, attention, squeeze-and-excite)"
        )
    position = 0 if isinstance(left, Tensor) else 1
    return [_scale_shift(node, node.tensor(position), node.array(1 - position), 0.0)]


def _divide(node: Node) -> list[Tensor]:
    divisor = np.asarray(node.array(1), np.float64)
    if (divisor == 0).any():
        raise node.refuse("division by zero")
    return [_scale_shift(node, node.tensor(0), 1 / divisor, 0.0)]


def _negate(node: Node) -> list[Tensor]:
    return [_scale_shift(node, node.tensor(), -1.0, 0.0)]


def _sum(node: Node, left: Tensor, right: Tensor) -> Tensor:
    """Sum of two tensors of one shape as one layer with the terms of both."""
    if left.index.shape != right.index.shape:
        a, b, index = aligned(node.builder, left, right, node.label)
        return Tensor((sum_of(node.builder, a, b),), index)
    if (left.index == PADDING).any() or (right.index == PADDING).any():
        raise node.refuse("a padded tensor must go into a convolution or a pooling layer first")
    same = len(left.parts) == len(right.parts) == 1 and left.whole and np.array_equal(left.index, right.index)
    if same and left.parts[0].shape == right.parts[0].shape:
        a, b, index = left.parts[0], right.parts[0], left.index
    else:
        a, b, index = aligned(node.builder, left, right, node.label)
    return Tensor((sum_of(node.builder, a, b),), index)


def sum_of(builder: Builder, a: Part, b: Part) -> Pending:
    """The sum of two parts of one shape, with the terms of both."""
    first, second = builder.open(a), builder.open(b)
    if any(isinstance(term, Dense) for term in first.terms + second.terms):
        first, second = _as_dense(builder, first), _as_dense(builder, second)
    strides = {term.stride for term in first.terms + second.terms if isinstance(term, Conv)}
    if len(strides) > 1:
        first, second = (_unstrided(builder, part) for part in (first, second))
    return Pending(_merge(first.terms + second.terms), first.bias + second.bias, first.shape)


def _unstrided(builder: Builder, part: Pending) -> Pending:
    """The part as a term of a sum whose terms advance by one: a strided convolution becomes a layer of its
    own."""
    if all(isinstance(term, Conv) and term.stride == (1, 1) for term in part.terms):
        return part
    return build.pending(builder.settle(part))


def _as_dense(builder: Builder, part: Pending) -> Pending:
    """A sum of vectors in dense terms only; a convolution over a map becomes a layer of its own first."""
    if not all(isinstance(term, Dense) or term.weight.shape[2:] == (1, 1) for term in part.terms):
        part = build.pending(builder.settle(part))
    terms: list[Term] = []
    for term in part.terms:
        if isinstance(term, Conv):
            full = (
                build.ungrouped(np.asarray(term.weight, np.float64), term.groups)
                if term.groups > 1
                else term.weight
            )
            term = Dense(term.source, full[:, :, 0, 0])
        terms.append(term)
    return replace(part, terms=tuple(terms))


def _merge(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Terms of the same form on the same source as one."""
    merged: dict[object, Term] = {}
    for term in terms:
        form: object = (term.source, term.weight.shape)
        if isinstance(term, Conv):
            held = np.asarray(term.pad_value, np.float64).tobytes()
            form = (term.source, term.weight.shape, term.stride, term.pads, held, term.groups)
        known = merged.get(form)
        merged[form] = term if known is None else replace(term, weight=known.weight + term.weight)
    return tuple(merged.values())


def applied(node: Node, tensor: Tensor, function: Pointwise) -> Tensor:
    """The function of every element."""
    parts = []
    for part in tensor.parts:
        if isinstance(part, Pending) and part.grid is not None and (part.function or part.grid is SIGNS):
            part = node.builder.settle(part)
        grid = node.builder.grid_of(part) if isinstance(part, Ref) else None
        parts.append(build.applied(part, function, None if grid is SIGNS else grid))
    fill = tensor.fill
    if (tensor.index == PADDING).any():
        fill = float(function.of(np.array([fill]))[0])
    return replace(tensor, parts=tuple(parts), fill=fill)


def _clip_to(node: Node, tensor: Tensor, low: float, high: float) -> Tensor:
    if not low < high:
        raise node.refuse(f"clips to the empty range {low}..{high}")
    parts: list[Part] = []
    for part in tensor.parts:
        if isinstance(part, Ref):
            if low <= 0 and high == math.inf and node.builder.is_nonnegative(part):
                parts.append(part)
                continue
            part = build.pending(part)
        elif part.grid is not None and not (part.grid.holds(low) and part.grid.holds(high)):
            part = build.pending(node.builder.settle(part))
        if part.function is not None:
            parts.append(build.bounded(part, low, high))
            continue
        new_low, new_high = min(max(part.low, low), high), max(min(part.high, high), low)
        if not new_low < new_high:
            raise node.refuse("the activation is constant")
        parts.append(replace(part, low=new_low, high=new_high))
    fill = min(max(tensor.fill, low), high)
    return replace(tensor, parts=tuple(parts), fill=fill)


def _relu(node: Node) -> list[Tensor]:
    return [_clip_to(node, node.tensor(), 0.0, math.inf)]


def _clip(node: Node) -> list[Tensor]:
    low = float(node.array(1).ravel()[0]) if node.given(1) else float(node.attribute("min", -math.inf))
    high = float(node.array(2).ravel()[0]) if node.given(2) else float(node.attribute("max", math.inf))
    return [_clip_to(node, node.tensor(), low, high)]


def _maximum(node: Node) -> list[Tensor]:
    return [_clip_to(node, *_tensor_and_number(node), math.inf)]


def _minimum(node: Node) -> list[Tensor]:
    tensor, number = _tensor_and_number(node)
    return [_clip_to(node, tensor, -math.inf, number)]


def _tensor_and_number(node: Node) -> tuple[Tensor, float]:
    position = 0 if isinstance(node.inputs[0], Tensor) else 1
    bound = node.array(1 - position).ravel()
    if len(node.inputs) != 2 or (bound != bound[0]).any():
        raise node.refuse("only one activation and one number can be compared")
    return node.tensor(position), float(bound[0])


def _prelu(node: Node) -> list[Tensor]:
    """`αx + (1 − α)·relu(x)`, α varying by channel: a sum of the linear tensor and its positive part."""
    alpha = node.array(1)
    tensor = node.builder.settle_all(node.tensor())
    positive = _clip_to(node, tensor, 0.0, math.inf)
    return [_sum(node, _scale_shift(node, tensor, alpha, 0.0), _scale_shift(node, positive, 1 - alpha, 0.0))]


def _hard_sigmoid(node: Node) -> list[Tensor]:
    alpha, beta = float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5))
    return [_clip_to(node, _scale_shift(node, node.tensor(), alpha, beta), 0.0, 1.0)]


def _batch_normalization(node: Node) -> list[Tensor]:
    if node.attribute("training_mode", 0):
        raise node.refuse("training mode; export the model after model.eval()")
    gamma, beta, mean, variance = (node.array(i).astype(np.float64) for i in range(1, 5))
    tensor = node.tensor()
    if (variance < 0).any():
        raise ModelError(f"node {node.proto.name or 'BatchNormalization'} has a negative variance")
    scale = gamma / np.sqrt(variance + float(node.attribute("epsilon", 1e-5)))
    column = (1, -1, *[1] * (tensor.index.ndim - 2))
    return [_scale_shift(node, tensor, scale.reshape(column), (beta - mean * scale).reshape(column))]


# --- linear layers ----------------------------------------------------------------------------


def _convolution(node: Node) -> list[Tensor]:
    tensor, weight = node.tensor(), np.asarray(node.array(1), np.float64)
    spatial = weight.ndim - 2
    if spatial not in (1, 2) or tensor.index.ndim != weight.ndim:
        raise node.refuse("only 1-D and 2-D convolutions are supported")
    weight = dilated(node, weight)
    if spatial == 1:
        tensor, weight = replace(tensor, index=tensor.index[:, :, None, :]), weight[:, :, None, :]
    groups = int(node.attribute("group", 1))
    if groups < 1 or len(weight) % groups or weight.shape[1] * groups != tensor.index.shape[1]:
        raise ModelError(
            f"node {node.proto.name or 'Conv'}: weight {weight.shape} and {groups} groups do not fit"
        )
    tensor, frames = side_by_side(tensor)
    weight, groups = np.tile(weight, (frames, 1, 1, 1)), groups * frames
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    stride = pair_of(node, "strides", spatial, (1, 1))
    pads = _pads(node, tensor.index.shape[2:], kernel, stride, spatial)
    enlarged = (
        None if planes(tensor) is not None else in_phases(node.builder, node.builder.settle_all(tensor))
    )
    bias = np.asarray(node.array(2), np.float64).ravel() if node.given(2) else np.zeros(len(weight) // frames)
    if enlarged is not None:
        whole = _conv_over_phases(
            node, *enlarged, build.ungrouped(weight, groups), stride, pads, np.tile(bias, frames)
        )
    else:
        result = apply_conv(node, tensor, weight, stride, pads, groups)
        whole = tensor_of(replace(result, bias=result.bias + np.tile(bias, frames)))
    output = apart(whole, frames)
    return [replace(output, index=output.index[:, :, 0]) if spatial == 1 else output]


def _conv_over_phases(
    node: Node,
    tensor: Tensor,
    by: tuple[int, int],
    weight: FloatArray,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    bias: FloatArray,
) -> Tensor:
    """The convolution of a map that was enlarged by `by`, given as its phases."""
    size = (tensor.index.shape[2] * by[0], tensor.index.shape[3] * by[1])
    found = over_phases(weight, stride, pads, by, size)
    if found is None:
        raise node.refuse(f"a stride of {stride} over a map that was enlarged by {by} has no kernel")
    flat, step, around, phases, out = found
    result = apply_conv(node, tensor, flat, step, around, 1)
    result = replace(result, bias=result.bias + np.repeat(bias, phases[0] * phases[1]))
    return from_phases(result, phases, out)


def dilated(node: Node, weight: FloatArray) -> FloatArray:
    """The kernel with zeros between its taps."""
    steps = [int(d) for d in node.attribute("dilations", [])] or [1] * (weight.ndim - 2)
    if len(steps) != weight.ndim - 2 or min(steps) < 1:
        raise ModelError(f"{node.label} has bad dilations: {steps}")
    kernel = [(n - 1) * step + 1 for n, step in zip(weight.shape[2:], steps, strict=True)]
    if math.prod(weight.shape[:2]) * math.prod(kernel) > MAX_ELEMENTS:
        raise node.refuse(f"dilations {steps} make the kernel too large")
    wide = np.zeros((*weight.shape[:2], *kernel))
    taps: tuple[Any, ...] = (..., *(slice(None, None, step) for step in steps))
    wide[taps] = weight
    return wide


def side_by_side(tensor: Tensor) -> tuple[Tensor, int]:
    """`[B, C, H, W]` as `[1, B·C, H, W]`, and B: what is done to each frame is done to groups of channels."""
    frames = tensor.index.shape[0]
    return replace(tensor, index=tensor.index.reshape(1, -1, *tensor.index.shape[2:])), frames


def apart(tensor: Tensor, frames: int) -> Tensor:
    """Undoes `side_by_side`."""
    return replace(tensor, index=tensor.index.reshape(frames, -1, *tensor.index.shape[2:]))


def apply_conv(
    node: Node,
    tensor: Tensor,
    weight: FloatArray,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    groups: int,
) -> Pending:
    tensor = _channels_first(node, tensor)
    found = planes(tensor)
    if found is None:
        raise node.refuse(
            "the input is not in channel, height, width order, or reshaped before the convolution, or a constant "
            "before it varies over positions (an average without count_include_pad at the border, a mean image), or it "
            "was resized"
        )
    if any(pads) and any(found.pads) and tensor.fill:
        raise node.refuse("padding of zeros around another padding")
    if any(pads) or any(found.pads):
        fill = tensor.fill if any(found.pads) else 0.0
        parts = tuple(_paddable(node, part, fill) for part in _refs(tensor))
        tensor = replace(tensor, parts=parts, fill=fill)
    _check_positions(node, tensor.index.shape[2:], weight.shape[2:], pads)
    try:
        return build.conv(tensor, weight, stride, pads, groups)
    except UnsupportedOperator as error:
        raise node.refuse(str(error)) from error


def _paddable(node: Node, part: Ref, fill: float) -> Ref:
    """The part as one that can hold `fill` beside its values; a shifted one becomes a layer, which holds zero."""
    if part.source != INPUT:
        return part if not part.offset.any() else node.builder.settle_plain(part)
    q = build.padding_bytes(part, fill)
    if node.builder.adjustable and (q != np.rint(q)).any() | (q < 0).any() | (q > 255).any():
        raise PaddingLevel(np.where(part.scale == 0, np.nan, q))
    # What a byte means is given: the nearest byte is off by half a step at most, unless the value is out of reach.
    if (q >= -0.5).all() and (q <= 255.5).all():
        return part
    if fill:
        raise node.refuse(f"pads the input with {fill:g}, which lies outside what its bytes 0..255 stand for")
    return node.builder.settle_plain(part)


def _refs(tensor: Tensor) -> list[Ref]:
    return [part for part in tensor.parts if isinstance(part, Ref)]


def _channels_first(node: Node, tensor: Tensor) -> Tensor:
    """The tensor with finished parts; `Relayout` if it is the input as an image laid out in another way."""
    tensor = node.builder.settle_all(tensor)
    sources = {part.source for part in _refs(tensor)}
    if planes(tensor) is not None or sources != {INPUT} or not node.relayout:
        return tensor
    other = _layout_of_input(node, tensor)
    if other is not None:
        raise other
    return tensor


def _layout_of_input(node: Node, tensor: Tensor) -> Relayout | None:
    """The layout of the input in which the tensor is an arrangement of channel planes, if there is one."""
    if tensor.index.ndim != 4 or tensor.index.shape[0] != 1:
        return None
    spec = node.builder.spec
    size = math.prod(spec.shape)
    order = np.arange(size)
    if spec.layout == "HWC":
        order = order.reshape(spec.shape[1], spec.shape[2], -1).transpose(2, 0, 1).ravel()
    index = tensor.index[0]
    filled = index != PADDING
    inside = index[np.ix_(*(np.flatnonzero(filled.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))))]
    if not inside.size or (inside == PADDING).any():
        return None
    places = order[inside % size]  # in the order of the ONNX input
    height, width = inside.shape[1:]
    if size % (height * width):
        return None
    channels = size // (height * width)
    first, steps = places[:, :1, :1], np.arange(height * width).reshape(height, width)
    shape = (channels, height, width)
    if (places == first + steps).all() and not (first % (height * width)).any():
        return Relayout("CHW", shape)
    if (places == first + steps * channels).all() and (first < channels).all():
        return Relayout("HWC", shape)
    return None


def _gemm(node: Node) -> list[Tensor]:
    weight = np.asarray(node.array(1), np.float64)
    if node.attribute("transA", 0):
        raise node.refuse("transA has no kernel")
    weight = (weight if node.attribute("transB", 0) else weight.T) * float(node.attribute("alpha", 1.0))
    product = _apply_dense(node, node.tensor(), weight)
    if not node.given(2):
        return [product]
    bias = node.inputs[2]
    beta = float(node.attribute("beta", 1.0))
    if isinstance(bias, Tensor):
        return [_sum(node, product, _scale_shift(node, bias, beta, 0.0))]
    assert bias is not None
    return [_scale_shift(node, product, 1.0, beta * np.asarray(bias, np.float64))]


def _matmul(node: Node) -> list[Tensor]:
    return [_apply_dense(node, node.tensor(), np.asarray(node.array(1), np.float64).T)]


def _apply_dense(node: Node, tensor: Tensor, weight: FloatArray) -> Tensor:
    """Product with the last axis of the tensor; with other axes present, a 1×1 convolution over them."""
    if weight.ndim != 2 or weight.shape[1] != tensor.index.shape[-1]:
        raise node.refuse(f"weight {weight.shape[::-1]} does not fit the activations {tensor.index.shape}")
    lead = tensor.index.shape[:-1]
    if math.prod(lead) == 1:
        tensor = node.builder.settle_all(tensor)
        return Tensor((build.dense(tensor, weight),), np.arange(len(weight)).reshape(*lead, len(weight)))
    rows = tensor.index.reshape(1, math.prod(lead[:-1]), lead[-1], weight.shape[1])
    image = _channels_first(node, replace(tensor, index=rows.transpose(0, 3, 1, 2)))
    if planes(image) is not None:
        result = tensor_of(apply_conv(node, image, weight[:, :, None, None], (1, 1), (0, 0, 0, 0), 1))
        return replace(result, index=result.index.transpose(0, 2, 3, 1).reshape(*lead, len(weight)))
    count = math.prod(lead)
    if weight.size * count * count > MAX_ELEMENTS:
        raise node.refuse(f"products over the axes {lead} of this arrangement are too large")
    blocks = np.asarray(np.kron(np.eye(count), weight), np.float64)
    product = build.dense(node.builder.settle_all(tensor), blocks)
    return Tensor((product,), np.arange(len(blocks)).reshape(*lead, len(weight)))


# --- pooling ----------------------------------------------------------------------------------


def _max_pool(node: Node) -> list[Tensor]:
    if len(node.proto.output) > 1:
        raise node.refuse("the indices output has no kernel")
    if any(d != 1 for d in node.attribute("dilations", [1])):
        raise node.refuse("dilated pooling has no kernel")
    tensor, kernel, stride, pads = _pooling(node)
    return [_squeezed(node, _apply_max_pool(node, tensor, kernel, stride, pads))]


def _global_max_pool(node: Node) -> list[Tensor]:
    tensor = _image(node)
    size = (int(tensor.index.shape[2]), int(tensor.index.shape[3]))
    return [_squeezed(node, _apply_max_pool(node, tensor, size, (1, 1), (0, 0, 0, 0)))]


def _apply_max_pool(
    node: Node,
    tensor: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> Tensor:
    found = planes(tensor)
    if found is None:
        tensor = _channels_first(node, tensor)
        found = planes(tensor)
    if found is None:
        raise node.refuse("the input is not in channel, height, width order")
    if any(found.pads):
        # An explicit padding is one that never wins when nothing inside is smaller than it.
        if any(pads) or any(_lower_bound(node, part) < tensor.fill for part in tensor.parts):
            raise node.refuse(
                "pads activations with a value that could win; pad inside the pooling layer instead"
            )
        pads = found.pads
    if max(pads[0], pads[2]) >= kernel[0] or max(pads[1], pads[3]) >= kernel[1]:
        raise node.refuse("pads are as wide as the window, which then holds nothing")
    shapes = []
    parts: list[Part] = []
    for part in tensor.parts:
        if (
            isinstance(part, Ref)
            or part.pool is not None
            or not (part.function is None or part.function.increasing)
        ):
            part = build.pending(node.builder.settle(part))
        height, width = part.shape[1:]
        shapes.append(
            (
                part.shape[0],
                (height + pads[0] + pads[2] - kernel[0]) // stride[0] + 1,
                (width + pads[1] + pads[3] - kernel[1]) // stride[1] + 1,
            )
        )
        parts.append(replace(part, pool=MaxPool(kernel, stride, pads), shape=shapes[-1]))
    return _by_channel(parts, tensor)


def _lower_bound(node: Node, part: Part) -> float:
    if isinstance(part, Pending):
        return part.low
    return 0.0 if node.builder.is_nonnegative(part) else -math.inf


def _average_pool(node: Node) -> list[Tensor]:
    if any(d != 1 for d in node.attribute("dilations", [1])):
        raise node.refuse("dilated pooling has no kernel")
    tensor, kernel, stride, pads = _pooling(node)
    size, spatial = tensor.index.shape[2:], node.tensor().index.ndim - 2
    included = node.attribute("count_include_pad", 0)
    counted = _pads(node, size, kernel, stride, spatial) if included else (0, 0, 0, 0)
    counts = divisors(size, kernel, stride, pads, counted)
    least = int(counts.min())
    if least < 1:
        raise node.refuse("a window holds nothing but padding; use smaller pads")
    result = _depthwise(node, tensor, kernel, stride, pads, 1 / least)
    if int(counts.max()) > least:
        factor = np.broadcast_to(least / counts, result.index.shape)
        result = by_position(node.builder.settle_all(result), factor, np.zeros(factor.shape))
    return [_squeezed(node, result)]


def _global_average_pool(node: Node) -> list[Tensor]:
    tensor = _image(node)
    size = (int(tensor.index.shape[2]), int(tensor.index.shape[3]))
    tensor = _channels_first(node, tensor)
    if planes(tensor) is None:
        result = _summed(node, tensor, [2, 3], 1 / math.prod(size), (1, tensor.index.shape[1], 1, 1))
        return [_squeezed(node, result)]
    return [_squeezed(node, _depthwise(node, tensor, size, (1, 1), (0, 0, 0, 0), 1 / math.prod(size)))]


def _depthwise(
    node: Node,
    tensor: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    value: float,
) -> Tensor:
    """Every channel convolved with a kernel of equal values; channels keep their parts."""
    tensor = _channels_first(node, tensor)
    channels = tensor.index.shape[1]
    found = planes(tensor)
    several = len(tensor.parts) > 1 or kernel == tensor.index.shape[2:]
    if several and found is not None and not any(found.pads):
        parts: list[Part] = [
            apply_conv(
                node, tensor_of(part), _equal(part.shape[0], kernel, value), stride, pads, part.shape[0]
            )
            for part in tensor.parts
        ]
        return _by_channel(parts, tensor)
    return tensor_of(apply_conv(node, tensor, _equal(channels, kernel, value), stride, pads, channels))


def _equal(channels: int, kernel: tuple[int, int], value: float) -> FloatArray:
    return np.full((channels, 1, *kernel), value)


def _by_channel(parts: list[Part], old: Tensor) -> Tensor:
    """The pooled parts in the channel order that the tensor had before pooling."""
    found = planes(old)
    assert found is not None
    new = Tensor(tuple(parts), old.index)
    height, width = parts[0].shape[1:]
    starts = np.array(new.starts)[found.part] + found.channel * height * width
    inner = np.arange(height * width).reshape(height, width)
    return replace(new, index=(starts[:, None, None] + inner)[None].astype(np.int64), fill=0.0)


def _reduce_mean(node: Node) -> list[Tensor]:
    return [_reduce(node, mean=True)]


def _reduce_sum(node: Node) -> list[Tensor]:
    return [_reduce(node, mean=False)]


def _reduce_max(node: Node) -> list[Tensor]:
    axes, shape = _reduced_axes(node)
    if not axes:
        return [node.tensor()]
    image = _reduced_image(node, axes)
    if image is not None and planes(image) is None:
        image = _channels_first(node, image)
    if image is None or planes(image) is None:
        raise node.refuse(
            f"the maximum over the axes {axes} has no kernel; only that over height and width has"
        )
    size = (int(image.index.shape[2]), int(image.index.shape[3]))
    result = _apply_max_pool(node, image, size, (1, 1), (0, 0, 0, 0))
    return [replace(result, index=result.index.reshape(shape))]


def _reduce(node: Node, mean: bool) -> Tensor:
    """Mean or sum over some axes: an average where they are height and width, else a matrix product."""
    axes, shape = _reduced_axes(node)
    tensor = node.tensor()
    if not axes:
        return tensor
    count = math.prod(tensor.index.shape[axis] for axis in axes)
    value = 1 / count if mean else 1.0
    image = _reduced_image(node, axes)
    if image is not None:
        image = _channels_first(node, image)
        if planes(image) is not None:
            size = (int(image.index.shape[2]), int(image.index.shape[3]))
            result = _depthwise(node, image, size, (1, 1), (0, 0, 0, 0), value)
            return replace(result, index=result.index.reshape(shape))
    if axes == [tensor.index.ndim - 1] and math.prod(tensor.index.shape[:-1]) > 1:
        result = _apply_dense(node, tensor, np.full((1, count), value))
        return replace(result, index=result.index.reshape(shape))
    if tensor.index.ndim == 4 and axes == [1]:  # of channels, at every place
        last = _apply_dense(
            node, replace(tensor, index=tensor.index.transpose(0, 2, 3, 1)), np.full((1, count), value)
        )
        return replace(last, index=last.index.reshape(shape))
    return _summed(node, tensor, axes, value, shape)


def _summed(node: Node, tensor: Tensor, axes: list[int], value: float, shape: tuple[int, ...]) -> Tensor:
    """`value` times the sum over some axes, in the shape given, as a matrix product."""
    count = math.prod(tensor.index.shape[axis] for axis in axes)
    kept = [axis for axis in range(tensor.index.ndim) if axis not in axes]
    rows = tensor.index.transpose(*kept, *axes).reshape(-1)
    outputs = len(rows) // count
    if len(rows) * outputs > MAX_ELEMENTS:
        raise node.refuse(
            f"the sum over the axes {axes} is too large; only height and width have a kernel of their own"
        )
    weight = np.asarray(np.kron(np.eye(outputs), np.full((1, count), value)), np.float64)
    product = build.dense(node.builder.settle_all(replace(tensor, index=rows)), weight)
    return Tensor((product,), np.arange(outputs).reshape(shape))


def _reduced_axes(node: Node) -> tuple[list[int], tuple[int, ...]]:
    """The axes of a reduction, ascending, and the shape of its result."""
    before = node.tensor().index.shape
    rank = len(before)
    axes = node.ints("axes", 1)
    if not axes:
        axes = [] if node.attribute("noop_with_empty_axes", 0) else list(range(rank))
    if any(not -rank <= axis < rank for axis in axes):
        raise ModelError(f"node {node.proto.name or node.proto.op_type} has bad axes: {axes}")
    axes = sorted({axis % rank for axis in axes})
    if node.attribute("keepdims", 1):
        return axes, tuple(1 if axis in axes else n for axis, n in enumerate(before))
    return axes, tuple(n for axis, n in enumerate(before) if axis not in axes)


def _reduced_image(node: Node, axes: list[int]) -> Tensor | None:
    """The input of a reduction over two axes, or one, as `[1, C, H, W]`; None if other axes than C are left."""
    tensor = node.tensor()
    rank = tensor.index.ndim
    channel = [axis for axis in range(1, rank) if axis not in axes]
    if rank not in (3, 4) or len(channel) != 1 or 0 in axes or tensor.index.shape[0] != 1:
        return None
    index = tensor.index.transpose(0, channel[0], *axes)
    return replace(tensor, index=index[:, :, None, :] if rank == 3 else index)


def _image(node: Node) -> Tensor:
    tensor = node.tensor()
    if tensor.index.ndim not in (3, 4):
        raise node.refuse("only 1-D and 2-D pooling are supported")
    tensor = replace(tensor, index=tensor.index[:, :, None, :]) if tensor.index.ndim == 3 else tensor
    return side_by_side(tensor)[0]


def _squeezed(node: Node, result: Tensor) -> Tensor:
    """The result with the frames and the rank that the node's input has."""
    result = apart(result, node.tensor().index.shape[0])
    return replace(result, index=result.index[:, :, 0]) if node.tensor().index.ndim == 3 else result


def _pooling(node: Node) -> tuple[Tensor, tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Input, kernel, stride and pads of a pooling node; ceil_mode becomes padding at the end."""
    spatial = node.tensor().index.ndim - 2
    tensor = _image(node)
    kernel = pair_of(node, "kernel_shape", spatial, None)
    stride = pair_of(node, "strides", spatial, (1, 1))
    size = tensor.index.shape[2:]
    pads = _pads(node, size, kernel, stride, spatial)
    if node.attribute("ceil_mode", 0):
        begin, end = pads[:2], list(pads[2:])
        for axis in range(2):
            length = size[axis] + begin[axis] + end[axis]
            steps = math.ceil((length - kernel[axis]) / stride[axis])
            if steps * stride[axis] >= size[axis] + begin[axis]:
                steps -= 1  # the last window must not start in the padding
            end[axis] += max(0, steps * stride[axis] + kernel[axis] - length)
        pads = (*begin, end[0], end[1])
    _check_positions(node, size, kernel, pads)
    return tensor, kernel, stride, pads


def pair_of(node: Node, name: str, spatial: int, default: tuple[int, int] | None) -> tuple[int, int]:
    value = node.attribute(name)
    if value is None:
        if default is None:
            raise ModelError(f"node {node.proto.name or node.proto.op_type} has no {name}")
        return default
    if len(value) != spatial or min(value) < 1:
        raise ModelError(f"node {node.proto.name or node.proto.op_type} has a bad {name}: {list(value)}")
    return (1, int(value[0])) if spatial == 1 else (int(value[0]), int(value[1]))


def _pads(
    node: Node, size: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], spatial: int
) -> tuple[int, int, int, int]:
    mode = node.attribute("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = [], []
        for axis in range(2):
            total = max(0, (-(-size[axis] // stride[axis]) - 1) * stride[axis] + kernel[axis] - size[axis])
            small, large = total // 2, total - total // 2
            begin.append(small if mode == "SAME_UPPER" else large)
            end.append(large if mode == "SAME_UPPER" else small)
        return begin[0], begin[1], end[0], end[1]
    given = (
        [int(n) for n in node.attribute("pads", [0] * 2 * spatial)] if mode == "NOTSET" else [0] * 2 * spatial
    )
    if len(given) != 2 * spatial or min(given) < 0 or max(given) > 4096:
        raise ModelError(f"node {node.proto.name or node.proto.op_type} has bad pads: {given}")
    return (0, given[0], 0, given[1]) if spatial == 1 else (given[0], given[1], given[2], given[3])


def _check_positions(
    node: Node, size: tuple[int, ...], kernel: tuple[int, ...], pads: tuple[int, int, int, int]
) -> None:
    for axis in range(2):
        if size[axis] + pads[axis] + pads[axis + 2] < kernel[axis]:
            raise ModelError(
                f"node {node.proto.name or node.proto.op_type}: a window of {tuple(kernel)} does not fit "
                f"activations of {tuple(size)}"
            )


OPERATORS: dict[str, Callable[[Node], list[Tensor]]] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _convolution,
    "Div": _divide,
    "Dropout": _dropout,
    "Flatten": _view(_flatten),
    "Gather": _view(_gather),
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "HardSigmoid": _hard_sigmoid,
    "Identity": _identity,
    "MatMul": _matmul,
    "Max": _maximum,
    "MaxPool": _max_pool,
    "Min": _minimum,
    "Mul": _multiply,
    "Neg": _negate,
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceMax": _reduce_max,
    "ReduceMean": _reduce_mean,
    "ReduceSum": _reduce_sum,
    "Relu": _relu,
    "Reshape": _view(_reshape),
    "Slice": _view(_slice),
    "Split": _split,
    "Squeeze": _view(_squeeze),
    "Sub": _subtract,
    "Sum": _sum_all,
    "Transpose": _view(_transpose),
    "Unsqueeze": _view(_unsqueeze),
}
