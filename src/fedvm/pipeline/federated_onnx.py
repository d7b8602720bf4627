"""The result of a federation whose app is the user's own, as an ONNX file that can be deployed with its lineage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.audit.recipe import float_attributes
from fedvm.chain.history import FederationHistory
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.serve import Lineage
from fedvm.protocol import VectorSpec, dequantize, model_root
from fedvm.protocol.aggregators import is_over_bytes
from fedvm.protocol.vector import IntVector, int32_from_bytes
from fedvm.rundir.run import Run
from fedvm.store.payloads import StoredPayloads


@dataclass(frozen=True)
class Federated:
    """An ONNX file with the weights of a round. tensors: names in the file of the federated tensors, in canonical order
    (`fedvm.audit.recipe`); fraction_bits: their scale; stores: where the federation's artefacts are, as absolute paths
    or URLs."""

    onnx: bytes
    lineage: Lineage
    tensors: tuple[str, ...]
    fraction_bits: int
    stores: tuple[str, ...]


@dataclass(frozen=True)
class FinalModel:
    """The model of a federation's latest final round: int32 (n,) and its scale. stores: as of `Federated`. data: the
    bytes that the vector names, None unless the federation is over bytes."""

    vector: IntVector
    fraction_bits: int
    lineage: Lineage
    stores: tuple[str, ...]
    data: bytes | None = None


def final_model(run: Run) -> FinalModel:
    """The model of the latest final round. run: open, with the federation and its store.

    Raises:
        UsageError: no round is final, or the store holds another model.
        StoreError: the store does not have the round's model.
    """
    contract = run.federation_contract
    told = FederationHistory(contract, first_block=run.deployment.block).read()
    if told.final is None or told.model_cid is None:
        raise UsageError(f"no round of {contract.address} is final: there is no result to deploy yet")
    rules = contract.rules()
    vector = int32_from_bytes(run.store.get(told.model_cid), rules.elements)
    root = model_root(vector)
    if root != contract.model_root():
        raise UsageError("the model in the store is not that of the latest final round: audit the federation")
    home = run.path or Path()
    stores = tuple(one if "://" in one else str((home / one).resolve()) for one in run.deployment.stores)
    lineage = Lineage(contract.address, told.final.number, root)
    data = StoredPayloads(run.store).get(vector) if is_over_bytes(rules) else None
    return FinalModel(vector, rules.fraction_bits, lineage, stores, data)


def with_weights(file: bytes, arrays: Mapping[str, NDArray[Any]], final: FinalModel) -> Federated:
    """Put a round's weights into an ONNX file of the same network.

    arrays: the network's state by the names that its tensors have in the file: initializers, or `NODE.ATTRIBUTE`; only
    names, order, shapes and dtypes count.

    Raises:
        UsageError: the state is of another network, or the file has no such weights.
    """
    spec = VectorSpec.from_arrays(arrays)
    if spec.elements != final.vector.size:
        raise UsageError(
            f"--model gives a network of {spec.elements:,} parameters, the federation's has {final.vector.size:,}: "
            "name the function whose model the app trains"
        )
    weights = spec.unflatten(dequantize(final.vector, final.fraction_bits))
    names = tuple(tensor.name for tensor in spec.tensors)
    return Federated(_replaced(file, weights), final.lineage, names, final.fraction_bits, final.stores)


def _replaced(file: bytes, weights: Mapping[str, Any]) -> bytes:
    model = onnx.load_model_from_string(file)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    attributes = float_attributes(model.graph)
    if missing := [name for name in weights if name not in stored and name not in attributes]:
        raise UsageError(
            f"the ONNX file has no weights named {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}: export it "
            "with the names of the state (torch.onnx.export does, without folding constants), or federate those it has"
        )
    for name, array in weights.items():
        values = np.asarray(array, np.float32)
        if name in stored:
            tensor = stored[name]
            # A weight that is turned over has the same size, and would be filled in the wrong order.
            if [one for one in tensor.dims if one != 1] != [one for one in values.shape if one != 1]:
                raise UsageError(
                    f"{name} has the shape {tuple(tensor.dims)} in the ONNX file, {values.shape} in the app"
                )
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.reshape(tuple(tensor.dims)), name))
        else:
            attributes[name].floats[:] = values.ravel().tolist()
    return bytes(model.SerializeToString(deterministic=True))
