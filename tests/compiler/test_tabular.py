"""Tabular models: what scikit-learn, XGBoost and LightGBM export becomes programs that give the file's classes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from fedvm.compiler import (
    CalibrationError,
    CompiledModel,
    ModelError,
    UnsupportedOperator,
    compile_model,
    quantize_input,
)
from fedvm.compiler.compiled import units_of
from fedvm.compiler.forest.integer import Branch, IntegerForest, Leaf, Score, Slot
from fedvm.compiler.forest.link import link_forest
from fedvm.compiler.forest.split import fitting
from fedvm.compiler.probe import Program, reference_scores
from fedvm.evm.limits import CODE_LIMIT

RNG = np.random.default_rng(3)


def data(load: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = load(return_X_y=True)
    return x.astype(np.float32), y


def scores_of(compiled: CompiledModel, rows: np.ndarray) -> np.ndarray:
    return reference_scores(compiled.reference.SerializeToString(), compiled.quantize_input(rows))


def classes_of(compiled: CompiledModel, rows: np.ndarray) -> np.ndarray:
    return np.array(compiled.manifest["output"]["classes"])[scores_of(compiled, rows).argmax(axis=1)]


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any]:
    return ort.InferenceSession(model.SerializeToString()).run(None, feeds)


def fitted(
    model: Any, load: Any = load_breast_cancer, **options: Any
) -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """(the exported pipeline, its rows, the file's labels or values for them)."""
    x, y = data(load)
    proto = to_onnx(model.fit(x, y), x[:1], **options)
    return proto, x, np.asarray(run(proto, {"X": x})[0]).ravel()


CLASSIFIERS = [
    LogisticRegression(max_iter=50),
    SVC(kernel="linear"),
    RidgeClassifier(),
    SGDClassifier(random_state=0),
    MLPClassifier((16,), max_iter=200, random_state=0),
    RandomForestClassifier(8, max_depth=5, random_state=0),
    GradientBoostingClassifier(n_estimators=6, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    DecisionTreeClassifier(random_state=0),
    BaggingClassifier(n_estimators=4, random_state=0),
]


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize("scaler", [StandardScaler, MinMaxScaler])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: type(m).__name__)
def test_a_classifier_keeps_its_classes(model, load, scaler):
    proto, x, labels = fitted(make_pipeline(scaler(), model), load)
    compiled = compile_model(proto, x)
    assert (classes_of(compiled, x) == labels).mean() > 0.98
    assert compiled.manifest["quality"]["label_agreement"] > 0.99
    assert [f["name"] for f in compiled.manifest["input"]["row"]["features"]][:2] == ["X[0]", "X[1]"]


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        SVR(kernel="linear", C=100),
        RandomForestRegressor(8, max_depth=5, random_state=0),
        GradientBoostingRegressor(n_estimators=20, random_state=0),
        MLPRegressor(hidden_layer_sizes=(16,), max_iter=300, random_state=0),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_regressor_keeps_its_values(model):
    proto, x, values = fitted(make_pipeline(StandardScaler(), model), load_diabetes)
    compiled = compile_model(proto, x)
    found = scores_of(compiled, x)[:, 0] * compiled.manifest["output"]["scale"][0]
    assert np.sqrt(np.square(found - values).mean()) < 0.05 * values.std()


def test_trees_compare_exactly_at_their_thresholds():
    proto, x, _ = fitted(
        make_pipeline(StandardScaler(), RandomForestRegressor(5, random_state=0)), load_diabetes
    )
    compiled = compile_model(proto, x)
    row = compiled.manifest["input"]["row"]
    rows = np.repeat(x[:1], 400, axis=0)
    for i in range(len(rows)):  # on a threshold of every feature, or on the next float above it
        for column in row["columns"]:
            cut = np.float32(RNG.choice(column["cuts"]))
            rows[i, column["feature"]] = cut if RNG.random() < 0.5 else np.nextafter(cut, np.float32(np.inf))
    found = scores_of(compiled, rows)[:, 0] * compiled.manifest["output"]["scale"][0]
    (values,) = run(proto, {"X": rows})
    assert np.abs(found - values.ravel()).max() < 0.01  # leaves are tens apart


def test_a_feature_of_many_thresholds_takes_two_bytes():
    x = RNG.normal(size=(3000, 2)).astype(np.float32)
    y = np.sin(9 * x[:, 0]) + x[:, 1]
    proto = to_onnx(RandomForestRegressor(3, max_depth=9, random_state=0).fit(x, y), x[:1])
    compiled = compile_model(proto, x)
    spec = compiled.manifest["input"]
    assert max(len(c["cuts"]) for c in spec["row"]["columns"]) > 255 and spec["bytes"] > 2
    found = scores_of(compiled, x)[:, 0] * compiled.manifest["output"]["scale"][0]
    assert np.abs(found - run(proto, {"X": x})[0].ravel()).max() < 1e-3


def test_the_manifest_alone_encodes_rows_and_the_bytes_compile_the_same_program(tmp_path):
    proto, x, _ = fitted(RandomForestClassifier(5, max_depth=4, random_state=0), load_wine)
    compiled = compile_model(proto, x)
    compiled.save(tmp_path)
    spec = json.loads((tmp_path / "manifest.json").read_text())["input"]
    coded = quantize_input(spec, x)
    assert np.array_equal(coded, compiled.quantize_input(x)) and coded.shape == (len(x), spec["bytes"])
    again = compile_model(proto, coded, input_range=compiled.manifest["options"]["input_range"])
    assert again.codes == compiled.codes
    assert again.manifest["reference_sha256"] == compiled.manifest["reference_sha256"]
    with pytest.raises(ModelError, match="13"):
        quantize_input(spec, x[:, :5])


def test_trees_over_bytes_take_the_bytes_themselves():
    x, y = load_digits(return_X_y=True)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(4, max_depth=6, random_state=0)).fit(x, y)
    proto = to_onnx(model, x[:1].astype(np.float32))
    compiled = compile_model(proto, x.astype(np.uint8))
    assert not compiled.manifest["input"]["float"] and "row" not in compiled.manifest["input"]
    labels = run(proto, {"X": x.astype(np.float32)})[0]
    assert (classes_of(compiled, x.astype(np.uint8)) == labels).mean() > 0.99


def test_trees_over_bytes_that_stand_for_numbers():
    x, y = load_digits(return_X_y=True)
    real = (x / 4 - 2).astype(np.float32)
    proto = to_onnx(RandomForestClassifier(4, max_depth=6, random_state=0).fit(real, y), real[:1])
    compiled = compile_model(proto, x, preprocess=(0.25, -2.0))
    assert (classes_of(compiled, x.astype(np.uint8)) == run(proto, {"X": real})[0]).mean() > 0.99
    with pytest.raises(CalibrationError, match="whole numbers"):
        compile_model(proto, x + 0.5, preprocess=(0.25, -2.0))


def test_gas_is_the_same_whichever_way_the_input_goes():
    proto, x, _ = fitted(RandomForestClassifier(10, random_state=0))
    compiled = compile_model(proto, x)
    program = Program(compiled.units)
    for _ in range(50):
        found, gas = program.predict(
            RNG.integers(0, 256, compiled.manifest["input"]["bytes"], np.uint8).tobytes()
        )
        assert gas == compiled.manifest["gas"]["evm"] and len(found) == 2


def table() -> tuple[Any, np.ndarray, np.ndarray]:
    pandas = pytest.importorskip("pandas")
    count = 300
    frame = pandas.DataFrame(
        {
            "age": RNG.integers(18, 90, count).astype(np.float32),
            "income": RNG.normal(5e4, 1e4, count).astype(np.float32),
            "colour": RNG.choice(["red", "green", "blue"], count),
            "grade": RNG.choice([1, 2, 3, 7], count).astype(np.int64),
        }
    )
    y = np.where((frame.age > 50) ^ (frame.colour == "red"), "yes", "no")
    return frame, frame.to_numpy(object), y


TYPES = [
    ("age", FloatTensorType([None, 1])), ("income", FloatTensorType([None, 1])),
    ("colour", StringTensorType([None, 1])), ("grade", Int64TensorType([None, 1])),
]  # fmt: skip


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()])
@pytest.mark.parametrize(
    "model", [LogisticRegression(), RandomForestClassifier(8, random_state=0)], ids=["linear", "trees"]
)
def test_categories_and_several_inputs(encoder, model):
    frame, rows, y = table()
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["age", "income"]), ("c", encoder, ["colour"]), ("g", encoder, ["grade"])]
    )
    pipeline = make_pipeline(columns, model).fit(frame, y)
    compiled = compile_model(to_onnx(pipeline, initial_types=TYPES), rows)
    assert (classes_of(compiled, rows) == pipeline.predict(frame)).mean() > 0.98
    features = compiled.manifest["input"]["row"]["features"]
    assert features[2]["name"] == "colour" and features[2]["kind"] == "text"
    assert sorted(features[2].get("categories", ["blue", "green", "red"])) == ["blue", "green", "red"]
    assert compiled.manifest["output"]["classes"] == ["no", "yes"]
    ranges = compiled.manifest["options"]["input_range"]
    again = compile_model(
        to_onnx(pipeline, initial_types=TYPES), compiled.quantize_input(rows), input_range=ranges
    )
    assert again.codes == compiled.codes and again.manifest["input"] == compiled.manifest["input"]
    if isinstance(encoder, OneHotEncoder):
        unknown = rows[:1].copy()
        unknown[0, 2] = "purple"
        assert compiled.quantize_input(unknown).shape == (1, compiled.manifest["input"]["bytes"])
    with pytest.raises(ValueError, match="age"):
        compiled.quantize_input(np.array([["old", 1.0, "red", 1]], object))


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        make_pipeline(
            SimpleImputer(), StandardScaler(), RandomForestClassifier(8, max_depth=4, random_state=0)
        ),
        HistGradientBoostingClassifier(max_iter=6),
    ],
    ids=["imputed", "imputed trees", "trees"],
)
def test_missing_values(model):
    x, y = data(load_breast_cancer)
    x[RNG.random(x.shape) < 0.05] = np.nan
    model.fit(x, y)
    compiled = compile_model(to_onnx(model, x[:1]), x)
    assert (classes_of(compiled, x) == model.predict(x)).mean() > 0.99


def test_missing_values_are_refused_where_nothing_stands_for_them():
    proto, x, _ = fitted(make_pipeline(StandardScaler(), LogisticRegression()))
    compiled = compile_model(proto, x)
    x[3, 7] = np.nan
    with pytest.raises(ValueError, match=r"row 3: feature X\[7\] is missing"):
        compiled.quantize_input(x)


def test_a_threshold_before_the_model():
    proto, x, labels = fitted(make_pipeline(StandardScaler(), Binarizer(threshold=0.2), LogisticRegression()))
    assert (classes_of(compile_model(proto, x), x) == labels).mean() > 0.99


def test_double_precision():
    x, y = load_breast_cancer(return_X_y=True)
    for model in (LogisticRegression(), RandomForestClassifier(4, max_depth=4, random_state=0)):
        pipeline = make_pipeline(StandardScaler(), model).fit(x, y)
        proto = to_onnx(pipeline, x[:1], options={"zipmap": False})
        assert (classes_of(compile_model(proto, x), x) == run(proto, {"X": x})[0]).mean() > 0.99


def test_labels_alone_and_scores_as_a_tensor():
    for options in ({"zipmap": False}, {"zipmap": "columns"}):
        x, y = data(load_wine)
        model = LogisticRegression(max_iter=30).fit(x, np.array(["a", "b", "c"])[y])
        proto = to_onnx(model, x[:1], options={id(model): options})
        if options["zipmap"]:
            with pytest.raises(ModelError, match="several outputs"):
                compile_model(proto, x)
            continue
        assert compile_model(proto, x).manifest["output"]["classes"] == ["a", "b", "c"]
    proto, x, labels = fitted(RandomForestClassifier(3, max_depth=3, random_state=0))
    del proto.graph.output[1:]
    assert (classes_of(compile_model(proto, x), x) == labels).all()


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(3, max_depth=3, random_state=0),
        MLPClassifier((8,), "tanh", max_iter=40, random_state=0),
    ],
    ids=["trees", "network"],
)
def test_an_output_is_chosen_and_its_scores_are_real_numbers(model):
    proto, x, labels = fitted(make_pipeline(StandardScaler(), model))
    label, scores = (output.name for output in proto.graph.output)
    for name in (label, scores):
        compiled = compile_model(proto, x, output=name)
        assert compiled.manifest["options"]["output"] == name
        assert (classes_of(compiled, x) == labels).mean() > 0.97
    real = compiled.real_scores(scores_of(compiled, x))
    if compiled.manifest["output"]["head"] in ("softmax", "sigmoid"):
        real = np.exp(real) / np.exp(real).sum(axis=1, keepdims=True)
    wanted = np.asarray([list(row.values()) for row in run(proto, {"X": x})[1]])
    assert np.abs(real - wanted).max() < 0.1
    with pytest.raises(ModelError, match=f"no output 'other'; it has {label}, {scores}"):
        compile_model(proto, x, output="other")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (make_pipeline(PCA(4), RandomForestClassifier(2)), "PCA"),
        (KNeighborsClassifier(3), "Scan"),
    ],
    ids=["projection", "neighbours"],
)
def test_what_has_no_kernel_is_refused_by_name(model, reason):
    proto, x, _ = fitted(model)
    with pytest.raises(UnsupportedOperator, match=reason):
        compile_model(proto, x)


def chain(depth: int, outputs: int = 1) -> tuple[Branch | Leaf, ...]:
    """A tree that asks one question after the other."""
    nodes: list[Branch | Leaf] = []
    for level in range(depth):
        nodes += [Branch(level % 3, "<=", level % 250, 2 * level + 1, 2 * level + 2)]
        nodes += [Leaf(tuple(int(v) for v in RNG.integers(0, 200, outputs)))]
    return (*nodes, Leaf((7,) * outputs))


def forest_of(trees: Any, outputs: int = 1) -> IntegerForest:
    slots = tuple(Slot(i, i, 1) for i in range(3))
    return IntegerForest(3, slots, tuple(trees), tuple(Score(k, 1, -5) for k in range(outputs)), 1.0)


@pytest.mark.parametrize("outputs", [1, 5])
def test_forests_of_any_shape_run_as_they_are_defined(outputs):
    single = (Leaf((3,) * outputs),)
    never = (Branch(0, "<=", -1, 1, 2), Leaf((1,) * outputs), Leaf((2,) * outputs))
    equal = (Branch(1, "==", 9, 1, 2), Leaf((4,) * outputs), Leaf((0,) * outputs))
    forest = forest_of([single, never, equal, chain(60, outputs), chain(3, outputs)], outputs)
    program = link_forest(forest)
    runner = Program(units_of(program.contracts))
    inputs = RNG.integers(0, 256, (40, 3), np.uint8)
    inputs[:, 1] = np.where(RNG.random(40) < 0.3, 9, inputs[:, 1])
    for given, wanted in zip(inputs, forest.run(inputs), strict=True):
        found, gas = runner.predict(given.tobytes())
        assert found.tolist() == wanted.tolist() and gas == program.gas


def grown(depth: int) -> tuple[Branch | Leaf, ...]:
    """A complete tree."""
    nodes: list[Branch | Leaf] = []

    def add(level: int) -> int:
        here = len(nodes)
        if level == depth:
            nodes.append(Leaf((int(RNG.integers(0, 60_000)),)))
            return here
        nodes.append(Branch(level % 3, "<=", int(RNG.integers(20, 230)), 0, 0))
        yes, no = add(level + 1), add(level + 1)
        nodes[here] = Branch(level % 3, "<=", nodes[here].code, yes, no)  # type: ignore[union-attr]
        return here

    add(0)
    return tuple(nodes)


def test_a_tree_too_large_for_a_contract_is_a_sum_of_smaller_ones():
    tree = grown(12)
    forest = forest_of([tree])
    pieces = fitting([tree], lambda piece: 15 * len(piece), 12_000)
    inputs = RNG.integers(0, 256, (100, 3), np.uint8)
    assert len(pieces) > 4
    assert np.array_equal(forest_of([piece for piece, _ in pieces]).run(inputs), forest.run(inputs))
    program = link_forest(forest)
    assert len(program.contracts) > 3 and all(len(c.code) <= CODE_LIMIT for c in program.contracts)
    runner = Program(units_of(program.contracts))
    for given, wanted in zip(inputs[:20], forest.run(inputs[:20]), strict=True):
        found, gas = runner.predict(given.tobytes())
        assert found.tolist() == wanted.tolist() and gas == program.gas


def test_a_changed_comparison_is_seen():
    proto, x, _ = fitted(DecisionTreeClassifier(max_depth=4, random_state=0))
    compiled = compile_model(proto, x)
    (unit,) = compiled.units
    inputs = compiled.quantize_input(x)
    wanted = reference_scores(compiled.reference.SerializeToString(), inputs)
    lt = [at for at, byte in enumerate(unit.code) if byte == 0x10 and unit.code[at + 1] == 0x61]
    assert lt
    seen = 0
    for at in lt:
        code = unit.code[:at] + b"\x11" + unit.code[at + 1 :]
        runner = Program([type(unit)(unit.name, code, unit.symbols)])
        seen += any(
            not np.array_equal(runner.predict(r.tobytes())[0], w) for r, w in zip(inputs, wanted, strict=True)
        )
    assert seen == len(lt)


def tree_ensemble() -> onnx.ModelProto:
    """The operator of ai.onnx.ml 5: two trees, x[0] <= 1 and x[1] > 2."""
    node = helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=2, aggregate_function=1, post_transform=0,
        tree_roots=[0, 1], nodes_featureids=[0, 1], nodes_truenodeids=[0, 2], nodes_falsenodeids=[1, 3],
        nodes_trueleafs=[1, 1], nodes_falseleafs=[1, 1], leaf_targetids=[0, 1, 0, 1],
        nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [2], [0, 3]),
        nodes_splits=helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0]),
        leaf_weights=helper.make_tensor("w", TensorProto.FLOAT, [4], [5.0, 3.0, 2.0, 1.0]),
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 5)], ir_version=10)


def test_the_newer_operator_for_trees():
    rows = np.array([[0, 0], [1, 3], [2, 2], [5, 9]], np.float32)
    compiled = compile_model(tree_ensemble(), rows)
    found = scores_of(compiled, rows) * compiled.manifest["output"]["scale"][0]
    assert np.allclose(found, [[5, 1], [7, 0], [0, 4], [2, 3]])


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_other_libraries_of_trees(library, load):
    module, tools = pytest.importorskip(library), pytest.importorskip("onnxmltools")
    x, y = data(load)
    if library == "xgboost":
        model = module.XGBClassifier(n_estimators=6, max_depth=3, n_jobs=1)
    else:
        model = module.LGBMClassifier(n_estimators=6, verbose=-1, n_jobs=1)
    model.fit(x, y)
    types = [("X", tools.convert.common.data_types.FloatTensorType([None, x.shape[1]]))]
    proto = getattr(tools, f"convert_{library}")(model, initial_types=types)
    assert (classes_of(compile_model(proto, x), x) == model.predict(x)).mean() > 0.99


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_one_less_a_logistic_function_falls_where_that_rises(kind):
    one = numpy_helper.from_array(np.float32(1.0), "one")
    nodes = [
        helper.make_node(
            "LinearRegressor", ["x"], ["v"], domain="ai.onnx.ml", coefficients=[0.02, -0.03], intercepts=[1.0]
        ),
        helper.make_node("Sigmoid", ["v"], ["s"]),
        helper.make_node("Sub", ["one", "s"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])
    graph = helper.make_graph(nodes, "g", [x], [y], [one])
    opsets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    rows = np.random.default_rng(3).integers(0, 256, (200, 2)).astype(kind)
    compiled = compile_model(model, rows)
    floats = run(model, {"x": rows.astype(np.float32)})[0].ravel()
    found = scores_of(compiled, rows).ravel().astype(float)
    assert np.corrcoef(found, floats)[0, 1] > 0.9
