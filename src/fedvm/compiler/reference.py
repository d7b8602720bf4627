"""The integer network as a standard ONNX file that any runtime evaluates exactly.

Integers are carried in float32, where sums are exact in any order while every partial sum stays under 2^24;
ONNX's own integer operators are avoided because their SIMD kernels saturate on some CPUs (onnxruntime issues
16105, 14642).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fedvm.compiler.errors import RangeError
from fedvm.compiler.graph import INPUT, Conv, Dense, Input, IntegerGraph, IntegerLayer, MaxPool
from fedvm.compiler.interpreter import scores_shape

EXACT = 1 << 24
"""float32 holds every integer of a smaller magnitude."""


def build_reference(graph: IntegerGraph) -> onnx.ModelProto:
    """The network as ONNX (opset 17): input "input" uint8 `[N, *onnx_shape]`, output "scores" int32 `[N, O]`.

    The model's documentation says what the bytes of a real input stand for. The same graph gives the same bytes.
    Raises RangeError if some accumulator could reach 2^24 in magnitude.
    """
    _check_exact(graph)
    writer = _Writer()
    tensors = {INPUT: _input(writer, graph)}
    for layer in graph.layers:
        tensors[layer.name] = _layer(writer, layer, tensors)
    shape = scores_shape(graph)
    scores = tensors[graph.layers[-1].name]
    if graph.scores.order != (0, 1, 2):
        scores = writer.add("Transpose", [scores], perm=[0, *(axis + 1 for axis in graph.scores.order)])
    if len(shape) == 1:
        scores = writer.add("Flatten", [scores], axis=1)
    writer.add("Cast", [scores], output="scores", to=TensorProto.INT32)
    onnx_graph = helper.make_graph(
        writer.nodes,
        "fedvm_integer_reference",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", *graph.input.onnx_shape])],
        [helper.make_tensor_value_info("scores", TensorProto.INT32, ["N", *shape])],
        writer.constants,
    )
    model = helper.make_model(
        onnx_graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="fedvm", ir_version=8
    )
    if graph.input.float_input:
        model.doc_string = _input_documentation(graph.input)
    onnx.checker.check_model(model)
    return model


def _input_documentation(spec: Input) -> str:
    """Text with the range of every channel; numbers as JSON, so that programs can read it too."""
    facts = {
        "tensor": list(spec.shape),
        "layout": spec.layout,
        "scale": spec.scale.tolist(),
        "offset": spec.offset.tolist(),
    }
    return (
        "Integer network. A real input x of channel c is sent as the byte q = round((x - offset[c]) / scale[c]), "
        f"no less than 0 and no more than 255. Input as (C, H, W): {json.dumps(facts)}"
    )


@dataclass
class _Writer:
    """Collects nodes and constants under names that depend on their order only."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, op: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"n{len(self.nodes)}", **attributes))
        return output

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def floats(self, value: object) -> str:
        return self.constant(np.asarray(value, np.float32))


def _check_exact(graph: IntegerGraph) -> None:
    for layer in graph.layers:
        magnitude = np.abs(layer.bias)
        for term in layer.terms:
            weight = np.abs(np.asarray(term.weight, np.int64)).reshape(len(layer.bias), -1)
            magnitude = magnitude + weight.sum(axis=1) * graph.high_of(term.source)
        if int(magnitude.max()) >= EXACT:
            raise RangeError(
                f"layer {layer.name}: an accumulator may reach {int(magnitude.max())}, which float32 "
                f"does not hold exactly (limit {EXACT}); quantize with fewer lane, weight or activation bits"
            )


def _input(writer: _Writer, graph: IntegerGraph) -> str:
    channels, height, width = graph.input.shape
    tensor = writer.add("Cast", ["input"], to=TensorProto.FLOAT)
    if graph.input_shift:
        tensor = writer.add("Floor", [writer.add("Mul", [tensor, writer.floats(2.0**-graph.input_shift)])])
    hwc = graph.input.layout == "HWC"
    wanted = (height, width, channels) if hwc else (channels, height, width)
    if graph.input.onnx_shape != wanted:
        tensor = writer.add("Reshape", [tensor, writer.constant(np.array([0, *wanted], np.int64))])
    return writer.add("Transpose", [tensor], perm=[0, 3, 1, 2]) if hwc else tensor


def _layer(writer: _Writer, layer: IntegerLayer, tensors: dict[str, str]) -> str:
    total = ""
    for position, term in enumerate(layer.terms):
        bias = layer.bias if position == 0 else np.zeros_like(layer.bias)
        if isinstance(term, Conv):
            part = _conv(writer, term, bias, tensors[term.source])
        else:
            part = _dense(writer, term, bias, tensors[term.source])
        total = part if position == 0 else writer.add("Add", [total, part])
    if layer.pool is not None:
        total = _max_pool(writer, layer.pool, total)
    if layer.high is None:
        return total
    if layer.shift.any():
        factor = 0.5 ** layer.shift.astype(np.float64)
        total = writer.add("Mul", [total, writer.floats(factor[None, :, None, None])])
        total = writer.add("Floor", [total])
    clipped = writer.add("Clip", [total, writer.floats(0), writer.floats(layer.clip)])
    if layer.table is None:
        return clipped
    return writer.add(
        "Gather", [writer.floats(layer.table), writer.add("Cast", [clipped], to=TensorProto.INT64)]
    )


def _conv(writer: _Writer, term: Conv, bias: NDArray[np.int64], source: str) -> str:
    if any(term.pads):
        top, left, bottom, right = term.pads
        pads = writer.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        source = writer.add("Pad", [source, pads, writer.floats(term.pad_value)], mode="constant")
    return writer.add(
        "Conv",
        [source, writer.floats(term.weight), writer.floats(bias)],
        kernel_shape=list(term.weight.shape[2:]),
        strides=list(term.stride),
        group=term.groups,
    )


def _dense(writer: _Writer, term: Dense, bias: NDArray[np.int64], source: str) -> str:
    flat = writer.add("Flatten", [source], axis=1)
    product = writer.add("Gemm", [flat, writer.floats(term.weight), writer.floats(bias)], transB=1)
    return writer.add("Reshape", [product, writer.constant(np.array([0, len(bias), 1, 1], np.int64))])


def _max_pool(writer: _Writer, pool: MaxPool, source: str) -> str:
    return writer.add(
        "MaxPool", [source], kernel_shape=list(pool.kernel), strides=list(pool.stride), pads=list(pool.pads)
    )
