"""Operators that are made of others: normalisations by each input's own statistics, softmax inside a network, norms,
look-ups in a constant table, comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.aligned import MOST_SELECTED, vector_of
from fedvm.compiler.frontend.gates import GATES, product
from fedvm.compiler.frontend.operators import OPERATORS
from fedvm.compiler.frontend.operators.bounds import applied
from fedvm.compiler.frontend.operators.node import Node, Value
from fedvm.compiler.frontend.resampling import RESAMPLING
from fedvm.compiler.frontend.values import PADDING, Part, Pending, Ref, Tensor
from fedvm.compiler.graph import INPUT, FloatArray, IntArray, Pointwise

MASKED = -1e4
"""Scores at or below which a softmax gives nothing: exporters mask with −10,000, −10⁹ or the least float."""
DROWNING = 1e8
"""Constants as large leave nothing of an activation to which float32 adds them."""
MOST_ENTRIES = 256
"""Rows of a table that is looked up by a byte."""
MOST_COLUMNS = 64
"""Columns of such a table: each is a layer of its own."""


def call(node: Node, op: str, *inputs: Value, **attributes: Any) -> Tensor:
    """What a standard operator makes of these inputs, as part of `node`."""
    names = [f"{node.proto.output[0]}_{i}" for i in range(len(inputs))]
    proto = helper.make_node(op, names, [node.proto.output[0]], name=node.proto.name, **attributes)
    operator = GATES.get(op) or OPERATORS.get(op) or RESAMPLING[op]
    return operator(replace(node, proto=proto, inputs=list(inputs)))[0]


def mean_of(node: Node, tensor: Tensor, axes: Sequence[int]) -> Tensor:
    """The mean over some axes, which stay with the size 1."""
    return call(node, "ReduceMean", tensor, np.array(axes, np.int64), keepdims=1)


def square(node: Node, tensor: Tensor) -> Tensor:
    """The square of every element."""
    return applied(node, tensor, Pointwise("Square", np.square))


def _settled(node: Node, tensor: Tensor) -> Tensor:
    return node.builder.settle_all(tensor)


# -- normalisations ---------------------------------------------------------------------------------------------------


def _normalised(
    node: Node, tensor: Tensor, axes: Sequence[int], epsilon: float, centred: bool = True
) -> Tensor:
    """`(x − mean) / √(variance + ε)` over the axes; without `centred` x / √(mean of squares + ε)."""
    tensor = _settled(node, tensor)
    if centred:
        tensor = _settled(node, call(node, "Sub", tensor, mean_of(node, tensor, axes)))
    variance = mean_of(node, square(node, tensor), axes)
    inverse = applied(
        node, variance, Pointwise("inverse root", lambda v: 1 / np.sqrt(np.maximum(v, 0) + epsilon))
    )
    return call(node, "Mul", tensor, inverse)


def _scaled(node: Node, tensor: Tensor, scale: int, shift: int, shape: Sequence[int] | None = None) -> Tensor:
    """Times input `scale`, plus input `shift`, where the node has them; as arrays of `shape` if given."""
    for position, op in ((scale, "Mul"), (shift, "Add")):
        if node.given(position):
            constant = np.asarray(node.array(position), np.float64)
            tensor = call(node, op, tensor, constant if shape is None else constant.reshape(shape))
    return tensor


def _layer_norm(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    axes = list(range(node.axis(-1, tensor.index.ndim), tensor.index.ndim))
    result = _normalised(node, tensor, axes, float(node.attribute("epsilon", 1e-5)))
    return [_scaled(node, result, 1, 2)]


def _rms_norm(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    axes = list(range(node.axis(-1, tensor.index.ndim), tensor.index.ndim))
    return [
        _scaled(node, _normalised(node, tensor, axes, float(node.attribute("epsilon", 1e-5)), False), 1, 2)
    ]


def _instance_norm(node: Node) -> list[Tensor]:
    tensor = node.tensor()
    rank = tensor.index.ndim
    if rank < 3:
        raise node.refuse("activations without height or width have nothing to be normalised over")
    result = _normalised(node, tensor, list(range(2, rank)), float(node.attribute("epsilon", 1e-5)))
    return [_scaled(node, result, 1, 2, (1, -1, *[1] * (rank - 2)))]


def _group_norm(node: Node) -> list[Tensor]:
    tensor, groups = node.tensor(), int(node.attribute("num_groups"))
    shape = tensor.index.shape
    apart = replace(tensor, index=tensor.index.reshape(shape[0], groups, -1))
    result = _normalised(node, apart, [2], float(node.attribute("epsilon", 1e-5)))
    result = replace(result, index=result.index.reshape(shape))
    column = (1, -1, *[1] * (len(shape) - 2))
    each = shape[1] // groups if node.opset < 21 else 1  # a number for each group, later for each channel
    constants: list[Value | None] = [tensor, *(np.repeat(node.array(i), each) for i in (1, 2))]
    return [_scaled(replace(node, inputs=constants), result, 1, 2, column)]


def _mean_variance(node: Node) -> list[Tensor]:
    axes = [int(a) for a in node.attribute("axes", [0, 2, 3])]
    return [_normalised(node, node.tensor(), axes, 1e-9)]


def _lp_norm(node: Node) -> list[Tensor]:
    tensor = _settled(node, node.tensor())
    axis, p = node.axis(-1, tensor.index.ndim), int(node.attribute("p", 2))
    return [call(node, "Div", tensor, _norm(node, tensor, [axis], p, True))]


def _norm(node: Node, tensor: Tensor, axes: Sequence[int], p: int, keep: bool) -> Tensor:
    function = Pointwise("Square", np.square) if p == 2 else Pointwise("Abs", np.abs)
    total = call(
        node, "ReduceSum", applied(node, tensor, function), np.array(axes, np.int64), keepdims=int(keep)
    )
    return applied(node, total, _ROOT) if p == 2 else total


_ROOT = Pointwise("Sqrt", lambda v: np.sqrt(np.maximum(v, 0)), increasing=True)


def _reduced(before: Pointwise, after: Pointwise | None) -> Callable[[Node], list[Tensor]]:
    """A sum of functions of the elements, and a function of that."""

    def lower(node: Node) -> list[Tensor]:
        inner = applied(node, node.tensor(), before)
        given: list[Value | None] = [inner, *node.inputs[1:]]
        (total,) = OPERATORS["ReduceSum"](replace(node, inputs=given))
        return [total if after is None else applied(node, total, after)]

    return lower


def _log_sum_exp(node: Node) -> list[Tensor]:
    """The mean is taken off before the exponentials, and added after the logarithm."""
    tensor = _settled(node, node.tensor())
    axes = node.ints("axes", 1) or []
    if not axes and node.attribute("noop_with_empty_axes", 0):
        return [tensor]
    axes = axes or list(range(tensor.index.ndim))
    mean = _settled(node, mean_of(node, tensor, axes))
    powers = applied(node, call(node, "Sub", tensor, mean), Pointwise("Exp", np.exp, increasing=True))
    total = call(node, "ReduceSum", powers, np.array(axes, np.int64), keepdims=1)
    result = call(node, "Add", applied(node, total, Pointwise("Log", _log, increasing=True)), mean)
    if node.attribute("keepdims", 1):
        return [result]
    return [replace(result, index=result.index.squeeze(tuple(axes)))]


def _log(x: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        result: FloatArray = np.log(x)
    return result


# -- softmax ----------------------------------------------------------------------------------------------------------


def softmax(node: Node) -> list[Tensor]:
    """Softmax that does not end the network: exponentials of how far each score is below its group's largest, times the
    reciprocal of their sum. Elements that are masked (a constant of −10,000 or less) are 0."""
    tensor = node.tensor()
    masked = tensor.index == PADDING
    if masked.any() and tensor.fill > MASKED:
        raise node.refuse("a softmax over activations and constants has no kernel")
    if node.opset < 13 and node.attribute("axis", 1) not in (-1, tensor.index.ndim - 1):
        raise node.refuse("a softmax over several axes inside a network has no kernel")
    axis = int(node.attribute("axis", -1))
    shape = np.moveaxis(tensor.index, axis, -1).shape
    group = np.moveaxis(np.arange(tensor.index.size).reshape(shape) // shape[-1], -1, axis)[~masked]
    if masked.any() and masked.all(axis=axis).any():
        raise node.refuse(
            "a softmax whose scores are all masked has no kernel: the mask leaves nothing to choose from"
        )
    chosen = replace(tensor, index=tensor.index[~masked], fill=0.0)
    count = len(group)
    if count * count > MOST_SELECTED:
        raise node.refuse(
            f"a softmax over {count:,} scores inside a network is too large; up to 1,024 are taken"
        )
    same = (group[:, None] == group[None, :]).astype(np.float64)
    vector = node.builder.settle(vector_of(node.builder, _settled(node, chosen)))
    below = _less_largest(node, vector, group)
    powers = node.builder.settle(replace(below, function=Pointwise("Exp", np.exp, increasing=True)))
    inverse = replace(_times(node, powers, same), function=Pointwise("Reciprocal", _reciprocal))
    share = product(node.builder, powers, inverse)
    places = np.full(tensor.index.shape, PADDING, np.int64)
    places[~masked] = np.arange(count)
    result = Tensor((share,), places)
    if not masked.any():
        return [result]
    whole = vector_of(node.builder, result)
    return [Tensor((whole,), np.arange(places.size, dtype=np.int64).reshape(places.shape))]


def _less_largest(node: Node, vector: Ref, group: IntArray) -> Pending:
    """Each element less the largest of its group, which is found in rounds: max(x, y) = y + relu(x − y). A softmax does
    not depend on what is taken off, so that what rounding adds to it does no harm."""
    count = len(group)
    parts: list[Part] = [vector]
    left: list[FloatArray] = [np.eye(count)[group == g] for g in np.unique(group)]
    while any(len(rows) > 1 for rows in left):
        pairs = [(rows[0 : len(rows) // 2 * 2 : 2], rows[1::2]) for rows in left]
        differences = np.concatenate([first - second for first, second in pairs])
        sums = build.dense(Tensor(tuple(parts), np.arange(differences.shape[1])), differences)
        parts.append(node.builder.settle(replace(sums, low=0.0)))
        fresh, start = np.eye(len(differences)), 0
        for number, (rows, (_, second)) in enumerate(zip(left, pairs, strict=True)):
            beyond = fresh[start : start + len(second)]
            start += len(second)
            rest = rows[len(rows) // 2 * 2 :]
            kept = [np.hstack([second, beyond]), np.hstack([rest, np.zeros((len(rest), len(fresh)))])]
            left[number] = np.concatenate(kept)
    total = left[0].shape[1]
    largest = np.concatenate(left)[np.unique(group, return_inverse=True)[1]]
    return build.dense(Tensor(tuple(parts), np.arange(total)), np.eye(count, total) - largest)


def _reciprocal(x: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        result: FloatArray = np.reciprocal(x)
    return result


def _times(node: Node, part: Part, matrix: FloatArray) -> Pending:
    """`matrix · part` of a vector, in the terms of the part where it is no more than a choice of elements."""
    ref = node.builder.settle(part)
    assert isinstance(ref, Ref)
    return build.dense(Tensor((ref,), np.arange(len(matrix[0]))), matrix)


# -- look-ups and comparisons -----------------------------------------------------------------------------------------


def _gather(node: Node) -> list[Tensor]:
    """Rows of a constant table by numbers that depend on the input (an embedding): a function for each column."""
    if not isinstance(node.inputs[1], Tensor):
        return OPERATORS["Gather"](node)
    table, tensor = np.asarray(node.array(0), np.float64), node.tensor(1)
    if node.attribute("axis", 0) not in (0, -table.ndim) or table.ndim > 2:
        raise node.refuse("a look-up by activations takes rows of a constant table")
    columns = table.reshape(len(table), -1)
    if len(table) > MOST_ENTRIES or columns.shape[1] > MOST_COLUMNS:
        raise node.refuse(
            f"a table of {len(table)} rows and {columns.shape[1]} columns; up to {MOST_ENTRIES} rows, which a byte "
            f"tells apart, and {MOST_COLUMNS} columns are looked up"
        )
    parts: list[Part] = []
    places: list[IntArray] = []
    for column in columns.T:
        found = _settled(node, applied(node, tensor, Pointwise("Gather", _lookup(column))))
        places.append(found.index + sum(math.prod(part.shape) for part in parts))
        parts += found.parts
    index = np.stack(places, axis=-1)
    return [Tensor(tuple(parts), index if table.ndim == 2 else index[..., 0])]


def _lookup(column: FloatArray) -> Callable[[FloatArray], FloatArray]:
    def of(x: FloatArray) -> FloatArray:
        place = np.rint(x).astype(np.int64)
        place = np.where(place < 0, place + len(column), place)
        result: FloatArray = column[np.clip(place, 0, len(column) - 1)]
        return result

    return of


def _one_hot(node: Node) -> list[Tensor]:
    depth = int(node.array(1).ravel()[0])
    off, on = (float(v) for v in node.array(2).ravel())
    tensor = node.tensor()
    axis = node.axis(-1, tensor.index.ndim + 1)
    apart = replace(tensor, index=np.expand_dims(tensor.index, axis))
    places = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(tensor.index.ndim + 1)])
    difference = call(node, "Sub", apart, places.astype(np.float64))
    near = 0.5 if _is_whole(node, tensor) else 1e-6

    def hits(x: FloatArray) -> FloatArray:  # a negative number counts from the end
        return ((np.abs(x) < near) | (np.abs(x + depth) < near)).astype(np.float64)

    hit = applied(node, difference, Pointwise("OneHot", hits))
    return [call(node, "Add", call(node, "Mul", hit, np.array(on - off)), np.array(off))]


_TESTS: dict[str, Callable[[FloatArray], NDArray[Any]]] = {
    "Equal": lambda x: np.abs(x) < 1e-6,
    "Greater": lambda x: x > 0,
    "GreaterOrEqual": lambda x: x >= 0,
    "Less": lambda x: x < 0,
    "LessOrEqual": lambda x: x <= 0,
}
_WHOLE_TESTS: dict[str, Callable[[FloatArray], NDArray[Any]]] = {
    "Equal": lambda x: np.abs(x) < 0.5,
    "Greater": lambda x: x > 0.5,
    "GreaterOrEqual": lambda x: x > -0.5,
    "Less": lambda x: x < -0.5,
    "LessOrEqual": lambda x: x < 0.5,
}
"""Of differences of whole numbers: the edge lies halfway between two, so that the steps of a table need not meet it."""


def _compared(node: Node, left: Value, right: Value, op: str) -> Tensor:
    difference = call(node, "Sub", left, right)
    whole = all(_is_whole(node, value) for value in (left, right))
    test = (_WHOLE_TESTS if whole else _TESTS)[op]
    rises = op.startswith("Greater")
    return applied(node, difference, Pointwise(op, lambda x: test(x).astype(np.float64), rises))


def _is_whole(node: Node, value: Value) -> bool:
    """Whether all elements are whole numbers: constants, or the input if every byte stands for one."""
    if not isinstance(value, Tensor):
        return bool((value == np.rint(value)).all())
    return all(
        isinstance(part, Ref)
        and part.source == INPUT
        and bool((part.scale == np.rint(part.scale)).all() and (part.offset == np.rint(part.offset)).all())
        for part in value.parts
    )


def _compare(op: str) -> Callable[[Node], list[Tensor]]:
    def lower(node: Node) -> list[Tensor]:
        left, right = node.inputs[0], node.inputs[1]
        assert left is not None and right is not None
        return [_compared(node, left, right, op)]

    return lower


def _cast(node: Node) -> list[Tensor]:
    """Whole numbers stay what they are."""
    if _is_whole(node, node.tensor()):
        return [node.tensor()]
    return OPERATORS["Cast"](node)


def _where(node: Node) -> list[Tensor]:
    """A constant in the places that a constant condition names (a mask); else a choice between two tensors."""
    condition = node.inputs[0]
    if isinstance(condition, Tensor):
        yes, no = node.inputs[1], node.inputs[2]
        assert yes is not None and no is not None
        if not isinstance(yes, Tensor) and not isinstance(no, Tensor):
            return [call(node, "Add", call(node, "Mul", condition, yes - no), no)]
        difference = call(node, "Sub", yes, no) if isinstance(yes, Tensor) else call(node, "Sub", no, yes)
        chosen = call(node, "Mul", _settled(node, condition), difference)
        if isinstance(yes, Tensor):
            return [call(node, "Add", chosen, no)]
        return [call(node, "Sub", no, chosen)]
    mask = node.array(0).astype(bool)
    yes, no = node.inputs[1], node.inputs[2]
    tensor, constant = (yes, no) if isinstance(yes, Tensor) else (no, yes)
    if isinstance(constant, Tensor) or not isinstance(tensor, Tensor) or constant is None:
        raise node.refuse("a constant condition that chooses between two activations has no kernel")
    if (constant != constant.flat[0]).any():
        raise node.refuse("a mask of several constants has no kernel")
    kept = mask if tensor is yes else ~mask
    shape = np.broadcast_shapes(kept.shape, tensor.index.shape)
    index = np.where(np.broadcast_to(kept, shape), np.broadcast_to(tensor.index, shape), PADDING)
    return [replace(tensor, index=index, fill=float(constant.flat[0]))]


def _masked_add(node: Node) -> list[Tensor]:
    """Adding a mask (0, or −10,000 and less) is no arithmetic."""
    tensor = next((v for v in node.inputs if isinstance(v, Tensor)), None)
    constant = next((v for v in node.inputs if isinstance(v, np.ndarray)), None)
    if tensor is not None and constant is not None and constant.size and (constant <= MASKED).any():
        low = constant <= MASKED
        if (constant[~low] == 0).all() and len(node.inputs) == 2:
            value = np.array(float(constant.min()))
            return _where(replace(node, inputs=[low, value, tensor]))
    if constant is not None and constant.size and np.abs(constant).max() >= DROWNING:
        raise node.refuse(
            f"adds {np.abs(constant).max():g}, beside which float32 keeps nothing of the activations"
        )
    return OPERATORS["Add"](node)


COMPOSITE: dict[str, Callable[[Node], list[Tensor]]] = {
    "Add": _masked_add,
    "Cast": _cast,
    "Gather": _gather,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance,
    "OneHot": _one_hot,
    "RMSNormalization": _rms_norm,
    "ReduceL1": _reduced(Pointwise("Abs", np.abs), None),
    "ReduceL2": _reduced(Pointwise("Square", np.square), _ROOT),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceSumSquare": _reduced(Pointwise("Square", np.square), None),
    "Where": _where,
    **{op: _compare(op) for op in _TESTS},
}
