"""Walks the ONNX graph once; its nodes are either folded to constants or lowered by their operators."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from fedvm.compiler.errors import CompileError, ModelError, UnsupportedOperator
from fedvm.compiler.frontend import builder as build
from fedvm.compiler.frontend.builder import Builder, PaddingLevel
from fedvm.compiler.frontend.fold import FOLDABLE, fold
from fedvm.compiler.frontend.load import constant_array, model_input
from fedvm.compiler.frontend.operators import HEAD_OPERATORS, OPERATORS, Node, Relayout, Value, single
from fedvm.compiler.frontend.values import Ref, Tensor
from fedvm.compiler.graph import INPUT, FloatGraph, FloatLayer, Input


@dataclass(frozen=True)
class Lowered:
    """A network as float layers. layers: all that were made, including the graph's; values: the lowered output of each
    node, by its name in the ONNX file, in the file's order; nodes: the node that wrote each output."""

    graph: FloatGraph
    layers: tuple[FloatLayer, ...]
    values: dict[str, Tensor]
    nodes: dict[str, onnx.NodeProto]
    proto: onnx.ModelProto


def lower(proto: onnx.ModelProto, spec: Input, fixed: bool, *, adjustable: bool = False) -> Lowered:
    """The network as float layers, with the input laid out as `spec` says.

    `Relayout` if the first convolution sees another layout and `fixed` is false; `PaddingLevel` if padding needs
    another level of the input and its range is `adjustable`; UnsupportedOperator and ModelError name the node they
    mean.
    """
    name = model_input(proto)[0]
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    builder = Builder(spec, adjustable)
    traced: dict[str, Tensor] = {}
    nodes: dict[str, onnx.NodeProto] = {}
    values: dict[str, Value] = {t.name: constant_array(t) for t in proto.graph.initializer}
    values[name] = _input_tensor(spec)
    readers = _readers(proto.graph)
    for proto_node in proto.graph.node:
        inputs = [_value(values, proto_node, given) for given in proto_node.input]
        outputs = _lower_node(Node(proto_node, inputs, builder, opset, not fixed))
        for output, value in zip(proto_node.output, outputs, strict=False):
            # Computed once where several nodes read it, so that no layer's arithmetic is repeated.
            if isinstance(value, Tensor):
                value = builder.settle_all(value) if readers[output] > 1 else value
                traced[output], nodes[output] = value, proto_node
            values[output] = value
    scores = _scores(proto, values)
    graph = FloatGraph(spec, _finish(builder, proto, scores, opset), _head(proto, values))
    return Lowered(graph, tuple(builder.layers), traced, nodes, proto)


def _lower_node(node: Node) -> list[Any]:
    proto = node.proto
    if proto.domain not in ("", "ai.onnx"):
        raise _unsupported(node, f"the domain {proto.domain} is not supported")
    tensors = [value for value in node.inputs if isinstance(value, Tensor)]
    if proto.op_type in ("Shape", "Size") and tensors:
        shape = np.array(tensors[0].index.shape, np.int64)
        if proto.op_type == "Size":
            return [np.array(math.prod(shape.tolist()), np.int64)]
        return [shape[node.attribute("start", 0) : node.attribute("end", len(shape))]]
    if not tensors:
        if proto.op_type not in FOLDABLE:
            raise _unsupported(node, "no constants are computed with it")
        known = [value for value in node.inputs if not isinstance(value, Tensor)]
        return list(fold(proto, known, node.opset))
    if proto.op_type not in OPERATORS:
        raise _unsupported(node, "there is no kernel for it")
    if any(tensor.head for tensor in tensors) and proto.op_type not in HEAD_OPERATORS:
        raise _unsupported(node, "it follows the softmax or argmax, which ends the network")
    try:
        results = OPERATORS[proto.op_type](node)
    except UnsupportedOperator as error:
        raise (error if str(error).startswith("node ") else node.refuse(str(error))) from error
    except (CompileError, Relayout, PaddingLevel):
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The file is untrusted: unexpected forms of a node are refused by name, too.
        raise _unsupported(
            node, f"this form of it is not understood ({type(error).__name__}: {error})"
        ) from error
    return list(results)


def _unsupported(node: Node, reason: str) -> UnsupportedOperator:
    name = node.proto.name or (node.proto.output[0] if node.proto.output else "?")
    return UnsupportedOperator(
        f"node {name}: operator {node.proto.op_type}: {reason}. Supported: {', '.join(sorted(OPERATORS))}"
    )


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


def _readers(graph: onnx.GraphProto) -> Counter[str]:
    """How often each value is read for its numbers (not for its shape)."""
    counts = Counter(n for node in graph.node if node.op_type not in ("Shape", "Size") for n in node.input)
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
            raise ModelError("the model has several outputs; export it with the scores as the only one")
    return first


def _head(proto: onnx.ModelProto, values: dict[str, Value]) -> Any:
    heads = {value.head for output in proto.graph.output if isinstance(value := values[output.name], Tensor)}
    return "argmax" if "argmax" in heads else "softmax" if "softmax" in heads else ""


def _finish(builder: Builder, proto: onnx.ModelProto, scores: Tensor, opset: int) -> tuple[FloatLayer, ...]:
    """All layers the scores need, the last of them linear and unpooled."""
    node = Node(proto.graph.node[-1], [], builder, opset, False)
    part = single(node, scores)
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
