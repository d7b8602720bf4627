"""What the mod does where members exchange bytes: an update names the bytes that the app trained."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from fedvm.federation.arrays import named_arrays
from fedvm.federation.byte_model import PAYLOAD, model_bytes
from fedvm.federation.client.briefed import attestation, check_terms, model_of, only_arrays
from fedvm.federation.commitment import SignedUpdate, commit
from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.keys import KeyProvider, member_from_node_config
from fedvm.federation.metrics import MetricNames
from fedvm.federation.replies import write_reply
from fedvm.federation.terms import RECORD, Briefing, RoundTerms
from fedvm.protocol import EncodingError
from fedvm.protocol.aggregators import byte_rule
from fedvm.protocol.vector import IntVector
from fedvm.store.payloads import name_of


def receive_bytes(message: Message, briefing: Briefing) -> IntVector:
    """Take FedVM's record out of a train message, and return the name of the model in it, int32 (9,). Raises TermsError
    if that is no model of bytes, or one that would lead what loads it astray."""
    try:
        data = model_bytes(named_arrays(model_of(message, briefing)))
    except EncodingError as error:
        raise TermsError(f"the model in the server's message cannot be read: {error}") from error
    rule = byte_rule(briefing.terms.rules)
    if data and rule is not None and (why := rule.objection(data)):
        raise TermsError(f"the model in the server's message is not what {rule.name} makes: {why}")
    del message.content[RECORD]
    return name_of(data)


def commit_bytes(
    content: RecordDict, terms: RoundTerms, names: MetricNames, private_key: str, member: str
) -> SignedUpdate:
    """Sign the name of the bytes in an app's reply, and put it beside them. Raises CommitmentError if the reply holds
    something else."""
    key, arrays = only_arrays(content)
    try:
        data = model_bytes(named_arrays(arrays))
    except EncodingError as error:
        raise CommitmentError(f"the app's reply cannot be signed: {error}") from error
    signed = commit(name_of(data), terms, attestation(content, names), private_key, member)
    write_reply(content, signed, arrays_key=key)
    record = content.array_records[key]
    record[PAYLOAD] = Array(np.frombuffer(data, np.uint8))
    return signed


def bytes_signed(
    message: Message,
    briefing: Briefing,
    context: Context,
    call_next: ClientAppCallable,
    key: KeyProvider,
    names: MetricNames | None,
) -> Message:
    """The mod's answer to a train message of a federation whose models are bytes. Raises as the mod."""
    terms, base = briefing.terms, receive_bytes(message, briefing)
    check_terms(terms, base, context, sealed=False)
    private_key = key(context)
    member = member_from_node_config(context, private_key)
    reply = call_next(message, context)
    if not reply.has_error():
        said = names or MetricNames(examples=briefing.weighted_by)
        commit_bytes(reply.content, terms, said, private_key, member)
    return reply
