"""What the mods of open and of sealed rounds have in common: the server's message, the terms in it, the app's reply."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict

from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.client.consent import Consent
from fedvm.federation.commitment import Attestation
from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.keys import RPC
from fedvm.federation.metrics import MetricNames
from fedvm.federation.terms import RECORD, Briefing, RoundTerms
from fedvm.protocol import EncodingError, Rules, VectorSpec, int32_from_bytes, model_root, to_bytes
from fedvm.protocol.spec import FloatVector
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS
from fedvm.protocol.vector import IntVector


def read_briefing(message: Message) -> Briefing:
    """FedVM's record in a train message. Raises TermsError if there is none that can be read."""
    record = message.content.config_records.get(RECORD)
    if record is None:
        raise TermsError("the message carries no FedVM terms; wrap the server's strategy: Accountable(...)")
    return Briefing.from_record(record)


def receive(message: Message, briefing: Briefing) -> tuple[IntVector, VectorSpec]:
    """Take FedVM's record out of a train message: the base vector, and how tensors become one.

    What is left is what the app would see without FedVM.
    """
    arrays = named_arrays(model_of(message, briefing))
    try:
        codec = ModelCodec.for_arrays(arrays, briefing.terms.rules.fraction_bits)
    except EncodingError as error:
        raise TermsError(f"the model in the server's message cannot be read: {error}") from error
    vector = codec.vector(arrays, briefing.remainder)
    del message.content[RECORD]
    return vector, codec.spec


def model_of(message: Message, briefing: Briefing) -> ArrayRecord:
    """The model in a train message. Raises TermsError if there is none."""
    model = message.content.array_records.get(briefing.arrays_key)
    if model is None:
        raise TermsError(f"the message holds no ArrayRecord {briefing.arrays_key!r} with the model")
    return model


def check_terms(terms: RoundTerms, vector: IntVector, context: Context, *, sealed: bool) -> None:
    """Raise TermsError unless the client agrees to the terms, and they fit what was sent.

    sealed: whether the update is to leave the client masked.
    """
    # A signature under rules of another size could be shown to be a bad update, and cost the member its stake.
    if terms.rules.elements != vector.size:
        raise TermsError(
            f"the rules speak of {terms.rules.elements} parameters, the model sent has {vector.size}"
        )
    if _root_of(to_bytes(vector)) != terms.base_root:
        raise TermsError(f"the model sent for round {terms.round} is not the one its terms name")
    consent = Consent.from_node_config(context.node_config)
    consent.check_federation(terms.domain.federation)
    consent.check_rules(terms.rules)
    if rpc := context.node_config.get(RPC):
        from fedvm.federation.client.chain_check import check_on_chain  # web3; a phone has no RPC

        check_on_chain(str(rpc), terms, sealed=sealed)


@lru_cache(maxsize=1)
def _root_of(model: bytes) -> bytes:
    """Root of a model's bytes; a process that simulates many clients computes it once a round."""
    return model_root(int32_from_bytes(model, len(model) // 4))


def only_arrays(content: RecordDict) -> tuple[str, ArrayRecord]:
    """Key and arrays of a reply's only ArrayRecord. Raises CommitmentError if there are none, or several."""
    records = list(content.array_records.items())
    if len(records) != 1:
        named = f": {', '.join(map(repr, content.array_records))}" if records else ""
        raise CommitmentError(
            f"the app must reply with exactly one ArrayRecord, the model it trained, not {len(records)}{named}"
        )
    return records[0]


def trained_vector(spec: VectorSpec, arrays: ArrayRecord) -> FloatVector:
    """The tensors that an app trained, float64 (elements,); integer tensors keep the base's values.

    Raises:
        CommitmentError: tensors are missing, unknown, or of another shape than those of the model that was sent.
    """
    returned = named_arrays(arrays)
    wanted = {tensor.name: tensor for tensor in spec.tensors}
    floats = {name: array for name, array in returned.items() if np.issubdtype(array.dtype, np.floating)}
    if missing := [name for name in wanted if name not in floats]:
        raise CommitmentError(
            f"the app did not return {_listed(missing)}, of the model that the server sent: let the server start from "
            "the tensors that clients train and return alone"
        )
    if strange := [name for name in floats if name not in wanted]:
        raise CommitmentError(
            f"the app returned {_listed(strange)}, which the model that the server sent does not have: keep what is "
            "personal in `context.state`, or let the server start from these tensors, too"
        )
    for name, tensor in wanted.items():
        if floats[name].shape != tensor.shape:
            raise CommitmentError(
                f"the app returned {name!r} of shape {list(floats[name].shape)}, it was sent {list(tensor.shape)}"
            )
    # In float64, since an app may train in another precision than the server sends.
    return np.concatenate([np.ravel(floats[name]).astype(np.float64) for name in wanted])


def attestation(content: RecordDict, names: MetricNames) -> Attestation:
    """What the app reports of its training; one example where it reports no number of them, so that such clients count
    the same. Raises CommitmentError if that cannot be attested."""
    records = list(content.metric_records.values())
    if len(records) > 1:
        raise CommitmentError(
            f"the app must reply with one MetricRecord, not {len(records)}: "
            f"{', '.join(map(repr, content.metric_records))}"
        )
    metrics = records[0] if records else MetricRecord()
    return Attestation(
        examples=_count(names.examples, metrics.get(names.examples, 1)),
        accuracy=_number(metrics, names.attested_accuracy),
        loss=_number(metrics, names.attested_loss),
        labels=_count(names.labels, metrics.get(names.labels, 0)),
        epsilon=_number(metrics, names.epsilon),
    )


def check_loss(said: Attestation, names: MetricNames, rules: Rules) -> None:
    """Raise CommitmentError unless a loss is attested where the rules' aggregator weighs by it."""
    if said.loss_micros != NOT_ATTESTED_LOSS or not any(rules.aggregator):
        return
    from fedvm.protocol.aggregators import aggregator_named  # the weighted mean needs none of them

    try:
        rule = aggregator_named(rules.aggregator)
    except EncodingError as error:
        raise CommitmentError(str(error)) from error
    if rule.needs_losses:
        raise CommitmentError(
            f"{rule.name} weighs clients by their loss, and the app reports no finite {names.attested_loss!r}: let it "
            "report one"
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more tensors"


def _count(name: str, value: object) -> int:
    if not isinstance(value, int | float) or not math.isfinite(value) or value != int(value) or value < 0:
        raise CommitmentError(f"the app must report a whole number of {name!r}, not {value!r}")
    return int(value)


def _number(metrics: MetricRecord, name: str) -> float | None:
    value = metrics.get(name)
    if value is not None and not isinstance(value, int | float):
        raise CommitmentError(f"the app reports a list as {name!r}; give a number")
    return None if value is None else float(value)
