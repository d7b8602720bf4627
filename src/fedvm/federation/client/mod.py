"""The Flower mod that makes a ClientApp accountable: `ClientApp(mods=[fedvm_mod])`."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.message_type import MessageType
from flwr.clientapp.typing import ClientAppCallable, Mod

from fedvm.federation.arrays import named_arrays
from fedvm.federation.client.briefed import (
    attestation,
    check_loss,
    check_terms,
    only_arrays,
    read_briefing,
    receive,
    trained_vector,
)
from fedvm.federation.client.consent import Consent
from fedvm.federation.client.kept import keep_update
from fedvm.federation.commitment import Quantizer, SignedUpdate, clip_and_quantize, commit, norm_bound
from fedvm.federation.errors import TermsError
from fedvm.federation.identity import Question, answer
from fedvm.federation.keys import (
    KEEP,
    QUESTION,
    SEALED,
    KeyProvider,
    draw_key,
    key_from_node_config,
    member_from_node_config,
)
from fedvm.federation.metrics import MetricNames
from fedvm.federation.replies import Rounding, write_reply
from fedvm.federation.terms import SEALED_ROUND, SEALED_STEP, SHAPES, RoundTerms
from fedvm.protocol import Rules, VectorSpec, dequantize
from fedvm.protocol.spec import FloatVector
from fedvm.protocol.vector import IntVector, length

if TYPE_CHECKING:
    from fedvm.federation.client.distributed_privacy import DistributedPrivacy, SealedNoise


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
    privacy: DistributedPrivacy | None = None,
    noise_seed: int | None = None,
) -> Mod:
    """A mod that hands the app float tensors and turns the model it trained into a signed integer update.

    key: returns the client's signing key (hex) for a context. names: the metrics that the app reports (the number of
    examples, and what is attested); unless given, the server's strategy says by which one it weights. quantizer: how a
    float difference becomes integers; only simulated adversaries pass another than the default. privacy: the noise that
    a member of a sealed federation adds to its updates; then it answers for sealed rounds alone, and of what its app
    reports nothing but the number of examples leaves it. noise_seed: makes the noise reproducible, **for simulations
    only**: whoever knows the seed can take it off.

    The app is an ordinary one: it is sent what it would be sent without FedVM, and replies to a train message with one
    ArrayRecord and one MetricRecord. Messages of other kinds pass as they are. The server sees a client whose mod
    raises as failed.

    Raises:
        TermsError: the message cannot be read, or asks for what the client does not agree to (`consent`), or the
            client has no usable key.
        CommitmentError: the app's reply cannot be turned into an update.
        PrivacyBudgetSpent: an update would exceed the budget of `privacy`; raised before training.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        records = message.content.config_records
        if QUESTION in records:
            return _say_who(message, context, key)
        if SEALED_STEP in records or SEALED_ROUND in records:
            # Only members of sealed federations load it.
            from fedvm.federation.client.sealed_mod import sealed_reply

            if privacy is None:
                return sealed_reply(message, context, call_next, key, names, quantizer)
            noise = _noise(privacy, noise_seed, context)
            return sealed_reply(message, context, call_next, key, names, privacy.quantize, noise)
        if privacy is not None:
            raise TermsError(
                "this client adds noise to sums of sealed rounds, and answers nothing else: what the server asks for "
                "would tell of its data without any noise"
            )
        if SHAPES in records and not context.node_config.get(SEALED):
            return _shapes_only(message, context, call_next)
        if context.node_config.get(SEALED):
            return _evaluate_only(message, context, call_next)
        if not _is(message, MessageType.TRAIN):  # evaluations and queries: nothing to sign
            return call_next(message, context)
        briefing = read_briefing(message)
        terms = briefing.terms
        if any(terms.rules.aggregator):
            # Only members of such federations load the rules other than the mean.
            from fedvm.federation.client.byte_reply import bytes_signed
            from fedvm.protocol.aggregators import is_over_bytes

            if is_over_bytes(terms.rules):
                return bytes_signed(message, briefing, context, call_next, key, names)
        base, spec = receive(message, briefing)
        check_terms(terms, base, context, sealed=False)
        private_key = key(context)
        signer = _Signer(private_key, member_from_node_config(context, private_key))
        reply = call_next(message, context)
        if not reply.has_error():
            said = names or MetricNames(examples=briefing.weighted_by, attested_loss=briefing.loss)
            signed = _commit_reply(reply.content, spec, terms, base, signer, said, quantizer)
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


def _noise(privacy: DistributedPrivacy, seed: int | None, context: Context) -> SealedNoise:
    from fedvm.federation.client.distributed_privacy import SealedNoise  # only members with noise load it

    return SealedNoise.of(privacy, seed, context.node_config.get("partition-id"))


def _evaluate_only(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """What a member of a sealed federation does beside its sealed rounds. Which kind of update is asked for is the
    server's word alone: whoever wants to see an update would ask for an open one."""
    if not _is(message, MessageType.EVALUATE):
        raise TermsError(
            "the server asks for an update that is not sealed, and this client is a member of a sealed federation; to "
            f"take part in an open one, run a client of its own for it, without {SEALED} in its node config"
        )
    reply = call_next(message, context)
    if not reply.has_error() and reply.content.array_records:
        raise TermsError(
            "the app replies to an evaluation with arrays; of a sealed client's nothing leaves but metrics"
        )
    return reply


def _is(message: Message, kind: str) -> bool:
    return message.metadata.message_type.partition(".")[0] == kind


def _shapes_only(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Zeros in the shapes that the app trains, for a server whose model has none yet; what the app remembers of it is
    dropped."""
    del message.content[SHAPES]
    reply = call_next(message, copy.deepcopy(context))
    if reply.has_error():
        return reply
    key, trained = only_arrays(reply.content)
    zeros = {name: Array(np.zeros_like(array)) for name, array in named_arrays(trained).items()}
    return Message(RecordDict({key: ArrayRecord(zeros)}), reply_to=message)


def _say_who(message: Message, context: Context, key: KeyProvider) -> Message:
    question = Question.from_record(message.content.config_records[QUESTION])
    Consent.from_node_config(context.node_config).check_federation(question.domain.federation)
    if question.may_draw:
        draw_key(context)
    private_key = key(context)
    member = member_from_node_config(context, private_key)
    content = answer(question, context.node_id, private_key, member)
    for key_, record in message.content.array_records.items():  # for mods that stand before this one
        content[key_] = record
        content["metrics"] = MetricRecord({MetricNames.examples: 1})
    return Message(content, reply_to=message)


def _commit_reply(
    content: RecordDict,
    spec: VectorSpec,
    terms: RoundTerms,
    base: IntVector,
    signer: _Signer,
    names: MetricNames,
    quantizer: Quantizer,
) -> SignedUpdate:
    arrays_key, arrays = only_arrays(content)
    fraction_bits = terms.rules.fraction_bits
    difference = trained_vector(spec, arrays) - dequantize(base, fraction_bits)
    update = quantizer(difference, terms.rules)
    said = attestation(content, names)
    check_loss(said, names, terms.rules)
    signed: SignedUpdate = commit(update, terms, said, signer.private_key, signer.member)
    write_reply(content, signed, arrays_key=arrays_key, rounding=_rounding(difference, update, terms.rules))
    return signed


def _rounding(difference: FloatVector, update: IntVector, rules: Rules) -> Rounding:
    norm, signed = length(difference), dequantize(update, rules.fraction_bits)
    bound = norm_bound(rules)
    clipped = difference if norm <= bound else difference * (bound / norm)
    return Rounding(norm, length(signed), length(clipped - signed))
