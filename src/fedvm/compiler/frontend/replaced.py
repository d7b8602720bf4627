"""Puts other nodes in the place of some of a file's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
from onnx import helper


class Replacement:
    """The nodes that take the place of one, the last of which writes its value."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.output = node.output[0]

    def add(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Append a node; the name of what it writes, `output` or a new one."""
        output = output or f"{self.output}_{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output


def with_nodes_replaced(
    proto: onnx.ModelProto, replace: Callable[[onnx.NodeProto], list[onnx.NodeProto] | None]
) -> onnx.ModelProto:
    """The model with the nodes that `replace` gives in place of each for which it gives some; itself if it never
    does."""
    found = [replace(node) for node in proto.graph.node]
    if all(nodes is None for nodes in found):
        return proto
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    del result.graph.node[:]
    for node, nodes in zip(proto.graph.node, found, strict=True):
        result.graph.node.extend([node] if nodes is None else nodes)
    return result
