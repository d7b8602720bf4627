"""The Flower mod that makes a ClientApp accountable: `ClientApp(mods=[fedvm_mod])`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod

from fedvm.federation.arrays import VECTOR, ModelCodec, named_arrays, vector_of
from fedvm.federation.client.consent import Consent
from fedvm.federation.client.kept import keep_update
from fedvm.federation.commitment import Attestation, Quantizer, SignedUpdate, clip_and_quantize, commit
from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.identity import QUESTION, Question, answer
from fedvm.federation.keys import KEEP, RPC, KeyProvider, key_from_node_config, member_from_node_config
from fedvm.federation.metrics import MetricNames
from fedvm.federation.replies import write_reply
from fedvm.federation.terms import RECORD, Briefing, RoundTerms
from fedvm.protocol import dequantize, int32_from_bytes, model_root, to_bytes
from fedvm.protocol.vector import IntVector


@dataclass(frozen=True)
class _Signer:
    """A key (hex), and the address (checksummed) of the member that it signs for."""

    private_key: str
    member: str


def accountable_mod(
    *,
    key: KeyProvider = key_from_node_config,
    names: MetricNames | None = None,
    quantizer: Quantizer = clip_and_quantize,
) -> Mod:
    """A mod that hands the app float tensors and turns the model it trained into a signed integer update.

    key: returns the client's signing key (hex) for a context. names: the metrics that the app reports (the number of
    examples, and what is attested). quantizer: how a float difference becomes integers; only simulated adversaries
    pass another than the default.

    The app is an ordinary one: it reads one ArrayRecord and replies with one ArrayRecord and one MetricRecord. The
    server sees a client whose mod raises as failed.

    Raises:
        TermsError: the message cannot be read, or asks for what the client does not agree to (`consent`), or the
            client has no usable key.
        CommitmentError: the app's reply cannot be turned into an update.
    """
    metric_names = names or MetricNames()

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if QUESTION in message.content.config_records:
            return _say_who(message, context, key)
        briefing, vector = _receive(message)
        terms = briefing.terms
        if terms is None:  # evaluation: nothing to sign
            return call_next(message, context)
        _check_terms(terms, briefing, vector, context)
        reply = call_next(message, context)
        if not reply.has_error():
            private_key = key(context)
            signer = _Signer(private_key, member_from_node_config(context, private_key))
            signed = _commit_reply(reply.content, briefing, terms, vector, signer, metric_names, quantizer)
            if folder := context.node_config.get(KEEP):
                keep_update(Path(str(folder)), terms.domain, signed)
        return reply

    return mod


def fedvm_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """The mod that makes a ClientApp accountable: `ClientApp(mods=[fedvm_mod])`.

    It is `accountable_mod()` with its defaults: the signing key comes from the node config (`fedvm-key-file`), and the
    metrics have the names of `MetricNames`.

    Raises:
        TermsError, CommitmentError: as the mod of `accountable_mod`.
    """
    return accountable_mod()(message, context, call_next)


def _say_who(message: Message, context: Context, key: KeyProvider) -> Message:
    question = Question.from_record(message.content.config_records[QUESTION])
    Consent.from_node_config(context.node_config).check_federation(question.domain.federation)
    private_key = key(context)
    member = member_from_node_config(context, private_key)
    return Message(answer(question, context.node_id, private_key, member), reply_to=message)


def _receive(message: Message) -> tuple[Briefing, IntVector]:
    """Take FedVM's parts out of the message and put the float model in, as the app expects it."""
    record = message.content.config_records.get(RECORD)
    if record is None:
        raise TermsError("the message carries no FedVM terms; wrap the server's strategy: Accountable(...)")
    briefing = Briefing.from_record(record)
    arrays_key, arrays = _only_arrays(message.content)
    vector = vector_of(arrays, briefing.spec.elements)
    others = {name: array for name, array in named_arrays(arrays).items() if name != VECTOR}
    if set(briefing.order) != {tensor.name for tensor in briefing.spec.tensors} | set(others):
        raise TermsError("the server's tensors are not those its fedvm record names")
    codec = ModelCodec(briefing.spec, others, briefing.order, briefing.fraction_bits)
    del message.content[RECORD]
    message.content[arrays_key] = codec.floats(vector)
    return briefing, vector


def _check_terms(terms: RoundTerms, briefing: Briefing, vector: IntVector, context: Context) -> None:
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

        check_on_chain(str(rpc), terms)


@lru_cache(maxsize=1)
def _root_of(model: bytes) -> bytes:
    """Root of a model's bytes; a process that simulates many clients computes it once a round."""
    return model_root(int32_from_bytes(model, len(model) // 4))


def _commit_reply(
    content: RecordDict,
    briefing: Briefing,
    terms: RoundTerms,
    base: IntVector,
    signer: _Signer,
    names: MetricNames,
    quantizer: Quantizer,
) -> SignedUpdate:
    arrays_key, arrays = _only_arrays(content)
    trained = briefing.spec.flatten(named_arrays(arrays))
    update = quantizer(trained - dequantize(base, briefing.fraction_bits), terms.rules)
    signed: SignedUpdate = commit(
        update, terms, _attestation(content, names), signer.private_key, signer.member
    )
    write_reply(content, signed, arrays_key=arrays_key)
    return signed


def _only_arrays(content: RecordDict) -> tuple[str, ArrayRecord]:
    records = list(content.array_records.items())
    if len(records) != 1:
        raise CommitmentError(f"exactly one ArrayRecord is expected, not {len(records)}")
    return records[0]


def _attestation(content: RecordDict, names: MetricNames) -> Attestation:
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
