"""The end of a network: what may be left out after its scores because it keeps their order (a softmax, a sigmoid, the
index of the largest).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import onnx

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.operators.node import Node
from fedvm.compiler.frontend.values import Part, Pending, Tensor
from fedvm.compiler.graph import IntArray, ScoreMap

VIEWS = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""What may follow the function that ends a network: it moves no score past another."""
RISING = {
    "Exp": "exp",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
SOFTMAX = {"LogSoftmax": "log_softmax", "Softmax": "softmax"}
HEAD_OPERATORS = VIEWS | {"ArgMax", "DequantizeLinear", "QuantizeLinear"}
"""What may still follow it."""


def ends_of(graph: onnx.GraphProto) -> list[int]:
    """Positions of the nodes that end the network: functions that keep the order of the scores."""
    return [position for position in _last(graph) if graph.node[position].op_type in RISING]


def softmax_inside(graph: onnx.GraphProto) -> set[int]:
    """Positions of the softmax nodes after which more is computed."""
    last = _last(graph)
    return {i for i, node in enumerate(graph.node) if node.op_type == "Softmax" and i not in last}


def _last(graph: onnx.GraphProto) -> list[int]:
    """Positions of the functions that keep the order of the scores and of what only rearranges their results."""
    readers: dict[str, list[int]] = defaultdict(list)
    for position, node in enumerate(graph.node):
        for name in node.input:
            readers[name].append(position)
    results = {value.name for value in graph.output}
    ended: dict[int, bool] = {}  # whether the node is a function, or comes before one
    for position in reversed(range(len(graph.node))):
        node = graph.node[position]
        following = [reader for name in node.output for reader in readers[name]]
        is_function = node.op_type in RISING or node.op_type in SOFTMAX
        if not (is_function or node.op_type in HEAD_OPERATORS) or any(r not in ended for r in following):
            continue
        before = any(ended[reader] for reader in following)
        if (following or results & set(node.output)) and not (is_function and before):
            ended[position] = is_function or before
    return list(ended)


# -- operators --------------------------------------------------------------------------------------------------------


def softmax(node: Node, head: str) -> Tensor:
    """The tensor as the scores of a softmax, which is called `head`."""
    tensor, rank = node.tensor(), node.tensor().index.ndim
    axis = int(node.attribute("axis", 1 if node.opset < 13 else -1))
    if not -rank <= axis < rank:
        raise ModelError(f"node {node.proto.name or node.proto.op_type} has a bad axis: {axis}")
    if node.opset < 13:  # over everything from the axis on
        rivals = tensor.index.reshape(int(np.prod(tensor.index.shape[: axis % rank])), -1)
    else:
        rivals = _along(tensor.index, axis)
    if rivals.shape[1] < 2:
        raise node.refuse("a softmax over one score is always 1; leave it out of the model")
    return replace(tensor, head=head, rivals=rivals)


def _softmax(node: Node) -> list[Tensor]:
    return [softmax(node, SOFTMAX[node.proto.op_type])]


def _arg_max(node: Node) -> list[Tensor]:
    tensor, rank = node.tensor(), node.tensor().index.ndim
    axis = int(node.attribute("axis", 0))
    if not -rank <= axis < rank:
        raise ModelError(f"node {node.proto.name or node.proto.op_type} has a bad axis: {axis}")
    if node.attribute("select_last_index", 0):
        raise node.refuse("of equal scores the contract takes the first; export with select_last_index=0")
    rivals = _along(tensor.index, axis)
    if rivals.shape[1] < 2:
        raise node.refuse("the index of the largest of one score is always 0; choose the axis of the classes")
    if tensor.rivals is not None and not _same_sets(rivals, tensor.rivals):
        raise node.refuse("the index of the largest along another axis than that of the softmax before it")
    return [replace(tensor, head="argmax", rivals=rivals)]


def _rising(node: Node) -> list[Tensor]:
    return [replace(node.tensor(), head=RISING[node.proto.op_type])]


def _along(index: IntArray, axis: int) -> IntArray:
    """The elements that an axis compares, `[G, K]`."""
    moved = np.moveaxis(index, axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _same_sets(a: IntArray, b: IntArray) -> bool:
    def canonical(x: IntArray) -> IntArray:
        rows = np.sort(x, axis=1)
        return rows[np.argsort(rows[:, 0])]

    return a.shape == b.shape and np.array_equal(canonical(a), canonical(b))


OPERATORS: dict[str, Callable[[Node], list[Tensor]]] = {
    "ArgMax": _arg_max,
    **dict.fromkeys(SOFTMAX, _softmax),
    **dict.fromkeys(RISING, _rising),
}

# -- the scores -------------------------------------------------------------------------------------------------------


def order_of(tensor: Tensor) -> tuple[int, int, int] | None:
    """The axes of the one part's (C, H, W) in the order in which the tensor goes through them; None if its elements
    are arranged in another way."""
    if len(tensor.parts) != 1 or not tensor.whole:
        return None
    own = np.arange(tensor.index.size).reshape(tensor.parts[0].shape)
    for a, b, c in permutations(range(3)):
        if np.array_equal(own.transpose(a, b, c).ravel(), tensor.index.ravel()):
            return a, b, c
    return None


def score_map(tensor: Tensor, order: tuple[int, int, int]) -> ScoreMap:
    """How the scores stand: their shape in the file, and along which axis they compete.

    UnsupportedOperator if they compete across axes.
    """
    shape = tensor.index.shape or (1,)
    shape = shape[1:] if shape[0] == 1 else shape
    if tensor.rivals is None:
        return ScoreMap(order, shape)
    if not tensor.whole:
        raise UnsupportedOperator("the scores of a softmax or argmax must be a whole tensor, each once")
    place = np.empty(tensor.index.size, np.int64)
    place[tensor.index.ravel()] = np.arange(tensor.index.size)
    rivals = place[tensor.rivals]
    rivals = rivals[np.argsort(rivals[:, 0])]
    for given in (shape, (len(rivals), rivals.shape[1])):
        for axis in range(len(given)):
            along = _along(np.arange(tensor.index.size).reshape(given), axis)
            if np.array_equal(along[np.argsort(along[:, 0])], rivals):
                return ScoreMap(order, tuple(int(n) for n in given), axis)
    raise UnsupportedOperator("the scores that a softmax or argmax compares lie along no axis of the output")


def against_zero(part: Part) -> Pending:
    """The one score of a sigmoid, the log-odds, as two: that of its rival is always 0."""
    part = build.pending(part) if not isinstance(part, Pending) else part
    terms = tuple(
        replace(term, weight=np.concatenate([np.zeros_like(term.weight), term.weight])) for term in part.terms
    )
    return replace(part, terms=terms, bias=np.concatenate([np.zeros(1), part.bias]), shape=(2, 1, 1))
