"""Tabular models of scikit-learn as programs: accuracy of the file and of the integers, gas, bytes of code.

python benchmarks/bench_tabular.py [--quick]        (`make bench-tabular`)

Data sets that come with scikit-learn: breast cancer, wine, digits, and diabetes for regressors. Every model is trained
on 60 % of the rows, exported with skl2onnx's defaults, compiled with the same rows as calibration, and asked about the
other 40 %: in ONNX Runtime the file and the integer reference, whose equality with the contract every compilation
checks. Accuracies of networks are means over three splits of the rows, as one row of wine is 1.4 points. Trees compare
exactly, so one split does for them, with and without a scaler. Results go to benchmarks/results/tabular.json, row by
row, and then to docs/tabular.md; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import skl2onnx
import sklearn
from skl2onnx import to_onnx
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR

from fedvm.compiler import CompileError, compile_model
from fedvm.compiler.probe import reference_scores

RESULTS = Path(__file__).parent / "results" / "tabular.json"
PAGE = Path(__file__).parents[1] / "docs" / "tabular.md"
BEGIN, END = "<!-- bench_tabular: results -->", "<!-- end -->"
SPLITS = 3
HELD_BACK = 0.4

CLASSIFIERS: dict[str, Any] = {
    "LogisticRegression": LogisticRegression(max_iter=1000),
    "SVC, linear": SVC(kernel="linear"),
    "MLPClassifier, 100 units": MLPClassifier(max_iter=400, random_state=0),
    "GaussianNB": GaussianNB(),
    "QuadraticDiscriminantAnalysis": QuadraticDiscriminantAnalysis(reg_param=0.1),
    "OneVsRest, LogisticRegression": OneVsRestClassifier(LogisticRegression(max_iter=1000)),
    "AdaBoost, 50 rounds": AdaBoostClassifier(random_state=0),
    "RandomForest, 100 trees": RandomForestClassifier(100, random_state=0),
    "RandomForest, 100 trees of depth 6": RandomForestClassifier(100, max_depth=6, random_state=0),
    "GradientBoosting, 100 rounds": GradientBoostingClassifier(random_state=0),
    "HistGradientBoosting, 50 rounds": HistGradientBoostingClassifier(max_iter=50, random_state=0),
}
REGRESSORS: dict[str, Any] = {
    "LinearRegression": LinearRegression(),
    "Ridge": Ridge(),
    "SVR, linear": SVR(kernel="linear", C=100.0),
    "SVR, polynomial of degree 2": SVR(kernel="poly", degree=2, coef0=1.0, C=100.0),
    "PolynomialFeatures, Ridge": make_pipeline(PolynomialFeatures(2), Ridge()),
    "MLPRegressor, 100 units": MLPRegressor(max_iter=1000, random_state=0),
    "RandomForest, 100 trees": RandomForestRegressor(100, random_state=0),
    "GradientBoosting, 100 rounds": GradientBoostingRegressor(random_state=0),
}
SCALERS: dict[str, Any] = {"none": None, "StandardScaler": StandardScaler(), "MinMaxScaler": MinMaxScaler()}
DATA: dict[str, Any] = {
    "breast cancer": load_breast_cancer,
    "wine": load_wine,
    "digits": load_digits,
    "diabetes": load_diabetes,
}


def measure(data: str, model: Any, scaler: Any, split: int) -> dict[str, Any]:
    """One model on one split. accuracy: share of right classes, R² for a regressor."""
    x, y = DATA[data](return_X_y=True)
    x = x.astype(np.float32)
    classes = data != "diabetes"
    train, test, known, asked = train_test_split(
        x, y, test_size=HELD_BACK, random_state=split, stratify=y if classes else None
    )
    steps = [clone(model)] if scaler is None else [clone(scaler), clone(model)]
    fitted = make_pipeline(*steps).fit(train, known)
    proto = to_onnx(fitted, train[:1])
    begun = time.perf_counter()
    compiled = compile_model(proto, train)
    seconds = time.perf_counter() - begun
    scores = reference_scores(compiled.reference.SerializeToString(), compiled.quantize_input(test))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    given = np.asarray(session.run(None, {session.get_inputs()[0].name: test})[0]).ravel()
    output, gas = compiled.manifest["output"], compiled.manifest["gas"]
    if classes:
        found = np.array(output["classes"])[scores.argmax(axis=1)]
        figures = [float((values == asked).mean()) for values in (given, found)]
        agreement = float((given == found).mean())
    else:
        found = scores[:, 0] * output["scale"][0]
        spread = float(np.square(asked - asked.mean()).sum())
        figures = [1 - float(np.square(values - asked).sum()) / spread for values in (given, found)]
        agreement = float(np.corrcoef(given, found)[0, 1])
    return {
        "float": figures[0],
        "integers": figures[1],
        "agreement": agreement,
        "gas": gas["evm"],
        "classify_gas": gas["classify"],
        "filecoin_gas": gas["filecoin"],
        "deploy_gas": gas["deploy"],
        "code_bytes": compiled.manifest["code_bytes"],
        "contracts": len(compiled.units),
        "input_bytes": compiled.manifest["input"]["bytes"],
        "trees": compiled.manifest.get("trees"),
        "seconds": seconds,
    }


def row(data: str, name: str, model: Any, scaling: str, splits: int) -> dict[str, Any]:
    """Mean figures over the splits; gas and sizes of the first."""
    try:
        runs = [measure(data, model, SCALERS[scaling], split) for split in range(splits)]
    except CompileError as error:
        return {"data": data, "model": name, "scaler": scaling, "refused": str(error)[:300]}
    means = {key: float(np.mean([run[key] for run in runs])) for key in ("float", "integers", "agreement")}
    return {"data": data, "model": name, "scaler": scaling, "splits": splits, **runs[0], **means}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of docs/tabular.md."""
    lines = [
        "| data | model | scaler | float | integers | gas | bytes of code | contracts |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for one in rows:
        name = f"| {one['data']} | {one['model']} | {one['scaler']} |"
        if "refused" in one:
            lines.append(f"{name} refused | | | | |")
            continue
        known = " | ".join(_figure(one["data"], one[key]) for key in ("float", "integers"))
        lines.append(f"{name} {known} | {one['gas']:,} | {one['code_bytes']:,} | {one['contracts']} |")
    return "\n".join(lines)


def _figure(data: str, value: float) -> str:
    return f"{value:.3f}" if data == "diabetes" else f"{100 * value:.1f} %"


def write_page(rows: list[dict[str, Any]]) -> None:
    """Put the table into docs/tabular.md."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    PAGE.write_text(f"{before}{BEGIN}\n{markdown(rows)}\n{END}{after}")


def cases() -> Iterator[tuple[str, str, Any, str, int]]:
    """(data, model's name, model, scaler, splits) of every row."""
    for data in DATA:
        for name, model in (REGRESSORS if data == "diabetes" else CLASSIFIERS).items():
            trees = any(kind in name for kind in ("Forest", "Boost"))
            for scaling in ["none", "StandardScaler"] if trees else SCALERS:
                yield data, name, model, scaling, 1 if trees else SPLITS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one split, no digits, and nothing is written")
    quick = parser.parse_args().quick
    warnings.filterwarnings("ignore")
    machine = {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "skl2onnx": skl2onnx.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() and not quick else []
    done = {(one["data"], one["model"], one["scaler"]) for one in rows}
    order = {(data, name, scaling): number for number, (data, name, _, scaling, _) in enumerate(cases())}
    for data, name, model, scaling, splits in cases():
        if (data, name, scaling) in done or (quick and data == "digits"):
            continue
        rows.append(row(data, name, model, scaling, 1 if quick else splits))
        print(json.dumps(rows[-1]), flush=True)
        rows.sort(key=lambda one: order[one["data"], one["model"], one["scaler"]])
        if not quick:
            RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    if not quick:
        write_page(rows)


if __name__ == "__main__":
    main()
