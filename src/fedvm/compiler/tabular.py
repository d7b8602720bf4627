"""Tabular models that are networks: compiled like any other, over the columns that are made of a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.compiler.encoding import row_of_network
from fedvm.compiler.errors import CalibrationError, ModelError
from fedvm.compiler.frontend.choice import chosen
from fedvm.compiler.frontend.load import load_model
from fedvm.compiler.frontend.tabular.check import check_rows
from fedvm.compiler.frontend.tabular.ensemble import Votes
from fedvm.compiler.frontend.tabular.read import Tabular, is_tabular, read_tabular
from fedvm.compiler.frontend.tabular.run import run_rows

Model: TypeAlias = str | Path | bytes | onnx.ModelProto


def tabular_model(model: Model, output: str | None = None) -> Tabular | None:
    """The model as a tabular one, None if it is none. output: the name of the output to take, where there are several.

    Raises ModelError and UnsupportedOperator.
    """
    proto = chosen(load_model(model), output)
    return read_tabular(proto) if is_tabular(proto) else None


def networked(model: Model, tabular: Tabular | None, data: NDArray[Any]) -> tuple[Model, NDArray[Any]]:
    """The network to compile and its calibration data: columns for rows, which are first compared with what the file
    gives for them. Bytes (uint8), and what belongs to other models, are passed on.

    Raises CalibrationError for rows that the model cannot take, FidelityError for a difference.
    """
    if tabular is None:
        return model, data
    assert not isinstance(tabular.model, Votes)
    if data.dtype == np.uint8:
        return tabular.model, data
    try:
        columns = tabular.encode(data).astype(np.float32)
    except ModelError as error:
        raise CalibrationError(f"calibration data: {error}") from error
    return tabular.model, columns


def describe_network(manifest: dict[str, Any], tabular: Tabular, data: NDArray[Any]) -> None:
    """Add to the manifest what a row is and which classes the scores stand for, and check it on calibration rows."""
    spec, output = manifest["input"], manifest["output"]
    if spec["float"]:
        spec["row"] = row_of_network(tabular.features, tabular.columns, spec["scale"], spec["offset"])
    output["classes"] = list(tabular.outputs.classes)
    output["head"] = tabular.head or output["head"]
    if len(tabular.outputs.classes) == output["scores"] > 1:
        output["axis"] = 0
    agreement = None
    data = np.asarray(data)
    if data.dtype != np.uint8 and not isinstance(tabular.model, Votes):
        name = tabular.model.graph.output[0].name
        columns = tabular.encode(data).astype(np.float32)
        scores = run_rows(tabular.model, [name], columns)[0].astype(np.float64)
        agreement = check_rows(tabular, data, scores, "sigmoid" if tabular.head == "sigmoid" else "")
    manifest["quality"]["label_agreement"] = agreement
