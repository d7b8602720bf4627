"""Brings files of operator sets before 7 to that one: what they say in attributes, newer ones say in shapes and inputs.

The forms are those of ONNX's changelog (docs/Changelog.md). ONNX's own converter lacks most of them, and aligns old
broadcasts wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from fedvm.compiler.errors import ModelError

OLDEST = 7
"""The operator set to which older ones are brought."""
NEUTRAL = 17
"""The operator set of files that name none."""


def version_of(proto: onnx.ModelProto) -> int:
    """The version of the default operator set that the model imports; `NEUTRAL` if it uses other sets alone."""
    return next((int(e.version) for e in proto.opset_import if e.domain in ("", "ai.onnx")), NEUTRAL)


def modernised(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model in operator set 7 or newer; itself if it is. ModelError for old forms that have no new one."""
    if version_of(proto) >= OLDEST:
        return proto
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    result.ir_version = max(result.ir_version, 4)  # from which on constants need not be among the inputs
    for node in result.graph.node:
        _take(node, "consumed_inputs")
    _rewrite(result, _FORMS, OLDEST - 1)
    _rewrite(result, _BROADCASTS, OLDEST)  # for which the shapes of the others are needed
    return result


def _rewrite(proto: onnx.ModelProto, rewrites: _Rewrites, version: int) -> None:
    """Rewrite the nodes named, after which the model is of this version."""
    old = _Old(proto)
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    for node in nodes:
        if node.op_type in rewrites:
            rewrites[node.op_type](old, node)
        proto.graph.node.append(node)
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = version


class _Old:
    """A file under conversion."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.graph, self.version = proto.graph, version_of(proto)
        inferred = onnx.shape_inference.infer_shapes(proto).graph
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        self._ranks = {
            v.name: len(v.type.tensor_type.shape.dim) for v in values if v.type.tensor_type.HasField("shape")
        }
        self._ranks |= {tensor.name: len(tensor.dims) for tensor in inferred.initializer}

    def rank(self, node: onnx.NodeProto, name: str) -> int:
        """The number of axes of a tensor that the node reads."""
        if name not in self._ranks:
            raise ModelError(
                f"node {_name(node)} ({node.op_type}) broadcasts as in opset {self.version}, and the shape of {name} "
                "is not known; export it again with opset 17"
            )
        return self._ranks[name]

    def constant(self, node: onnx.NodeProto, value: list[int]) -> str:
        """A new constant for an input of the node; returns its name."""
        name = f"{node.output[0]}_{node.op_type}_{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name

    def aligned(self, node: onnx.NodeProto, position: int, axis: int) -> None:
        """Append axes of 1 to an input of the node, so that its first axis meets `axis` of input 0."""
        rank, own = self.rank(node, node.input[0]), self.rank(node, node.input[position])
        axis += rank if axis < 0 else 0
        added = rank - axis - own
        if added < 0 or axis < 0:
            raise ModelError(
                f"node {_name(node)} ({node.op_type}) broadcasts over an axis that its input does not have"
            )
        if added:
            name = f"{node.output[0]}_aligned"
            self.graph.node.append(
                helper.make_node(
                    "Unsqueeze", [node.input[position]], [name], name, axes=list(range(own, own + added))
                )
            )
            node.input[position] = name


def _broadcast(old: _Old, node: onnx.NodeProto) -> None:
    """Before 7 the second operand is stretched from `axis` on, if `broadcast` is set; without `axis`, to the end."""
    axis, stretched = _take(node, "axis"), _take(node, "broadcast")
    if axis is not None and stretched is not None and stretched.i:
        old.aligned(node, 1, axis.i)


def _slope(old: _Old, node: onnx.NodeProto) -> None:
    """Before 7 a slope of one axis is one for each channel."""
    if old.rank(node, node.input[1]) == 1 and old.rank(node, node.input[0]) > 1:
        old.aligned(node, 1, 1)


def _trained(old: _Old, node: onnx.NodeProto) -> None:
    _take(node, "is_test")
    if node.op_type == "BatchNormalization" and len([name for name in node.output if name]) > 1:
        raise ModelError(
            f"node {_name(node)} (BatchNormalization): training mode; export the model for inference"
        )


def _gemm(old: _Old, node: onnx.NodeProto) -> None:
    _take(node, "broadcast")


def _reshape(old: _Old, node: onnx.NodeProto) -> None:
    shape = _take(node, "shape")
    if shape is not None:
        node.input.append(old.constant(node, list(shape.ints)))


def _cast(old: _Old, node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.type == AttributeProto.STRING:
            name = attribute.s.decode(errors="replace").upper()
            if name not in dict(TensorProto.DataType.items()):
                raise ModelError(f"node {_name(node)} casts to {name}, which is no type of numbers")
            attribute.CopyFrom(helper.make_attribute("to", TensorProto.DataType.Value(name)))


def _pad(old: _Old, node: onnx.NodeProto) -> None:
    pads = _take(node, "paddings")
    if pads is not None:
        node.attribute.append(helper.make_attribute("pads", list(pads.ints)))


def _concat(old: _Old, node: onnx.NodeProto) -> None:
    if not any(attribute.name == "axis" for attribute in node.attribute):
        node.attribute.append(helper.make_attribute("axis", 1))


def _upsample(old: _Old, node: onnx.NodeProto) -> None:
    height, width = _take(node, "height_scale"), _take(node, "width_scale")
    if height is not None and width is not None:
        node.attribute.append(helper.make_attribute("scales", [1.0, 1.0, height.f, width.f]))


_Rewrites: TypeAlias = dict[str, Callable[[_Old, onnx.NodeProto], None]]
_BROADCASTS: _Rewrites = {**dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow"), _broadcast), "PRelu": _slope}
_FORMS: _Rewrites = {
    "BatchNormalization": _trained,
    "Cast": _cast,
    "Concat": _concat,
    "Dropout": _trained,
    "Gemm": _gemm,
    "Pad": _pad,
    "Reshape": _reshape,
    "Upsample": _upsample,
}


def _take(node: onnx.NodeProto, name: str) -> AttributeProto | None:
    """An attribute, which the node then no longer has."""
    for attribute in node.attribute:
        if attribute.name == name:
            taken = AttributeProto()
            taken.CopyFrom(attribute)
            node.attribute.remove(attribute)
            return taken
    return None


def _name(node: onnx.NodeProto) -> str:
    return node.name or (node.output[0] if node.output else "?")
