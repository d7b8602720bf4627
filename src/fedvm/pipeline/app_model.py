"""The network of a Flower app with the weights of its federation's latest round, ready to be compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord

from fedvm.compiler.frontend.bundle import self_contained
from fedvm.federation.arrays import named_arrays
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.estimators import estimator_file, is_estimator
from fedvm.pipeline.federated_onnx import Federated, FinalModel, with_weights
from fedvm.pipeline.user_model import state_of


def federated_app(
    made: Any,
    reference: str,
    final: FinalModel,
    *,
    onnx: Path | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Federated:
    """An ONNX file of the app's network with a round's weights.

    made: what the app's function `reference` returned: a PyTorch module, a scikit-learn estimator, or with `onnx`, the
    file of a network from elsewhere, the state of that network. input_shape: of one input, for PyTorch's exporter.

    Raises:
        UsageError: the network cannot be written as ONNX, is of another size than the federation's, or, for a PyTorch
            module, nobody says how large an input is.
        ConfigError: it is nothing of these.
        ExportError: as `onnx_bytes`.
    """
    if onnx is not None:
        return with_weights(self_contained(onnx), named_arrays(state_of(made, reference)), final)
    if is_estimator(made):
        written = estimator_file(made)
        return with_weights(written.onnx, written.arrays, final)
    if not hasattr(made, "state_dict"):
        raise UsageError(
            f"--model {reference} returned {type(made).__name__}: return a PyTorch module or a scikit-learn estimator, "
            "or give the network's file with --onnx"
        )
    if input_shape is None:
        raise UsageError(
            "how large is an input? give --input-shape, such as 1,28,28, or a .npy or .npz file with --calibration"
        )
    from fedvm.learning.export import onnx_bytes  # PyTorch, which other apps do not need

    return with_weights(onnx_bytes(made, input_shape), named_arrays(ArrayRecord(made.state_dict())), final)
