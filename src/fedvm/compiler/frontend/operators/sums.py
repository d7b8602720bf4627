"""Sums of tensors and constants, and products with constants."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.aligned import aligned, vector_of
from fedvm.compiler.frontend.builder import SELECTED, Builder
from fedvm.compiler.frontend.load import MAX_ELEMENTS
from fedvm.compiler.frontend.operators.node import Array, Lowering, Node, Value
from fedvm.compiler.frontend.values import PADDING, Part, Pending, Tensor
from fedvm.compiler.frontend.varying import MOST_VERSIONS, by_position, layout_for
from fedvm.compiler.graph import Conv, Dense, Term


def scale_shift(node: Node, tensor: Tensor, scale: Array | float, offset: Array | float) -> Tensor:
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
            right = scale_shift(node, right, sign, 0.0)
        return [added(node, left, right)]
    if isinstance(left, Tensor):
        return [scale_shift(node, left, 1.0, sign * node.array(1))]
    return [scale_shift(node, node.tensor(1), sign, node.array(0))]


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
    return [scale_shift(node, node.tensor(position), node.array(1 - position), 0.0)]


def _divide(node: Node) -> list[Tensor]:
    divisor = np.asarray(node.array(1), np.float64)
    if (divisor == 0).any():
        raise node.refuse("division by zero")
    return [scale_shift(node, node.tensor(0), 1 / divisor, 0.0)]


def _negate(node: Node) -> list[Tensor]:
    return [scale_shift(node, node.tensor(), -1.0, 0.0)]


def _batch_normalization(node: Node) -> list[Tensor]:
    if node.attribute("training_mode", 0):
        raise node.refuse("training mode; export the model after model.eval()")
    gamma, beta, mean, variance = (node.array(i).astype(np.float64) for i in range(1, 5))
    tensor = node.tensor()
    if (variance < 0).any():
        raise ModelError(f"node {node.proto.name or 'BatchNormalization'} has a negative variance")
    scale = gamma / np.sqrt(variance + float(node.attribute("epsilon", 1e-5)))
    column = (1, -1, *[1] * (tensor.index.ndim - 2))
    return [scale_shift(node, tensor, scale.reshape(column), (beta - mean * scale).reshape(column))]


def added(node: Node, left: Tensor, right: Tensor) -> Tensor:
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


SUMS: dict[str, Lowering] = {
    "Add": _add,
    "BatchNormalization": _batch_normalization,
    "Div": _divide,
    "Mul": _multiply,
    "Neg": _negate,
    "Sub": _subtract,
    "Sum": _sum_all,
}
