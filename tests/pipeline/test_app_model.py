"""Networks and estimators of apps that cannot be served, and weights that would come into a file in the wrong order."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from fedvm.learning.errors import ExportError
from fedvm.pipeline.app_model import federated_app
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.federated_onnx import FinalModel, with_weights
from fedvm.pipeline.serve import Lineage

linear = pytest.importorskip("sklearn.linear_model")
svm = pytest.importorskip("sklearn.svm")
pytest.importorskip("skl2onnx")


def final(elements: int) -> FinalModel:
    vector = np.arange(elements, dtype=np.int32)
    return FinalModel(vector, 0, Lineage("0x" + 40 * "0", 1, bytes(32)), ("store",))


def regression(**arrays: Any) -> Any:
    made = linear.LogisticRegression()
    made.classes_, made.coef_, made.intercept_ = np.arange(3), np.zeros((3, 4)), np.zeros(3)
    for name, value in arrays.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"coef_": None}, "coef_ of the LogisticRegression of --model is no array of numbers"),
        ({"coef_": "none"}, "coef_ of the LogisticRegression"),
        ({"coef_": np.zeros((3, 2, 2))}, "with at most 2 axes"),
        ({"coef_": 5.0}, "coef_ of the LogisticRegression"),
        ({"intercept_": np.zeros((3, 1))}, "intercept_ of the LogisticRegression"),
        ({"classes_": np.arange(7)}, "has 7 classes_ and 3 rows of coef_"),
        ({"classes_": np.arange(2)}, "has 2 classes_ and 3 rows of coef_"),
    ],
)
def test_arrays_of_no_estimator_are_named(arrays: dict[str, Any], complaint: str) -> None:
    assert federated_app(regression(), "task:make", final(15)).tensors
    with pytest.raises(UsageError, match=complaint):
        federated_app(regression(**arrays), "task:make", final(15))


def test_an_estimator_that_computes_its_arrays_is_named() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(UsageError, match="arrays of the SVC of --model cannot be set"):
        federated_app(svm.SVC(kernel="linear").fit(x, np.arange(30) % 3), "task:make", final(15))


class Strange(nn.Module):
    """A network whose `forward` does what it is told to."""

    def __init__(self, does: str) -> None:
        super().__init__()
        self.layer, self.does = nn.Linear(4, 3), does

    def forward(self, x: torch.Tensor) -> Any:
        scores = self.layer(x)
        if self.does == "a dict":
            return {"scores": scores}
        if self.does == "two":
            return scores, scores
        if self.does == "asserts":
            raise AssertionError("no such layer")
        return {}["layer"]


@pytest.mark.parametrize(
    ("does", "complaint"),
    [
        ("a dict", "gives a dict: let it give one tensor"),
        ("two", "gives a tuple: let it give one tensor"),
        ("asserts", "AssertionError: no such layer"),
        ("fails", "KeyError: 'layer'"),
    ],
)
def test_a_network_that_gives_something_else_is_named(does: str, complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        federated_app(Strange(does), "task:make", final(15), input_shape=(4,))


def file_with(weight: np.ndarray[Any, Any]) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "kernel"], ["y"])],
        "network",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, weight.shape[0]])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, weight.shape[1]])],
        [numpy_helper.from_array(weight, "kernel")],
    )
    return bytes(helper.make_model(graph).SerializeToString())


def test_a_weight_that_the_file_holds_turned_over_is_not_filled_in_another_order() -> None:
    held = file_with(np.zeros((4, 3), np.float32))
    made = with_weights(held, {"kernel": np.zeros((4, 3), np.float32)}, final(12))
    (tensor,) = onnx.load_model_from_string(made.onnx).graph.initializer
    assert numpy_helper.to_array(tensor).tolist() == np.arange(12).reshape(4, 3).tolist()
    with pytest.raises(
        UsageError, match=r"kernel has the shape \(4, 3\) in the ONNX file, \(3, 4\) in the app"
    ):
        with_weights(held, {"kernel": np.zeros((3, 4), np.float32)}, final(12))
