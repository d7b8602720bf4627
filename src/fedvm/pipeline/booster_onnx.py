"""A booster that XGBoost's trees were gathered in, as an ONNX file."""

from __future__ import annotations

from fedvm.audit.booster_trees import same_trees
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.federated_onnx import Federated, FinalModel
from fedvm.protocol.aggregators.booster_form import read_booster


def federated_booster(final: FinalModel) -> Federated:
    """The file of a round's booster, which has its very trees.

    Raises:
        UsageError: XGBoost or onnxmltools is not installed, or cannot read or write it.
    """
    assert final.data is not None
    if not final.data:
        raise UsageError("the latest final round has no trees yet: train a round first")
    try:
        from onnxmltools import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType
        from xgboost import Booster
    except ImportError as error:
        raise UsageError(
            f"a booster is written as ONNX by xgboost and onnxmltools: pip install xgboost onnxmltools ({error})"
        ) from None
    try:
        read_booster(final.data)  # XGBoost believes what it loads
        booster = Booster()
        booster.load_model(bytearray(final.data))
        width = int(booster.num_features())
        model = convert_xgboost(booster, initial_types=[("input", FloatTensorType([None, width]))])
        file = bytes(model.SerializeToString(deterministic=True))
        if not same_trees(file, final.data):
            raise ValueError("the file has other trees")
    except Exception as error:  # both raise what they like
        raise UsageError(f"the round's booster cannot be written as ONNX: {error}") from error
    return Federated(file, final.lineage, (), 0, final.stores)
