"""A recipe as an ONNX model, node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exact_bench.recipe import INPUT, Recipe, Size, Step, groups_of, sizes
from exact_bench.weights import numbers_of

OPSET = 17


def write_onnx(recipe: Recipe) -> bytes:
    """The model; its scores are its only output. Impossible if the steps do not fit each other."""
    return _Writer(recipe).model().SerializeToString()


class _Writer:
    def __init__(self, recipe: Recipe) -> None:
        self._recipe, self._sizes = recipe, sizes(recipe)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._names: dict[int, str] = {}

    def model(self) -> onnx.ModelProto:
        recipe = self._recipe
        self._names[INPUT] = self._input()
        for step in recipe.steps:
            self._names[step.number] = self._step(step, self._sizes[step.reads[0]])
        # Some exporters write a batch of one, some a free one.
        batch: str | int = "N" if recipe.seed % 3 else 1
        last = recipe.steps[-1]
        out = (batch, 1) if last.op == "argmax" else (batch, *self._sizes[recipe.output])
        kind = TensorProto.UINT8 if recipe.data == "uint8" else TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            f"random{recipe.seed}",
            [helper.make_tensor_value_info("x", kind, [batch, *recipe.onnx_size])],
            [
                helper.make_tensor_value_info(
                    self._names[recipe.output],
                    TensorProto.INT64 if last.op == "argmax" else TensorProto.FLOAT,
                    out,
                )
            ],
            self._constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)

    def _add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._constants)}"
        array: NDArray[Any] = np.asarray(value)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def _input(self) -> str:
        recipe, x = self._recipe, "x"
        if recipe.data == "uint8":
            x = self._add("Cast", [x], to=TensorProto.FLOAT)
        if recipe.data in ("bytes", "uint8"):
            x = self._add("Mul", [x, self._constant(np.float32(1 / 64))])
            x = self._add("Sub", [x, self._constant(np.float32(1.75))])
        rank = len(recipe.size)
        if recipe.layout == "flat" and rank > 1:
            return self._add("Reshape", [x, self._constant(np.array([-1, *recipe.size]))])
        if recipe.layout == "last" and rank > 1:
            return self._add("Transpose", [x], perm=[0, rank, *range(1, rank)])
        return x

    def _step(self, step: Step, source: Size) -> str:
        x = [self._names[n] for n in step.reads]
        numbers = numbers_of(self._recipe, step, source)
        if step.op == "dense" and not step.settings["gemm"]:
            product = self._add("MatMul", [*x, self._constant(np.ascontiguousarray(numbers["weight"].T))])
            return (
                self._add("Add", [product, self._constant(numbers["bias"])]) if "bias" in numbers else product
            )
        values = {k: self._constant(v) for k, v in numbers.items()}
        s = step.settings
        if step.op in ("conv", "max_pool", "average_pool"):
            return self._window(step, source, x, values)
        if step.op == "dense":
            return self._add("Gemm", [*x, *values.values()], transB=1)
        if step.op == "batchnorm":
            return self._add(
                "BatchNormalization", [*x, *(values[k] for k in ("gamma", "beta", "mean", "variance"))]
            )
        if step.op == "scale":
            return self._add("Add", [self._add("Mul", [*x, values["factor"]]), values["shift"]])
        if step.op == "clip":
            return self._add("Clip", [*x, *(self._constant(np.float32(s[k])) for k in ("low", "high"))])
        if step.op == "pad":
            half = len(s["pads"]) // 2
            pads = [0, 0, *s["pads"][:half], 0, 0, *s["pads"][half:]]
            return self._add("Pad", [*x, self._constant(np.array(pads))])
        if step.op == "slice":
            return self._add(
                "Slice", [*x, *(self._constant(np.array([n])) for n in (s["start"], s["end"], 1))]
            )
        if step.op == "flatten":
            if len(source) > 1 and step.number % 2:
                return self._add("Reshape", [*x, self._constant(np.array([-1, *self._sizes[step.number]]))])
            return self._add("Flatten", x)
        if step.op in ("reduce_mean", "reduce_max"):
            name = "ReduceMean" if step.op == "reduce_mean" else "ReduceMax"
            return self._add(name, x, axes=list(range(2, len(source) + 1)), keepdims=0)
        if step.op == "round_trip":
            rank = len(source)
            there = self._add("Transpose", x, perm=[0, *range(2, rank + 1), 1])
            return self._add("Transpose", [self._add("Relu", [there])], perm=[0, rank, *range(1, rank)])
        attributes: dict[str, Any] = {}
        if step.op == "concat":
            attributes = {"axis": 1}
        elif step.op == "softmax":
            attributes = {"axis": -1}
        elif step.op == "argmax":
            attributes = {"axis": 1}
        elif step.op == "leaky":
            attributes = {"alpha": 0.1}
        return self._add(PLAIN[step.op], x, **attributes)

    def _window(self, step: Step, source: Size, x: list[str], values: dict[str, str]) -> str:
        s = step.settings
        names = {"kernel_shape": "kernel", "strides": "stride", "pads": "pads"}
        attributes: dict[str, Any] = {name: list(s[key]) for name, key in names.items()}
        if step.op == "conv":
            inputs = [*x, *(values[k] for k in ("weight", "bias") if k in values)]
            return self._add("Conv", inputs, group=groups_of(step, source[0]), **attributes)
        if s.get("ceil"):
            attributes["ceil_mode"] = 1
        if step.op == "max_pool":
            return self._add("MaxPool", x, **attributes)
        if any(s["pads"]):
            attributes["count_include_pad"] = int(s["include_pad"])
        return self._add("AveragePool", x, **attributes)


PLAIN = {
    "relu": "Relu", "leaky": "LeakyRelu", "hard_sigmoid": "HardSigmoid", "negate": "Neg", "add": "Add",
    "concat": "Concat", "global_max": "GlobalMaxPool", "global_average": "GlobalAveragePool", "softmax": "Softmax",
    "argmax": "ArgMax",
}  # fmt: skip
"""Operations that are one node without constants."""
