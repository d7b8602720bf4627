"""`fedvm compile` and `fedvm predict --values` on tabular models: numbers and categories by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from test_cli import call


@pytest.fixture
def frame() -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "age": rng.integers(18, 90, 200).astype(np.float32),
            "colour": rng.choice(["red", "green", "blue"], 200),
        }
    )


@pytest.mark.parametrize("model", [LogisticRegression(), RandomForestClassifier(5, random_state=0)])
def test_categories_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, frame: pandas.DataFrame, model: object
) -> None:
    y = np.where((frame.age > 50) & (frame.colour == "red"), "buys", "leaves")
    columns = ColumnTransformer([("n", StandardScaler(), ["age"]), ("c", OneHotEncoder(), ["colour"])])
    pipeline = make_pipeline(columns, model).fit(frame, y)
    types = [("age", FloatTensorType([None, 1])), ("colour", StringTensorType([None, 1]))]
    path, rows, out = tmp_path / "shop.onnx", tmp_path / "rows.csv", tmp_path / "program"
    path.write_bytes(to_onnx(pipeline, initial_types=types).SerializeToString())
    frame.assign(bought=y)[["colour", "bought", "age"]].to_csv(
        rows, index=False
    )  # another order, and the class

    status, _, err = call(capsys, "compile", str(path))
    assert status != 0 and "--calibration" in err
    status, printed, err = call(
        capsys, "compile", str(path), "--calibration", str(rows), "-o", str(out), "--check"
    )
    assert status == 0 and "EVM gas" in printed and "0 unlike ONNX Runtime" in err, err
    status, printed, _ = call(capsys, "predict", "--run", str(out), "--values", "60,red", "--json")
    answer = json.loads(printed)
    assert status == 0 and answer["class"] == "buys" and answer["class_names"] == ["buys", "leaves"]
    status, printed, _ = call(capsys, "predict", "--run", str(out), "--values", "60,purple", "--json")
    assert status == 0 and "does not know 'purple'" in json.loads(printed)["notes"][0]
    status, printed, _ = call(capsys, "predict", "--run", str(out), "--values", str(rows), "--json")
    found = [json.loads(line)["class"] for line in printed.splitlines()]
    assert np.mean(np.array(found) == pipeline.predict(frame)) > 0.97
    for values, message in (("60", "age, colour"), ("old,red", "age"), (",red", "age is missing")):
        status, _, err = call(capsys, "predict", "--run", str(out), "--values", values)
        assert (status != 0) == (values != ",red" or isinstance(model, LogisticRegression))
        assert message in err or status == 0


def test_a_regressor_says_its_value(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = load_diabetes(return_X_y=True)
    x = x.astype(np.float32)
    model = RandomForestRegressor(5, max_depth=4, random_state=0).fit(x, y)
    path, rows, out = tmp_path / "sugar.onnx", tmp_path / "rows.npy", tmp_path / "program"
    path.write_bytes(to_onnx(model, x[:1]).SerializeToString())
    np.save(rows, x)
    assert call(capsys, "compile", str(path), "--calibration", str(rows), "-o", str(out))[0] == 0
    values = ",".join(map(str, x[0]))
    status, printed, _ = call(capsys, "predict", "--run", str(out), f"--values={values}", "--json")
    assert status == 0 and abs(json.loads(printed)["values"][0] - model.predict(x[:1])[0]) < 0.1
    assert call(capsys, "predict", "--run", str(out), f"--values={values}")[0] == 0
