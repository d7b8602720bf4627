"""Tabular models that multiply a row's numbers: kernels, norms, votes of probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC, SVR
from test_tabular import classes_of, fitted, scores_of

from fedvm.compiler import compile_model


@pytest.mark.parametrize("kernel", ["rbf", "poly", "sigmoid"])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_support_vector_machines_of_any_kernel(kernel, load):
    model = SVC(kernel=kernel, degree=2, gamma=0.02)
    proto, x, labels = fitted(make_pipeline(StandardScaler(), model), load)
    assert (classes_of(compile_model(proto, x), x) == labels).mean() > 0.95


def test_a_regressor_with_a_kernel():
    proto, x, values = fitted(make_pipeline(StandardScaler(), SVR(C=100)), load_diabetes)
    compiled = compile_model(proto, x)
    found = scores_of(compiled, x)[:, 0] * compiled.manifest["output"]["scale"][0]
    assert np.corrcoef(found, values)[0, 1] > 0.99


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_rows_over_their_norm(norm):
    proto, x, labels = fitted(
        make_pipeline(StandardScaler(), Normalizer(norm), LogisticRegression()), load_wine
    )
    assert (classes_of(compile_model(proto, x), x) == labels).mean() > 0.97


def test_the_mean_of_two_softmaxes():
    pair = [("a", LogisticRegression(max_iter=100)), ("b", LinearDiscriminantAnalysis())]
    model = VotingClassifier(pair, voting="soft", flatten_transform=False)
    proto, x, labels = fitted(make_pipeline(StandardScaler(), model), load_wine)
    assert (classes_of(compile_model(proto, x), x) == labels).mean() > 0.97
