"""The integer ensemble as a standard ONNX file: the same trees over ranks, with whole numbers in their leaves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fedvm.compiler.forest.integer import BYTE, Branch, IntegerForest

ML_OPSET = 3
_MODES = {"<=": "BRANCH_LEQ", "==": "BRANCH_EQ"}


def build_reference(forest: IntegerForest, meaning: dict[str, Any]) -> onnx.ModelProto:
    """The ensemble as ONNX (opset 17, ai.onnx.ml 3): "input" uint8 `[N, size]`, "scores" int32 `[N, K]`.

    meaning: what the bytes stand for, plain data, which goes into the file's documentation. The same ensemble gives the
    same bytes. All sums are whole numbers below 2²⁴, so float32 holds them exactly in any order.
    """
    weights = np.zeros((forest.size, len(forest.slots)), np.float32)
    for number, slot in enumerate(forest.slots):
        for byte in range(slot.bytes):
            weights[slot.at + byte, number] = BYTE ** (slot.bytes - 1 - byte)
    matrix = np.zeros((forest.accumulators, len(forest.scores)), np.float32)
    for number, score in enumerate(forest.scores):
        matrix[score.accumulator, number] = score.sign
    bias = np.array([score.bias for score in forest.scores], np.float32)
    constants = [
        numpy_helper.from_array(value, name)
        for name, value in (("weights", weights), ("matrix", matrix), ("bias", bias))
    ]
    nodes = [
        helper.make_node("Cast", ["input"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["bytes", "weights"], ["ranks"]),
        helper.make_node(
            "TreeEnsembleRegressor", ["ranks"], ["sums"], domain="ai.onnx.ml", **_attributes(forest)
        ),
        helper.make_node("Gemm", ["sums", "matrix", "bias"], ["exact"]),
        helper.make_node("Cast", ["exact"], ["scores"], to=TensorProto.INT32),
    ]
    graph = helper.make_graph(
        nodes,
        "fedvm_integer_reference",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", forest.size])],
        [helper.make_tensor_value_info("scores", TensorProto.INT32, ["N", len(forest.scores)])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="fedvm", ir_version=8)
    model.doc_string = "Integer ensemble of trees. What its input stands for: " + json.dumps(meaning)
    onnx.checker.check_model(model)
    return model


def _attributes(forest: IntegerForest) -> dict[str, Any]:
    nodes: list[tuple[int, int, int, str, float, int, int]] = []
    targets: list[tuple[int, int, int, float]] = []
    for number, tree in enumerate(forest.trees):
        for position, node in enumerate(tree):
            if isinstance(node, Branch):
                nodes.append(
                    (number, position, node.slot, _MODES[node.test], float(node.code), node.yes, node.no)
                )
                continue
            nodes.append((number, position, 0, "LEAF", 0.0, 0, 0))
            targets += [
                (number, position, k, float(value)) for k, value in enumerate(node.values) if value or not k
            ]
    names = ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    result: dict[str, Any] = {
        f"nodes_{name}": list(column) for name, column in zip(names, zip(*nodes, strict=True), strict=True)
    }
    parts = ("treeids", "nodeids", "ids", "weights")
    result |= {
        f"target_{name}": list(column) for name, column in zip(parts, zip(*targets, strict=True), strict=True)
    }
    return result | {"n_targets": forest.accumulators, "aggregate_function": "SUM", "post_transform": "NONE"}
