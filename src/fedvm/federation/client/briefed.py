"""What the mods of open and of sealed rounds have in common: the server's message, the terms in it, the app's reply."""

from __future__ import annotations

from functools import lru_cache

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict

from fedvm.federation.arrays import VECTOR, ModelCodec, named_arrays, vector_of
from fedvm.federation.client.consent import Consent
from fedvm.federation.commitment import Attestation
from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.keys import RPC
from fedvm.federation.metrics import MetricNames
from fedvm.federation.terms import RECORD, Briefing, RoundTerms
from fedvm.protocol import int32_from_bytes, model_root, to_bytes
from fedvm.protocol.vector import IntVector


def receive(message: Message) -> tuple[Briefing, IntVector]:
    """Take FedVM's parts out of the message and put the float model in, as the app expects it."""
    record = message.content.config_records.get(RECORD)
    if record is None:
        raise TermsError("the message carries no FedVM terms; wrap the server's strategy: Accountable(...)")
    briefing = Briefing.from_record(record)
    arrays_key, arrays = only_arrays(message.content)
    vector = vector_of(arrays, briefing.spec.elements)
    others = {name: array for name, array in named_arrays(arrays).items() if name != VECTOR}
    if set(briefing.order) != {tensor.name for tensor in briefing.spec.tensors} | set(others):
        raise TermsError("the server's tensors are not those its fedvm record names")
    codec = ModelCodec(briefing.spec, others, briefing.order, briefing.fraction_bits)
    del message.content[RECORD]
    message.content[arrays_key] = codec.floats(vector)
    return briefing, vector


def check_terms(
    terms: RoundTerms, briefing: Briefing, vector: IntVector, context: Context, *, sealed: bool
) -> None:
    """Raise TermsError unless the client agrees to the terms, and they fit what was sent.

    sealed: whether the update is to leave the client masked.
    """
    # A signature under rules of another size could be shown to be a bad update, and cost the member its stake.
    shape = (briefing.spec.elements, briefing.fraction_bits)
    if (terms.rules.elements, terms.rules.fraction_bits) != shape:
        raise TermsError(
            f"the rules speak of {terms.rules.elements} parameters in units of 2^-{terms.rules.fraction_bits}, the "
            f"model sent has {shape[0]} in units of 2^-{shape[1]}"
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
    """Key and arrays of the only ArrayRecord. Raises CommitmentError if there are none, or several."""
    records = list(content.array_records.items())
    if len(records) != 1:
        raise CommitmentError(f"exactly one ArrayRecord is expected, not {len(records)}")
    return records[0]


def attestation(content: RecordDict, names: MetricNames) -> Attestation:
    """What the app reports of its training. Raises CommitmentError if that cannot be attested."""
    records = list(content.metric_records.values())
    if len(records) != 1:
        raise CommitmentError(f"the app must reply with exactly one MetricRecord, not {len(records)}")
    metrics = records[0]
    return Attestation(
        examples=_count(names.examples, metrics.get(names.examples)),
        accuracy=_number(metrics, names.attested_accuracy),
        loss=_number(metrics, names.attested_loss),
        labels=_count(names.labels, metrics.get(names.labels, 0)),
        epsilon=_number(metrics, names.epsilon),
    )


def _count(name: str, value: object) -> int:
    if not isinstance(value, int | float) or value != int(value) or value < 0:
        raise CommitmentError(f"the app must report a whole number of {name!r}, not {value!r}")
    return int(value)


def _number(metrics: MetricRecord, name: str) -> float | None:
    value = metrics.get(name)
    if value is not None and not isinstance(value, int | float):
        raise CommitmentError(f"the app reports a list as {name!r}; give a number")
    return None if value is None else float(value)
