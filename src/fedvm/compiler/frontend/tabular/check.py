"""Checks on calibration rows that what was followed is what the file computes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.errors import FidelityError, QualityError
from fedvm.compiler.frontend.tabular.read import Tabular
from fedvm.compiler.frontend.tabular.run import run_rows
from fedvm.compiler.graph import FloatArray

ROWS = 512
"""Calibration rows that are compared."""
RIGHT = 0.95
"""Share of them that must agree: where float32 cannot tell (a model of features that were not scaled), the file's own
answer falls either way."""
NOISE = 1e-2
"""Difference of a score that is none, relative to the largest."""


def check_rows(tabular: Tabular, rows: NDArray[Any], scores: FloatArray, head: str) -> float | None:
    """Compare scores `[N, K]`, as they were followed, with what the file gives for rows `[N, features]`.

    Returns the share of rows for which the largest score is that of the file's label, None if it has no label. Raises
    FidelityError if the label, or where it should be the same the score, differs in too many rows.
    """
    rows, scores = rows[:ROWS], scores[:ROWS]
    outputs = tabular.outputs
    names = [outputs.scores, *([outputs.label] if outputs.label else [])]
    wanted, *labels = run_rows(tabular.proto, names, rows)
    if not tabular.approximate and wanted.size == scores.size and head != "sigmoid":
        found = _softmax(scores) if head == "softmax" else scores
        wanted = wanted.reshape(found.shape).astype(np.float64)
        size = max(float(np.abs(wanted).max(initial=0)), 1e-6)
        right = float((np.abs(found - wanted).max(axis=1) <= NOISE * size).mean())
        if right < RIGHT:
            raise FidelityError(_text("scores", right))
    if not labels or not outputs.classes or scores.shape[1] != len(outputs.classes):
        return None
    best = np.array(outputs.classes, object)[scores.argmax(axis=1)]
    agree = float(np.mean([str(a) == str(b) for a, b in zip(best, labels[0].ravel(), strict=True)]))
    if agree < RIGHT and tabular.approximate:
        raise QualityError(
            f"the scores have the class of the file in only {agree:.1%} of the calibration rows: the file lets "
            "pairs of classes vote, and here the votes are no hard ones. Scale the features, or train a model of fewer "
            "classes or one that does not vote (LinearSVC, OneVsRestClassifier)"
        )
    if agree < RIGHT:
        raise FidelityError(_text("class", agree))
    return agree


def _softmax(scores: FloatArray) -> FloatArray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return result


def _text(what: str, share: float) -> str:
    return (
        f"what the compiler made of the tabular model has the {what} of the file in only {share:.1%} of the "
        "calibration rows. This is a fault of the compiler: please report it with the file"
    )
