"""The result of a federation whose app is the user's own, as an ONNX file that can be deployed with its lineage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from flwr.app import ArrayRecord

from fedvm.chain.history import FederationHistory
from fedvm.federation.arrays import named_arrays
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.serve import Lineage
from fedvm.protocol import VectorSpec, dequantize, model_root
from fedvm.protocol.vector import int32_from_bytes
from fedvm.rundir.run import Run


@dataclass(frozen=True)
class Federated:
    """An ONNX file with the weights of a round. tensors: names of the federated tensors in canonical order;
    fraction_bits: their scale; stores: where the federation's artefacts are, as absolute paths or URLs."""

    onnx: bytes
    lineage: Lineage
    tensors: tuple[str, ...]
    fraction_bits: int
    stores: tuple[str, ...]


def with_latest_round(file: bytes, run: Run, initial: ArrayRecord) -> Federated:
    """Put the weights of a federation's latest final round into an ONNX file of the same network.

    run: open, with the federation and its store. initial: the state that the federation began with, whose names and
    order are those of the vector; the ONNX file's initializers have these names, as PyTorch's exporters write them.

    Raises:
        UsageError: no round is final; the state is of another network; or the file has no such weights.
        StoreError: the store does not have the round's model.
    """
    contract = run.federation_contract
    told = FederationHistory(contract, first_block=run.deployment.block).read()
    if told.final is None or told.model_cid is None:
        raise UsageError(f"no round of {contract.address} is final: there is no result to deploy yet")
    rules = contract.rules()
    spec = VectorSpec.from_arrays(named_arrays(initial))
    if spec.elements != rules.elements:
        raise UsageError(
            f"--app gives a network of {spec.elements:,} parameters, the federation's has {rules.elements:,}: name the "
            "function that it was created with"
        )
    vector = int32_from_bytes(run.store.get(told.model_cid), rules.elements)
    root = model_root(vector)
    if root != contract.model_root():
        raise UsageError("the model in the store is not that of the latest final round: audit the federation")
    weights = spec.unflatten(dequantize(vector, rules.fraction_bits))
    lineage = Lineage(contract.address, told.final.number, root)
    names = tuple(tensor.name for tensor in spec.tensors)
    home = run.path or Path()
    stores = tuple(one if "://" in one else str((home / one).resolve()) for one in run.deployment.stores)
    return Federated(_replaced(file, weights), lineage, names, rules.fraction_bits, stores)


def _replaced(file: bytes, weights: dict[str, Any]) -> bytes:
    model = onnx.load_model_from_string(file)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    if missing := [name for name in weights if name not in stored]:
        raise UsageError(
            f"the ONNX file has no weights named {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}: export it "
            "with the names of the state (torch.onnx.export does, without folding constants), or federate those it has"
        )
    for name, array in weights.items():
        tensor = stored[name]
        if tuple(tensor.dims) != array.shape:
            raise UsageError(
                f"{name} has the shape {tuple(tensor.dims)} in the ONNX file, {array.shape} in the app"
            )
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    return bytes(model.SerializeToString(deterministic=True))
