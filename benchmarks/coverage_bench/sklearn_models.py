# ruff: noqa: E501  (a model a line)
"""scikit-learn's estimators and pipelines, XGBoost and LightGBM, as their exporters write them by default."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as OtherFloats
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from xgboost import XGBClassifier, XGBRegressor

from coverage_bench.case import Built, Case

HELD_BACK = 0.3
Load = Callable[..., Any]

CLASSIFIERS: dict[str, Any] = {
    "LogisticRegression": linear_model.LogisticRegression(max_iter=500),
    "SGDClassifier, hinge": linear_model.SGDClassifier(random_state=0),
    "SGDClassifier, log_loss": linear_model.SGDClassifier(loss="log_loss", random_state=0),
    "Perceptron": linear_model.Perceptron(random_state=0),
    "RidgeClassifier": linear_model.RidgeClassifier(),
    "SVC, linear": svm.SVC(kernel="linear"),
    "SVC, rbf": svm.SVC(),
    "SVC, poly": svm.SVC(kernel="poly", degree=2),
    "NuSVC, rbf": svm.NuSVC(nu=0.2),
    "LinearDiscriminantAnalysis": LinearDiscriminantAnalysis(),
    "MLPClassifier, relu": neural_network.MLPClassifier((24,), max_iter=400, random_state=0),
    "MLPClassifier, tanh": neural_network.MLPClassifier((24,), "tanh", max_iter=400, random_state=0),
    "MLPClassifier, logistic": neural_network.MLPClassifier(
        (24, 12), "logistic", max_iter=500, random_state=0
    ),
    "DecisionTree": tree.DecisionTreeClassifier(random_state=0),
    "ExtraTree": tree.ExtraTreeClassifier(random_state=0),
    "RandomForest": ensemble.RandomForestClassifier(20, random_state=0),
    "ExtraTrees": ensemble.ExtraTreesClassifier(10, max_depth=8, random_state=0),
    "GradientBoosting": ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
    "HistGradientBoosting": ensemble.HistGradientBoostingClassifier(max_iter=15, random_state=0),
    "Bagging of trees": ensemble.BaggingClassifier(n_estimators=6, random_state=0),
    "OneVsRest, LogisticRegression": OneVsRestClassifier(linear_model.LogisticRegression(max_iter=500)),
    "Voting of two linear models": ensemble.VotingClassifier(
        [("a", linear_model.LogisticRegression(max_iter=500)), ("b", LinearDiscriminantAnalysis())],
        voting="soft",
        flatten_transform=False,
    ),
    "CalibratedClassifierCV": CalibratedClassifierCV(svm.LinearSVC(random_state=0), cv=2),
    "AdaBoost": ensemble.AdaBoostClassifier(n_estimators=10, random_state=0),
    "GaussianNB": naive_bayes.GaussianNB(),
    "QuadraticDiscriminantAnalysis": QuadraticDiscriminantAnalysis(reg_param=0.1),
    "KNeighbors": neighbors.KNeighborsClassifier(3),
}
"""Each with standardised features, on two classes and on three."""

OTHERS: list[tuple[str, Any, Load]] = [
    *(
        (f"{name}, features as they are", CLASSIFIERS[name], load_wine)
        for name in ("LogisticRegression", "RidgeClassifier", "DecisionTree", "RandomForest", "GradientBoosting",
                     "HistGradientBoosting", "LinearDiscriminantAnalysis", "SVC, linear", "GaussianNB")
    ),
    *(
        (f"{name}, digits", CLASSIFIERS[name], load_digits)
        for name in ("LogisticRegression", "MLPClassifier, relu", "RandomForest", "SVC, rbf")
    ),
    ("MinMaxScaler, LogisticRegression", make_pipeline(MinMaxScaler(), CLASSIFIERS["LogisticRegression"]), load_wine),
    ("MaxAbsScaler, LogisticRegression", make_pipeline(MaxAbsScaler(), CLASSIFIERS["LogisticRegression"]), load_wine),
    ("RobustScaler, LogisticRegression", make_pipeline(RobustScaler(), CLASSIFIERS["LogisticRegression"]), load_wine),
    ("RobustScaler, RandomForest", make_pipeline(RobustScaler(), CLASSIFIERS["RandomForest"]), load_wine),
    *(
        (f"Normalizer {norm}, {name}", make_pipeline(StandardScaler(), Normalizer(norm), CLASSIFIERS[name]), load)
        for norm in ("l1", "l2", "max")
        for name, load in (("LogisticRegression", load_iris), ("RidgeClassifier", load_breast_cancer))
    ),
    ("Normalizer l2 first, LogisticRegression", make_pipeline(Normalizer(), CLASSIFIERS["LogisticRegression"]), load_iris),
    ("Normalizer, MLP", make_pipeline(StandardScaler(), Normalizer(), CLASSIFIERS["MLPClassifier, relu"]), load_wine),
    ("PCA, LogisticRegression", make_pipeline(StandardScaler(), PCA(5), CLASSIFIERS["LogisticRegression"]), load_wine),
    ("PCA, SVC, linear", make_pipeline(StandardScaler(), PCA(8), CLASSIFIERS["SVC, linear"]), load_breast_cancer),
    ("PCA, MLP", make_pipeline(StandardScaler(), PCA(5, whiten=True), CLASSIFIERS["MLPClassifier, relu"]), load_wine),
    ("PCA, SVC, rbf", make_pipeline(StandardScaler(), PCA(4), svm.SVC()), load_wine),
    ("TruncatedSVD, LogisticRegression", make_pipeline(StandardScaler(), TruncatedSVD(5), CLASSIFIERS["LogisticRegression"]), load_wine),
    ("SelectKBest, LogisticRegression", make_pipeline(SelectKBest(k=6), StandardScaler(), CLASSIFIERS["LogisticRegression"]), load_wine),
    ("SelectKBest, RandomForest", make_pipeline(SelectKBest(k=6), CLASSIFIERS["RandomForest"]), load_breast_cancer),
    ("VarianceThreshold, GradientBoosting", make_pipeline(VarianceThreshold(), CLASSIFIERS["GradientBoosting"]), load_wine),
    ("PolynomialFeatures, LogisticRegression", make_pipeline(StandardScaler(), PolynomialFeatures(2), CLASSIFIERS["LogisticRegression"]), load_iris),
    ("KBinsDiscretizer, LogisticRegression", make_pipeline(KBinsDiscretizer(4, encode="onehot-dense"), CLASSIFIERS["LogisticRegression"]), load_iris),
    ("Binarizer, LogisticRegression", make_pipeline(StandardScaler(), Binarizer(), CLASSIFIERS["LogisticRegression"]), load_wine),
    ("FeatureUnion, LogisticRegression", make_pipeline(FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())]), CLASSIFIERS["LogisticRegression"]), load_wine),
    ("BernoulliNB", make_pipeline(StandardScaler(), Binarizer(), naive_bayes.BernoulliNB()), load_wine),
    ("MultinomialNB", make_pipeline(MinMaxScaler(), naive_bayes.MultinomialNB()), load_wine),
    ("KMeans", make_pipeline(StandardScaler(), KMeans(3, n_init=2, random_state=0)), load_iris),
]  # fmt: skip

REGRESSORS: dict[str, Any] = {
    "LinearRegression": linear_model.LinearRegression(),
    "Ridge": linear_model.Ridge(),
    "Lasso": linear_model.Lasso(0.1),
    "ElasticNet": linear_model.ElasticNet(0.01),
    "BayesianRidge": linear_model.BayesianRidge(),
    "HuberRegressor": linear_model.HuberRegressor(max_iter=1000),
    "SGDRegressor": linear_model.SGDRegressor(random_state=0),
    "PLSRegression": PLSRegression(4),
    "LinearSVR": svm.LinearSVR(max_iter=10000, random_state=0),
    "SVR, linear": svm.SVR(kernel="linear", C=50),
    "SVR, rbf": svm.SVR(C=100),
    "SVR, poly": svm.SVR(kernel="poly", degree=2, C=50),
    "MLPRegressor": neural_network.MLPRegressor(hidden_layer_sizes=(24,), max_iter=1500, random_state=0),
    "DecisionTreeRegressor": tree.DecisionTreeRegressor(max_depth=6, random_state=0),
    "RandomForestRegressor": ensemble.RandomForestRegressor(15, random_state=0),
    "ExtraTreesRegressor": ensemble.ExtraTreesRegressor(8, max_depth=8, random_state=0),
    "GradientBoostingRegressor": ensemble.GradientBoostingRegressor(n_estimators=30, random_state=0),
    "HistGradientBoostingRegressor": ensemble.HistGradientBoostingRegressor(max_iter=20, random_state=0),
    "BaggingRegressor": ensemble.BaggingRegressor(n_estimators=6, random_state=0),
    "KNeighborsRegressor": neighbors.KNeighborsRegressor(5),
}


def cases() -> list[Case]:
    """All of the list."""
    listed = [
        Case(f"{name}, {load.__name__[5:]}", _classifier(make_pipeline(StandardScaler(), model), load))
        for name, model in CLASSIFIERS.items()
        for load in (load_breast_cancer, load_iris)
    ]
    listed += [Case(name, _classifier(model, load)) for name, model, load in OTHERS]
    for name in ("LogisticRegression", "RandomForest", "MLPClassifier, relu", "SVC, linear"):
        model = make_pipeline(StandardScaler(), CLASSIFIERS[name])
        listed.append(Case(f"{name}, without ZipMap", _classifier(model, load_wine, zipmap=False)))
        listed.append(Case(f"{name}, labels as text", _classifier(model, load_wine, text=True)))
    for name, model in REGRESSORS.items():
        scaled = make_pipeline(StandardScaler(), model)
        listed.append(Case(f"{name}, diabetes", _regressor(scaled)))
    listed += [Case(f"{name}, adult-like table", _table(make)) for name, make in _TABLES.items()]
    listed += _boosted()
    listed.append(Case("HistGradientBoosting, missing values", _missing(CLASSIFIERS["HistGradientBoosting"])))
    imputed = make_pipeline(SimpleImputer(), StandardScaler(), CLASSIFIERS["LogisticRegression"])
    listed.append(Case("SimpleImputer, LogisticRegression", _missing(imputed)))
    return listed


def _classifier(model: Any, load: Load, *, zipmap: bool = True, text: bool = False) -> Callable[[], Built]:
    def build() -> Built:
        x, y = _data(load)
        labels = np.array([f"class {k}" for k in range(10)])[y] if text else y
        fitted = _fitted(model, x, labels)
        if zipmap:
            return _split(to_onnx(fitted, x[:1]).SerializeToString(), x)
        return _split(to_onnx(fitted, x[:1], options={"zipmap": False}).SerializeToString(), x)

    return build


def _regressor(model: Any) -> Callable[[], Built]:
    def build() -> Built:
        x, y = _data(load_diabetes)
        return _split(to_onnx(_fitted(model, x, y), x[:1]).SerializeToString(), x)

    return build


def _missing(model: Any) -> Callable[[], Built]:
    def build() -> Built:
        x, y = _data(load_wine)
        x[np.random.default_rng(0).random(x.shape) < 0.05] = np.nan
        return _split(to_onnx(_fitted(model, x, y), x[:1]).SerializeToString(), x)

    return build


_NUMBERS, _CATEGORIES = ("age", "hours", "gain"), ("work", "education")
_TABLES: dict[str, Callable[[], Any]] = {
    "LogisticRegression, one-hot": lambda: (
        OneHotEncoder(handle_unknown="ignore"),
        CLASSIFIERS["LogisticRegression"],
    ),
    "RandomForest, one-hot": lambda: (OneHotEncoder(), CLASSIFIERS["RandomForest"]),
    "RandomForest, ordinal": lambda: (OrdinalEncoder(), CLASSIFIERS["RandomForest"]),
    "HistGradientBoosting, ordinal": lambda: (OrdinalEncoder(), CLASSIFIERS["HistGradientBoosting"]),
    "MLPClassifier, one-hot": lambda: (OneHotEncoder(), CLASSIFIERS["MLPClassifier, relu"]),
}


def _table(make: Callable[[], Any]) -> Callable[[], Built]:
    """A table of people: three numbers, a text and a grade."""

    def build() -> Built:
        import pandas

        rng = np.random.default_rng(0)
        frame = pandas.DataFrame(
            {
                "age": rng.integers(17, 90, 500).astype(np.float32),
                "hours": rng.integers(1, 99, 500).astype(np.float32),
                "gain": np.where(rng.random(500) < 0.9, 0, rng.integers(100, 9999, 500)).astype(np.float32),
                "work": rng.choice(["private", "state", "self"], 500),
                "education": rng.integers(1, 17, 500),
            }
        )
        chance = frame.age / 60 + frame.education / 8 + (frame.work == "self") + (frame.gain > 0)
        labels = np.where(chance + rng.normal(0, 0.3, 500) > 2.4, ">50K", "<=50K")
        encoder, model = make()
        columns = ColumnTransformer(
            [
                ("numbers", StandardScaler(), list(_NUMBERS)),
                ("text", encoder, ["work"]),
                ("grade", clone(encoder), ["education"]),
            ]
        )
        fitted = _fitted(make_pipeline(columns, model), frame, labels)
        types = [(name, FloatTensorType([None, 1])) for name in _NUMBERS]
        types += [("work", StringTensorType([None, 1])), ("education", Int64TensorType([None, 1]))]
        return _split(to_onnx(fitted, initial_types=types).SerializeToString(), frame.to_numpy(object))

    return build


def _boosted() -> list[Case]:
    quiet: dict[str, Any] = {"n_estimators": 12, "random_state": 0}
    light: dict[str, tuple[Any, Load]] = {
        "LightGBM, two classes": (LGBMClassifier(verbose=-1, **quiet), load_breast_cancer),
        "LightGBM, three classes": (LGBMClassifier(verbose=-1, **quiet), load_wine),
        "LightGBM, regression": (LGBMRegressor(verbose=-1, **quiet), load_diabetes),
    }
    extreme: dict[str, tuple[Any, Load]] = {
        "XGBoost, two classes": (XGBClassifier(max_depth=4, **quiet), load_breast_cancer),
        "XGBoost, three classes": (XGBClassifier(max_depth=4, **quiet), load_wine),
        "XGBoost, regression": (XGBRegressor(max_depth=4, **quiet), load_diabetes),
    }
    listed = [Case(name, _converted(convert_lightgbm, *entry)) for name, entry in light.items()]
    return listed + [Case(name, _converted(convert_xgboost, *entry)) for name, entry in extreme.items()]


def _converted(convert: Any, model: Any, load: Load) -> Callable[[], Built]:
    def build() -> Built:
        x, y = _data(load)
        fitted = _fitted(model, x, y)
        types = [("X", OtherFloats([None, x.shape[1]]))]
        return _split(convert(fitted, initial_types=types).SerializeToString(), x)

    return build


def _data(load: Load) -> tuple[NDArray[np.float32], NDArray[Any]]:
    x, y = load(return_X_y=True)
    return x.astype(np.float32), y


def _fitted(model: Any, x: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(model).fit(x, y)


def _split(model: bytes, rows: NDArray[Any]) -> Built:
    order = np.random.default_rng(1).permutation(len(rows))
    count = int(HELD_BACK * len(rows))
    return Built(model, rows[order[count:]], rows[order[:count]])
