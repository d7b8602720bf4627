"""Walks the ONNX graph once; its nodes are either folded to constants or lowered by their operators."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.compiler.errors import CompileError, ModelError, UnsupportedOperator
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend import heads
from fedvm.compiler.frontend.builder import Builder, InputGrid, PaddingLevel
from fedvm.compiler.frontend.chains import Chain, find_chains
from fedvm.compiler.frontend.composite import COMPOSITE, softmax
from fedvm.compiler.frontend.fold import FOLDABLE, fold
from fedvm.compiler.frontend.gates import GATES, square
from fedvm.compiler.frontend.inputs import model_input
from fedvm.compiler.frontend.load import constant_array
from fedvm.compiler.frontend.maxima import MAXIMA
from fedvm.compiler.frontend.operators import OPERATORS
from fedvm.compiler.frontend.operators.bounds import applied
from fedvm.compiler.frontend.operators.node import Node, Value
from fedvm.compiler.frontend.operators.sums import single
from fedvm.compiler.frontend.opset import version_of
from fedvm.compiler.frontend.pointwise import FUNCTIONS
from fedvm.compiler.frontend.qonnx import QONNX, quantized_constant
from fedvm.compiler.frontend.quantized import QUANTIZED, on_integers
from fedvm.compiler.frontend.recurrent import RECURRENT
from fedvm.compiler.frontend.resampling import RESAMPLING
from fedvm.compiler.frontend.transposed import TRANSPOSED
from fedvm.compiler.frontend.values import PADDING, Part, Ref, Tensor
from fedvm.compiler.frontend.varying import Relayout
from fedvm.compiler.graph import INPUT, FloatGraph, FloatLayer, Grid, Input, Pointwise, ScoreMap

_REASONS = {
    **dict.fromkeys(
        ("Loop", "Scan"), "loops have no kernel; recurrent layers are taken as RNN, GRU and LSTM"
    ),
    "Attention": "attention as one operator has no kernel; export it as products and a softmax (opset 22 or older)",
}
"""Why some operators are refused."""


@dataclass(frozen=True)
class Lowered:
    """A network as float layers. layers: all that were made, including the graph's; values: the lowered output of each
    node, by its name in the ONNX file, in the file's order; nodes: the node that wrote each output."""

    graph: FloatGraph
    layers: tuple[FloatLayer, ...]
    values: dict[str, Tensor]
    nodes: dict[str, onnx.NodeProto]
    proto: onnx.ModelProto

    def seen_in(self, proto: onnx.ModelProto) -> Lowered:
        """The same with the values and nodes of the file from which this one's was made."""
        nodes = {name: node for node in proto.graph.node for name in node.output if name in self.values}
        values = {name: value for name, value in self.values.items() if name in nodes}
        return replace(self, values=values, nodes=nodes, proto=proto)


def lower(
    proto: onnx.ModelProto,
    spec: Input,
    fixed: bool,
    *,
    adjustable: bool = False,
    measured: bool = False,
    probe: NDArray[np.uint8] | None = None,
) -> Lowered:
    """The network as float layers, with the input laid out as `spec` says.

    `Relayout` if the first convolution sees another layout and `fixed` is false; `PaddingLevel` if padding needs
    another level of the input and its range is `adjustable`; `InputGrid` if the file quantizes an input whose range was
    only `measured`; UnsupportedOperator and ModelError name the node they
    mean. probe: some calibration inputs as bytes `[N, C, H, W]`.
    """
    name = model_input(proto)[0]
    opset = version_of(proto)
    builder = Builder(spec, adjustable, measured, probe)
    traced: dict[str, Tensor] = {}
    nodes: dict[str, onnx.NodeProto] = {}
    values: dict[str, Value] = {t.name: constant_array(t) for t in proto.graph.initializer}
    values[name] = _input_tensor(spec)
    chains = find_chains(proto.graph, opset, heads.ends_of(proto.graph))
    shares = heads.softmax_inside(proto.graph)
    inside = {position for chain in chains for position in chain.nodes}
    ends = {chain.nodes[-1]: chain for chain in chains}
    readers = _readers(proto.graph, chains)
    for position, proto_node in enumerate(proto.graph.node):
        if position in inside and position not in ends:
            continue
        names = [ends[position].root] if position in ends else proto_node.input
        inputs = [_value(values, proto_node, given) for given in names]
        node = Node(proto_node, inputs, builder, opset, not fixed)
        outputs = (
            [_applied(node, ends[position])] if position in ends else _lower_node(node, position in shares)
        )
        for output, value in zip(proto_node.output, outputs, strict=False):
            # Computed once where several nodes read it, so that no layer's arithmetic is repeated.
            if isinstance(value, Tensor):
                value = builder.settle_all(value) if readers[output] > 1 else value
                traced[output], nodes[output] = value, proto_node
            values[output] = value
    scores, head = _scores(proto, values), _head(proto, values)
    order = heads.order_of(scores)
    node = Node(proto.graph.node[-1], [], builder, opset, False)
    part = single(node, scores) if order is None else scores.parts[0]
    form = heads.score_map(scores, order or (0, 1, 2))
    if head == "sigmoid" and scores.index.size == 1:
        part, form = heads.against_zero(builder.open(part)), ScoreMap(shape=(2,), axis=0)
    graph = FloatGraph(spec, _finish(builder, part), head, form)
    return Lowered(graph, tuple(builder.layers), traced, nodes, proto)


def _applied(node: Node, chain: Chain) -> Tensor:
    """The tensor that a chain of pointwise nodes makes of its root."""
    tensor = node.tensor()
    if tensor.head:
        raise _unsupported(node, "it follows the softmax or argmax, which ends the network")
    function = chain.function
    if tensor.grid is not None:
        function = _of_integers(function, tensor.grid)
        tensor = replace(tensor, grid=None)
    index = tensor.index.reshape((1,) * (chain.rank - tensor.index.ndim) + tensor.index.shape)
    if _is_square(function) and not (index == PADDING).any():
        parts = tuple(square(node.builder, part) for part in tensor.parts)
        return replace(tensor, parts=parts, index=index)
    return applied(node, replace(tensor, index=index), function)


def _is_square(function: Pointwise) -> bool:
    places = np.linspace(-3, 3, 25)
    return function.grid is None and bool(
        np.allclose(function.of(places), np.square(places), rtol=1e-12, atol=0)
    )


def _of_integers(function: Pointwise, grid: Grid) -> Pointwise:
    """The function of a grid's integers as one of the real numbers for which they stand."""
    return replace(function, of=lambda x: function.of(np.rint(x / grid.step) + grid.zero))


def _lower_node(node: Node, is_share: bool = False) -> list[Any]:
    """The outputs of a node. is_share: a softmax after which more is computed."""
    proto = node.proto
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    key = (domain, proto.op_type)
    plain = softmax if is_share else None if domain else _plain(proto.op_type)
    operator = QUANTIZED.get(key) or QONNX.get(key) or plain
    if domain and operator is None:
        raise _unsupported(node, f"the domain {proto.domain} is not supported")
    tensors = [value for value in node.inputs if isinstance(value, Tensor)]
    if proto.op_type in ("Shape", "Size") and tensors:
        shape = np.array(tensors[0].index.shape, np.int64)
        if proto.op_type == "Size":
            return [np.array(math.prod(shape.tolist()), np.int64)]
        return [shape[node.attribute("start", 0) : node.attribute("end", len(shape))]]
    if not tensors and key in QONNX:
        return list(quantized_constant(proto, [v for v in node.inputs if not isinstance(v, Tensor)]))
    if not tensors:
        if proto.op_type not in FOLDABLE:
            raise _unsupported(node, "no constants are computed with it")
        known = [value for value in node.inputs if not isinstance(value, Tensor)]
        return list(fold(proto, known, node.opset))
    if operator is None:
        if not domain and proto.op_type in FUNCTIONS:
            raise node.refuse("its other operands must be one number each, or functions of the same tensor")
        raise _unsupported(node, _REASONS.get(proto.op_type, "there is no kernel for it"))
    head = next((tensor.head for tensor in tensors if tensor.head), "")
    if head == "argmax" and proto.op_type in heads.VIEWS:
        return [tensors[0]]  # indices have no axis of scores any more
    if head and proto.op_type not in heads.HEAD_OPERATORS:
        raise _unsupported(node, "it follows the softmax or argmax, which ends the network")
    try:
        results = None if key in QUANTIZED else on_integers(node)
        results = operator(node) if results is None else results
    except UnsupportedOperator as error:
        raise (error if str(error).startswith("node ") else node.refuse(str(error))) from error
    except (CompileError, Relayout, PaddingLevel, InputGrid):
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The file is untrusted: unexpected forms of a node are refused by name, too.
        raise _unsupported(
            node, f"this form of it is not understood ({type(error).__name__}: {error})"
        ) from error
    return list(results)


def _plain(name: str) -> Callable[[Node], list[Tensor]] | None:
    """The lowering of a standard operator, None if it has none."""
    tables = (COMPOSITE, GATES, MAXIMA, RECURRENT, TRANSPOSED, OPERATORS, heads.OPERATORS, RESAMPLING)
    return next((table[name] for table in tables if name in table), None)


def _unsupported(node: Node, reason: str) -> UnsupportedOperator:
    name = node.proto.name or (node.proto.output[0] if node.proto.output else "?")
    known = ", ".join(
        sorted({*OPERATORS, *COMPOSITE, *RECURRENT, *TRANSPOSED, *heads.OPERATORS, *RESAMPLING, *FUNCTIONS})
    )
    return UnsupportedOperator(f"node {name}: operator {node.proto.op_type}: {reason}. Supported: {known}")


def _value(values: dict[str, Value], node: onnx.NodeProto, name: str) -> Value | None:
    if not name:
        return None
    if name not in values:
        raise ModelError(
            f"node {node.name or node.op_type} reads {name}, which nothing has written before it"
        )
    return values[name]


def _input_tensor(spec: Input) -> Tensor:
    channels, height, width = spec.shape
    index = np.arange(math.prod(spec.shape), dtype=np.int64)
    if spec.layout == "HWC":
        index = np.ascontiguousarray(index.reshape(channels, height, width).transpose(1, 2, 0)).reshape(-1)
    return Tensor((Ref(INPUT, spec.shape, spec.scale, spec.offset),), index.reshape(1, *spec.onnx_shape))


def _readers(graph: onnx.GraphProto, chains: Sequence[Chain]) -> Counter[str]:
    """How often each value is read for its numbers (not for its shape); a chain reads its root once."""
    inside = {position for chain in chains for position in chain.nodes}
    counts = Counter(
        name
        for position, node in enumerate(graph.node)
        if node.op_type not in ("Shape", "Size") and position not in inside
        for name in node.input
    )
    counts.update(chain.root for chain in chains)
    counts.update(value.name for value in graph.output)
    return counts


def _scores(proto: onnx.ModelProto, values: dict[str, Value]) -> Tensor:
    """The tensor whose values the outputs are (or are the softmax or argmax of)."""
    tensors = []
    for output in proto.graph.output:
        value = values.get(output.name)
        if not isinstance(value, Tensor):
            raise ModelError(f"output {output.name} does not depend on the input")
        tensors.append(value)
    if not tensors:
        raise ModelError("the model has no output")
    first = tensors[0]
    for tensor in tensors[1:]:
        if tensor.parts != first.parts or not np.array_equal(tensor.index.ravel(), first.index.ravel()):
            names = ", ".join(output.name for output in proto.graph.output)
            raise ModelError(
                f"the model has several outputs ({names}); choose one with output=NAME (--output NAME)"
            )
    return next((tensor for tensor in tensors if tensor.rivals is not None), first)


def _head(proto: onnx.ModelProto, values: dict[str, Value]) -> str:
    """The function of the outputs that says most: the index of the largest, else any."""
    found = {value.head for output in proto.graph.output if isinstance(value := values[output.name], Tensor)}
    return "argmax" if "argmax" in found else min(found - {""}, default="")


def _finish(builder: Builder, part: Part) -> tuple[FloatLayer, ...]:
    """All layers the scores need, the last of them linear and unpooled."""
    if isinstance(part, Ref):
        last = next((layer for layer in builder.layers if layer.name == part.source), None)
        if not (part.plain and last and last.activation == "linear" and last.pool is None and last.terms):
            part = build.pending(part)
    elif not part.linear:
        part = build.pending(builder.settle(part))
    name = builder.settle(part).source
    layers = {layer.name: layer for layer in builder.layers}
    needed: set[str] = set()
    stack = [name]
    while stack:
        if (current := stack.pop()) != INPUT and current not in needed:
            needed.add(current)
            stack += [term.source for term in layers[current].terms]
    kept = [layer for layer in builder.layers if layer.name in needed and layer.name != name]
    return (*kept, layers[name])
