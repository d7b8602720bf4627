"""The mod's part in a sealed federation: steps of an epoch are answered, updates leave the client masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flwr.app import Context, Message, MetricRecord
from flwr.clientapp.typing import ClientAppCallable

from fedvm.federation.client.briefed import (
    attestation,
    check_terms,
    only_arrays,
    read_briefing,
    receive,
    trained_vector,
)
from fedvm.federation.client.consent import Consent
from fedvm.federation.client.sealed import SealedMember, epoch_of, masked_content
from fedvm.federation.commitment import Quantizer
from fedvm.federation.keys import KeyProvider, member_from_node_config
from fedvm.federation.metrics import MetricNames
from fedvm.federation.terms import SEALED_STEP
from fedvm.protocol import dequantize

if TYPE_CHECKING:
    from fedvm.federation.client.distributed_privacy import SealedNoise


def sealed_reply(
    message: Message,
    context: Context,
    call_next: ClientAppCallable,
    key: KeyProvider,
    names: MetricNames | None,
    quantizer: Quantizer,
    noise: SealedNoise | None = None,
) -> Message:
    """Answer a step of an epoch, or train and mask. Who has sealed the round already answers with the same bytes, and
    trains no more. The arguments are those of `accountable_mod` and its mod; noise: what is added to the update.

    Raises:
        TermsError, CommitmentError, PrivacyBudgetSpent: as the mod of `accountable_mod`.
    """
    private_key = key(context)
    member = SealedMember.of(context, private_key, member_from_node_config(context, private_key), noise)
    if SEALED_STEP in message.content.config_records:
        return member.step(message, Consent.from_node_config(context.node_config))
    epoch = epoch_of(message.content)
    briefing = read_briefing(message)
    terms = briefing.terms
    base, spec = receive(message, briefing)
    check_terms(terms, base, context, sealed=True)
    names = names or MetricNames(examples=briefing.weighted_by)
    kept = member.sealed_before(epoch, terms)
    if kept is None:
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        _, arrays = only_arrays(reply.content)
        trained = trained_vector(spec, arrays)
        update = quantizer(trained - dequantize(base, terms.rules.fraction_bits), terms.rules)
        said = attestation(reply.content, names)
        metrics = dict(next(iter(reply.content.metric_records.values()), MetricRecord()))
        if noise is not None:
            from fedvm.federation.client.distributed_privacy import nothing_but_examples

            said, metrics = nothing_but_examples(said), {names.examples: said.examples}
        kept = member.seal(epoch, terms, update, said, metrics)
    return Message(masked_content(kept), reply_to=message)
