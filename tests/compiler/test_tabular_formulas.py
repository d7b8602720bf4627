"""Models that scikit-learn's exporter writes as formulas: naive Bayes, quadratic forms, clusters, boosting, products of
features, bins. The integers give the label of the file, and are as accurate as it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MinMaxScaler,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from fedvm.compiler import CompiledModel, UnsupportedOperator, compile_model
from fedvm.compiler.columns import Column, Feature, Row
from fedvm.compiler.frontend.tabular import encoders
from fedvm.compiler.frontend.tabular.affine import ROW, Affine
from fedvm.compiler.frontend.tabular.node import Follower
from fedvm.compiler.frontend.tabular.vectors import decisions, over_norm, squares
from fedvm.compiler.probe import reference_scores

CHANGED = 0.04
"""Share of the rows held back whose label may be another than the file's: those that it has hardly decided."""


def scores_of(compiled: CompiledModel, rows: np.ndarray) -> np.ndarray:
    return reference_scores(compiled.reference.SerializeToString(), compiled.quantize_input(rows))


def split(load: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    count = len(x) * 7 // 10
    x, y = x[order].astype(np.float32), y[order]
    return x[:count], y[:count], x[count:], y[count:]


def exported(model: Any, x: np.ndarray, y: np.ndarray | None = None) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_onnx(model.fit(x, y), x[:1])


def run(model: onnx.ModelProto, rows: np.ndarray) -> list[Any]:
    return ort.InferenceSession(model.SerializeToString()).run(None, {model.graph.input[0].name: rows})


def lr() -> LogisticRegression:
    return LogisticRegression(max_iter=500)


CLASSIFIERS = {
    "GaussianNB": lambda: make_pipeline(StandardScaler(), GaussianNB()),
    "GaussianNB, features as they are": GaussianNB,
    "BernoulliNB": lambda: make_pipeline(StandardScaler(), BernoulliNB()),
    "BernoulliNB after Binarizer": lambda: make_pipeline(StandardScaler(), Binarizer(), BernoulliNB()),
    "MultinomialNB": lambda: make_pipeline(MinMaxScaler(), MultinomialNB()),
    "ComplementNB": lambda: make_pipeline(MinMaxScaler(), ComplementNB()),
    "QuadraticDiscriminantAnalysis": lambda: make_pipeline(
        StandardScaler(), QuadraticDiscriminantAnalysis(reg_param=0.1)
    ),
    "AdaBoost": lambda: make_pipeline(StandardScaler(), AdaBoostClassifier(n_estimators=6, random_state=0)),
    "AdaBoost, deeper": lambda: AdaBoostClassifier(
        DecisionTreeClassifier(max_depth=3), n_estimators=4, random_state=0
    ),
    "CalibratedClassifierCV": lambda: make_pipeline(
        StandardScaler(), CalibratedClassifierCV(LinearSVC(random_state=0), cv=2)
    ),
    "OneVsRest": lambda: make_pipeline(StandardScaler(), OneVsRestClassifier(lr())),
    "OneVsRest of trees": lambda: OneVsRestClassifier(DecisionTreeClassifier(max_depth=4, random_state=0)),
    "OneVsRest of scores": lambda: make_pipeline(StandardScaler(), OneVsRestClassifier(LinearSVC())),
    "Bagging of linear models": lambda: make_pipeline(
        StandardScaler(), BaggingClassifier(lr(), 3, random_state=0)
    ),
    "SGDClassifier, log_loss": lambda: make_pipeline(
        StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)
    ),
    "KBinsDiscretizer, one-hot": lambda: make_pipeline(KBinsDiscretizer(4, encode="onehot-dense"), lr()),
    "KBinsDiscretizer, ordinal": lambda: make_pipeline(
        KBinsDiscretizer(5, encode="ordinal", strategy="uniform"), lr()
    ),
    "SVC, poly of degree 2": lambda: make_pipeline(StandardScaler(), SVC(kernel="poly", degree=2, coef0=1.0)),
}


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_keeps_its_label(name, load):
    x, y, rows, truth = split(load)
    model = exported(CLASSIFIERS[name](), x, y)
    compiled = compile_model(model, x)
    label = run(model, rows)[0]
    found = np.array(compiled.manifest["output"]["classes"])[scores_of(compiled, rows).argmax(axis=1)]
    assert (found != label).mean() <= CHANGED
    assert (found == truth).mean() >= (label == truth).mean() - CHANGED


@pytest.mark.parametrize(
    "features",
    [
        PolynomialFeatures(2),
        PolynomialFeatures(2, interaction_only=True),
        PolynomialFeatures(2, include_bias=False),
    ],
    ids=["all", "interactions", "without bias"],
)
def test_products_of_features(features):
    x, y, rows, _ = split(load_iris)
    model = exported(make_pipeline(StandardScaler(), features, lr()), x, y)
    compiled = compile_model(model, x)
    assert (scores_of(compiled, rows).argmax(axis=1) != run(model, rows)[0]).mean() <= CHANGED


@pytest.mark.parametrize(
    "model",
    [
        SVR(kernel="poly", degree=2, C=50),
        SVR(kernel="poly", degree=2, coef0=1.0, C=50),
        PoissonRegressor(),
        make_pipeline(PolynomialFeatures(2), Ridge(10)),
    ],
    ids=["SVR, poly", "SVR, poly with a constant", "PoissonRegressor", "PolynomialFeatures, Ridge"],
)
def test_a_regressor_keeps_its_values(model):
    x, y, rows, _ = split(load_diabetes)
    onnx_model = exported(make_pipeline(StandardScaler(), model), x, y)
    compiled = compile_model(onnx_model, x)
    found = compiled.real_scores(scores_of(compiled, rows)).ravel()
    assert np.corrcoef(found, run(onnx_model, rows)[0].ravel())[0, 1] >= 0.995


@pytest.mark.parametrize("scaled", [True, False])
def test_a_cluster_is_the_nearest_mean(scaled):
    x, _, rows, _ = split(load_wine)
    kmeans = KMeans(3, n_init=1, random_state=0)
    model = exported(make_pipeline(StandardScaler(), kmeans) if scaled else kmeans, x)
    compiled = compile_model(model, x)
    assert compiled.manifest["output"]["classes"] == [0, 1, 2]
    label, distances = run(model, rows)
    assert (scores_of(compiled, rows).argmax(axis=1) != label).mean() <= CHANGED
    if scaled:  # the distances themselves, by name; rows far beyond those of the calibration are off
        compiled = compile_model(model, x, output="scores")
        found = compiled.real_scores(scores_of(compiled, rows)).reshape(distances.shape)
        assert np.median(np.abs(found - distances)) < 0.03


@pytest.mark.parametrize("kind", ["ArgMin", "ArgMax"])
@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": 1, "select_last_index": 1}])
def test_a_label_that_is_not_the_first_of_the_columns_is_refused(kind, options):
    """Over the rows it would depend on what else is asked."""
    nodes = [
        helper.make_node(
            "Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0] * 3, scale=[1.0, 2.0, 1.0]
        ),
        helper.make_node(kind, ["y"], ["label"], **options),
    ]
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["N", 1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    with pytest.raises(UnsupportedOperator, match=f"{kind}.*axis=1"):
        compile_model(
            helper.make_model(graph, opset_imports=opsets, ir_version=10),
            RNG.normal(size=(40, 3)).astype(np.float32),
        )


def test_scores_whose_sum_is_negative_name_the_label():
    """Exporters divide decisions of any sign by their sum, and take the label from them before that."""
    x, y, rows, _ = split(load_wine)
    model = exported(make_pipeline(StandardScaler(), OneVsRestClassifier(LinearSVC())), x, y)
    shares = np.array([list(row.values()) for row in run(model, rows)[1]])
    assert (shares.argmax(axis=1) != run(model, rows)[0]).any()
    compiled = compile_model(model, x)
    assert (scores_of(compiled, rows).argmax(axis=1) == run(model, rows)[0]).mean() > 1 - CHANGED


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (CalibratedClassifierCV(LinearSVC(), method="isotonic", cv=2), "ArgMin"),
        (CalibratedClassifierCV(RandomForestClassifier(3, random_state=0), cv=2), "Div"),
        (AdaBoostClassifier(lr(), n_estimators=2, random_state=0), "Equal"),
        (AdaBoostClassifier(RandomForestClassifier(2), n_estimators=2, random_state=0), "several trees"),
    ],
)
def test_what_has_no_kernel_is_refused_by_name(model, reason):
    x, y, *_ = split(load_wine)
    with pytest.raises(UnsupportedOperator, match=reason):
        compile_model(exported(make_pipeline(StandardScaler(), model), x, y), x)


# -- the rewriting by itself ------------------------------------------------------------------------------------------


def follower(size: int) -> Follower:
    row = Row(tuple(Feature(f"x{i}") for i in range(size)))
    for i in range(size):
        row.add(Column(i))
    return Follower(row, 17)


def value_of(follower: Follower, value: Affine, rows: np.ndarray) -> np.ndarray:
    """The value by ONNX Runtime, for rows of the columns."""
    name = follower.scores(value)
    graph = helper.make_graph(
        follower.nodes,
        "value",
        [helper.make_tensor_value_info(ROW, TensorProto.FLOAT, ["N", rows.shape[1]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", value.size])],
        follower.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return run(model, rows.astype(np.float32))[0]


RNG = np.random.default_rng(5)


def test_squares_of_elements_that_share_columns():
    rows = RNG.normal(size=(20, 3))
    weight = np.array([[2, 0, 0], [-1, 0, 0], [0, 0, 3], [0, 0, 0], [0, 0, 0.5]], np.float64)
    bias = np.array([1, -2, 0, 4, 0.25])
    f = follower(3)
    found = value_of(f, squares(f, Affine.of(ROW, weight, bias)), rows)
    np.testing.assert_allclose(found, np.square(rows @ weight.T + bias), rtol=1e-4, atol=1e-4)
    assert sum(node.op_type == "Mul" for node in f.nodes) == 1  # the squares of the two columns


@pytest.mark.parametrize("weight", [RNG.normal(size=(4, 3)), np.zeros((2, 3))], ids=["mixed", "constant"])
def test_squares_of_any_elements(weight):
    rows, bias = RNG.normal(size=(20, 3)), np.arange(len(weight)) + 0.5
    f = follower(3)
    found = value_of(f, squares(f, Affine.of(ROW, weight, bias)), rows)
    np.testing.assert_allclose(found, np.square(rows @ weight.T + bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 1.5])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("vectors", [2, 40])
def test_polynomial_kernels_of_degree_two(constant, count, vectors):
    rows, given = RNG.normal(size=(20, 3)), RNG.normal(size=(vectors, 3))
    coefficients, f = RNG.normal(size=(count, vectors)), follower(3)
    attributes = {"kernel_type": "POLY", "kernel_params": [0.5, constant, 2.0]}
    found = value_of(f, decisions(f, Affine.of_root(ROW, 3), given, coefficients, attributes), rows)
    wanted = np.square(0.5 * rows @ given.T + constant) @ coefficients.T
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("norm", "of"),
    [
        ("L1", lambda x: np.abs(x).sum(axis=1)),
        ("L2", lambda x: np.sqrt(np.square(x).sum(axis=1))),
        ("MAX", np.amax),
    ],
)
def test_rows_over_their_norm_and_a_row_of_zeros(norm, of):
    rows = np.concatenate([np.abs(RNG.normal(size=(20, 3))), np.zeros((1, 3))])
    f = follower(3)
    found = value_of(f, over_norm(f, Affine.of_root(ROW, 3), norm), rows)
    norms = np.array([of(row[None]).item() for row in rows])
    np.testing.assert_allclose(found, rows / np.where(norms == 0, 1, norms)[:, None], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("op", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (2.0, -1.0), (-0.5, 0.25)])
def test_comparisons_at_their_edges(op, scale, offset):
    values = np.array([-2, -0.5, 0.5, 0.75, 1.5, 3], np.float32)
    edges = np.array([0.5, 1.0, -0.5])
    row = Row((Feature("x"),))
    row.add(Column(0))
    weight, bias = np.full((3, 1), scale), np.full(3, offset)
    found = encoders.compared(row, Affine.of(ROW, weight, bias), edges, op)
    columns = np.stack([column.encode(values) for column in row.columns], axis=1)
    truth = {"Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less}.get(
        op, np.less_equal
    )
    wanted = truth(scale * values[:, None].astype(np.float64) + offset, edges)
    wide = np.pad(found.weight, ((0, 0), (0, columns.shape[1] - found.weight.shape[1])))
    np.testing.assert_array_equal(columns @ wide.T + found.bias, wanted)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("op", ["Greater", "Less"])
def test_comparisons_of_truths(threshold, op):
    row = Row((Feature("x"),))
    row.add(Column(0, "above", threshold=3.0))
    found = encoders.compared(row, Affine.of_root(ROW, 1), np.array([threshold]), op)
    for truth in (0.0, 1.0):
        wanted = truth > threshold if op == "Greater" else truth < threshold
        assert float(found.weight[0, 0] * truth + found.bias[0]) == float(wanted)


def test_a_place_among_columns_that_are_no_bins_is_refused():
    node = helper.make_node("ArgMax", ["x"], ["place"], axis=1)
    encode = helper.make_node("OneHotEncoder", ["place"], ["y"], domain="ai.onnx.ml", cats_int64s=[0, 1, 2])
    graph = helper.make_graph(
        [node, encode, helper.make_node("Reshape", ["y", "shape"], ["z"])],
        "places",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.array([-1, 3]), "shape")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    with pytest.raises(UnsupportedOperator, match="bins of one feature"):
        compile_model(
            helper.make_model(graph, opset_imports=opsets, ir_version=10),
            RNG.normal(size=(40, 3)).astype(np.float32),
        )
