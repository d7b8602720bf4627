"""Forms of operators that exporters seldom write are lowered to what the file computes, or refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import graph_model
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fedvm.compiler import CompileError, ModelError, UnsupportedOperator, compile_model
from fedvm.compiler.compile import _as_bytes
from fedvm.compiler.fidelity import check_fidelity
from fedvm.compiler.frontend import load_lowered

node = helper.make_node
RNG = np.random.default_rng(4)
ML = "ai.onnx.ml"


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def lower(
    nodes: list[NodeProto],
    constants: dict[str, Any],
    shape: tuple[int, ...],
    rows: Any = None,
    **options: Any,
) -> None:
    """Compare what the layers compute with the file, on some rows."""
    data = RNG.normal(size=(40, *shape[1:])).astype(np.float32) if rows is None else rows
    model = graph_model(nodes, constants, shape, **options)
    lowered = load_lowered(model, samples=data, probe=data)
    check_fidelity(lowered, _as_bytes(lowered.graph.input, data))


@pytest.mark.parametrize(
    ("op", "given", "constants", "opset"),
    [
        ("LayerNormalization", {"axis": 3}, {"s": weights(4), "b": weights(4)}, 17),
        ("RMSNormalization", {"axis": -4}, {"s": weights(4)}, 23),
        ("LpNormalization", {"axis": 3}, {}, 17),
    ],
)
def test_an_axis_that_is_none_is_refused(op, given, constants, opset):
    with pytest.raises(CompileError, match=r"axis|axes|rank"):
        lower([node(op, ["x", *constants], ["y"], **given)], constants, (1, 3, 4), opset=opset)


def test_normalising_over_no_places_is_refused():
    constants = {"s": weights(4), "b": weights(4)}
    with pytest.raises(CompileError, match=r"nothing to be normalised|not a valid ONNX model"):
        lower([node("InstanceNormalization", ["x", "s", "b"], ["y"])], constants, (1, 4))


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"])
def test_a_number_without_axes_is_lowered(op):
    lower([node(op, ["x"], ["y"], keepdims=0)], {}, (1, 3, 4), opset=11)


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum"])
def test_a_number_without_axes_is_a_score(op):
    nodes = [node(op, ["x"], ["y"], keepdims=0)]
    rows = RNG.normal(size=(200, 3, 4)).astype(np.float32)
    compiled = compile_model(graph_model(nodes, {}, (1, 3, 4), opset=11), rows)
    assert compiled.manifest["output"]["shape"] == [1]


def test_a_reduction_over_no_axes_is_none():
    nodes = [node("ReduceLogSumExp", ["x", "axes"], ["y"], noop_with_empty_axes=1)]
    lower(nodes, {"axes": np.array([], np.int64)}, (1, 3, 4), opset=18)


@pytest.mark.parametrize("low", [0, -6])
def test_one_hot_counts_negative_numbers_from_the_end(low):
    rows = RNG.integers(low, low + 6, (40, 4)).astype(np.int64)
    constants = {"d": np.array(6), "v": np.array([-1, 2], np.float32)}
    lower([node("OneHot", ["x", "d", "v"], ["y"])], constants, (1, 4), rows, dtype=TensorProto.INT64)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("name", ["HardSigmoid", "Elu"])
def test_functions_of_recurrent_layers_with_numbers_of_their_own_are_refused(kind, name):
    count, gates = {"GRU": (2, 3), "LSTM": (3, 4)}[kind]
    constants = {"W": weights(1, 2 * gates, 3), "R": weights(1, 2 * gates, 2)}
    given = {"activations": [name] * count, "hidden_size": 2, "layout": 0}
    nodes = [
        node("Reshape", ["x", "steps"], ["s"]),
        node(kind, ["s", "W", "R"], ["", "h"], activation_alpha=[0.3] * count, **given),
        node("Flatten", ["h"], ["y"]),
    ]
    with pytest.raises(UnsupportedOperator, match=f"{name} with numbers of its own"):
        lower(nodes, constants | {"steps": np.array([4, 1, 3])}, (1, 12))


def test_a_clip_of_zero_is_a_clip():
    constants = {"W": weights(1, 2, 3), "R": weights(1, 2, 2), "steps": np.array([4, 1, 3])}
    nodes = [
        node("Reshape", ["x", "steps"], ["s"]),
        node("RNN", ["s", "W", "R"], ["", "h"], hidden_size=2, clip=0.0),
        node("Flatten", ["h"], ["y"]),
    ]
    with pytest.raises(UnsupportedOperator, match="clip"):
        lower(nodes, constants, (1, 12))


def attention(mask: np.ndarray) -> list[NodeProto]:
    return [
        node("Add", ["x", "m"], ["a"]),
        node("Softmax", ["a"], ["s"]),
        node("MatMul", ["s", "x"], ["y"]),
    ]


@pytest.mark.parametrize("low", [-1e4, -1e9, float(np.finfo(np.float32).min)])
def test_scores_that_are_all_masked_are_refused(low):
    mask = np.where(np.tri(3) > 0, 0, low).astype(np.float32)[None]
    lower(attention(mask), {"m": mask}, (1, 3, 3))
    mask[0, 1] = low
    with pytest.raises(UnsupportedOperator, match="all masked"):
        lower(attention(mask), {"m": mask}, (1, 3, 3))


def test_a_constant_that_drowns_the_activations_is_refused():
    with pytest.raises(UnsupportedOperator, match="float32 keeps nothing"):
        lower([node("Add", ["x", "c"], ["y"])], {"c": np.array([[0, 0, 1e9]], np.float32)}, (1, 3))


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
def test_same_padding_under_wide_strides(op, kernel, stride, auto):
    given: dict[str, Any] = {"auto_pad": auto, "strides": [stride, stride]}
    inputs = ["x", "w"] if op == "Conv" else ["x"]
    if op != "Conv":
        given["kernel_shape"] = [kernel, kernel]
    constants = {"w": weights(3, 2, kernel, kernel)} if op == "Conv" else {}
    try:
        lower([node(op, inputs, ["y"], **given)], constants, (1, 2, 4, 7))
    except UnsupportedOperator as error:
        assert stride > kernel and "auto_pad SAME" in str(error)


# -- rows of tables ---------------------------------------------------------------------------------------------------


def table(nodes: list[NodeProto], width: int, *, label: bool = False, constants: Any = None) -> ModelProto:
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width])]
    if label:
        outputs.insert(0, helper.make_tensor_value_info("l", TensorProto.INT64, ["N"]))
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


ROWS = RNG.normal(size=(200, 4)).astype(np.float32)


@pytest.mark.parametrize("kernel", ["LINEAR", "RBF", "POLY", "SIGMOID"])
def test_a_regressor_of_weights_is_linear_whatever_its_kernel(kernel):
    given = {"kernel_type": kernel, "kernel_params": [0.3, 0.5, 2.0], "n_supports": 0, "rho": [0.3]}
    model = table(
        [node("SVMRegressor", ["x"], ["y"], domain=ML, coefficients=[1.0, -2.0, 0.5, 3.0], **given)], 1
    )
    assert compile_model(model, ROWS).manifest["quality"]["correlation"] > 0.99


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_one_row_of_coefficients_for_two_classes(transform):
    given = {"classlabels_ints": [0, 1], "post_transform": transform, "intercepts": [0.2]}
    classifier = node(
        "LinearClassifier", ["x"], ["l", "y"], domain=ML, coefficients=[1.0, -2.0, 0.5, 3.0], **given
    )
    compiled = compile_model(table([classifier], 2, label=True), ROWS)
    assert compiled.manifest["quality"]["label_agreement"] == 1.0


def test_intercepts_that_do_not_fit_are_refused():
    given = {"coefficients": [1.0] * 8, "intercepts": [0.5], "targets": 2}
    with pytest.raises(ModelError, match="1 intercepts for 2 targets"):
        compile_model(table([node("LinearRegressor", ["x"], ["y"], domain=ML, **given)], 2), ROWS)
