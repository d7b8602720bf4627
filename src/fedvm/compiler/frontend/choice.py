"""Which outputs of a file are compiled, and the nodes that they need."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from fedvm.compiler.errors import ModelError


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What a caller gives: the inputs of a graph that are no weights stored in it, in the file's order."""
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]


def constant_tensors(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The numbers that a graph holds, by name: stored ones and those of Constant nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def needed_nodes(proto: onnx.ModelProto, names: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes on which the values called `names` depend, in the file's order."""
    wanted, chosen = set(names), []
    for node in reversed(proto.graph.node):
        if wanted.intersection(node.output):
            chosen.append(node)
            wanted.update(node.input)
    return chosen[::-1]


def with_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with the values called `names` as its outputs, of whatever type, and the nodes that these need."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:], result.graph.output[:]
    result.graph.node.extend(needed_nodes(proto, names))
    result.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return result


def chosen(proto: onnx.ModelProto, output: str | None) -> onnx.ModelProto:
    """The model with only the nodes that its outputs need, or that the one called `output` does.

    Raises ModelError, with the outputs' names, if it is none of them.
    """
    given = {value.name: value for value in proto.graph.output}
    if output is not None and output not in given:
        raise ModelError(f"the model has no output {output!r}; it has {', '.join(given) or 'none'}")
    names = list(given) if output is None else [output]
    result = with_outputs(proto, names)
    del result.graph.output[:]
    result.graph.output.extend(given[name] for name in names)
    return result
