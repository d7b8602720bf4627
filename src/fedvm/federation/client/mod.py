"""The Flower mod that makes a ClientApp accountable: `ClientApp(mods=[fedvm_mod])`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context, Message, RecordDict
from flwr.app.message_type import MessageType
from flwr.clientapp.typing import ClientAppCallable, Mod

from fedvm.federation.arrays import named_arrays
from fedvm.federation.client.briefed import attestation, check_terms, only_arrays, receive
from fedvm.federation.client.consent import Consent
from fedvm.federation.client.kept import keep_update
from fedvm.federation.commitment import Quantizer, SignedUpdate, clip_and_quantize, commit
from fedvm.federation.errors import TermsError
from fedvm.federation.identity import QUESTION, Question, answer
from fedvm.federation.keys import KEEP, SEALED, KeyProvider, key_from_node_config, member_from_node_config
from fedvm.federation.metrics import MetricNames
from fedvm.federation.replies import write_reply
from fedvm.federation.terms import SEALED_ROUND, SEALED_STEP, Briefing, RoundTerms
from fedvm.protocol import dequantize
from fedvm.protocol.vector import IntVector

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
    examples, and what is attested). quantizer: how a float difference becomes integers; only simulated adversaries
    pass another than the default. privacy: the noise that a member of a sealed federation adds to its updates; then it
    answers for sealed rounds alone, and of what its app reports nothing but the number of examples leaves it.
    noise_seed: makes the noise reproducible, **for simulations only**: whoever knows the seed can take it off.

    The app is an ordinary one: it reads one ArrayRecord and replies with one ArrayRecord and one MetricRecord. The
    server sees a client whose mod raises as failed.

    Raises:
        TermsError: the message cannot be read, or asks for what the client does not agree to (`consent`), or the
            client has no usable key.
        CommitmentError: the app's reply cannot be turned into an update.
        PrivacyBudgetSpent: an update would exceed the budget of `privacy`; raised before training.
    """
    metric_names = names or MetricNames()

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if QUESTION in message.content.config_records:
            return _say_who(message, context, key)
        records = message.content.config_records
        if SEALED_STEP in records or SEALED_ROUND in records:
            # Only members of sealed federations load it.
            from fedvm.federation.client.sealed_mod import sealed_reply

            if privacy is None:
                return sealed_reply(message, context, call_next, key, metric_names, quantizer)
            noise = _noise(privacy, noise_seed, context)
            return sealed_reply(message, context, call_next, key, metric_names, privacy.quantize, noise)
        if privacy is not None:
            raise TermsError(
                "this client adds noise to sums of sealed rounds, and answers nothing else: what the server asks for "
                "would tell of its data without any noise"
            )
        if context.node_config.get(SEALED):
            return _evaluate_only(message, context, call_next)
        briefing, vector = receive(message)
        terms = briefing.terms
        if terms is None:  # evaluation: nothing to sign
            return call_next(message, context)
        check_terms(terms, briefing, vector, context, sealed=False)
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


def _noise(privacy: DistributedPrivacy, seed: int | None, context: Context) -> SealedNoise:
    from fedvm.federation.client.distributed_privacy import SealedNoise  # only members with noise load it

    return SealedNoise.of(privacy, seed, context.node_config.get("partition-id"))


def _evaluate_only(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """What a member of a sealed federation does beside its sealed rounds. Which kind of update is asked for is the
    server's word alone: whoever wants to see an update would ask for an open one."""
    if message.metadata.message_type.partition(".")[0] != MessageType.EVALUATE:
        raise TermsError(
            "the server asks for an update that is not sealed, and this client is a member of a sealed federation; to "
            f"take part in an open one, run a client of its own for it, without {SEALED} in its node config"
        )
    receive(message)
    reply = call_next(message, context)
    if not reply.has_error() and reply.content.array_records:
        raise TermsError(
            "the app replies to an evaluation with arrays; of a sealed client's nothing leaves but metrics"
        )
    return reply


def _say_who(message: Message, context: Context, key: KeyProvider) -> Message:
    question = Question.from_record(message.content.config_records[QUESTION])
    Consent.from_node_config(context.node_config).check_federation(question.domain.federation)
    private_key = key(context)
    member = member_from_node_config(context, private_key)
    return Message(answer(question, context.node_id, private_key, member), reply_to=message)


def _commit_reply(
    content: RecordDict,
    briefing: Briefing,
    terms: RoundTerms,
    base: IntVector,
    signer: _Signer,
    names: MetricNames,
    quantizer: Quantizer,
) -> SignedUpdate:
    arrays_key, arrays = only_arrays(content)
    trained = briefing.spec.flatten(named_arrays(arrays))
    update = quantizer(trained - dequantize(base, briefing.fraction_bits), terms.rules)
    signed: SignedUpdate = commit(
        update, terms, attestation(content, names), signer.private_key, signer.member
    )
    write_reply(content, signed, arrays_key=arrays_key)
    return signed
