"""The question "which member are you?" to a Flower node, and the signed answer.

It travels in a train message: that is the one function every federated app has, and Flower runs a ClientApp's
mods only around functions the app has registered. `fedvm_mod` answers before the app sees the message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flwr.app import ConfigRecord, RecordDict

from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.keys import QUESTION, account_of
from fedvm.protocol import Domain, EncodingError, SignatureError
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.node_proof import recover_node_signer, sign_node
from fedvm.protocol.verdict import no_key, signs_for

ANSWER = "fedvm.member"


@dataclass(frozen=True)
class Question:
    """Which federation asks, and a nonce of 32 bytes drawn for this question. may_draw: whether a client without a key
    may draw one for the run, since the federation takes in whoever is there (`coordinator.in_place`)."""

    domain: Domain
    nonce: bytes
    may_draw: bool = False

    def content(self) -> RecordDict:
        """The content of the message that asks."""
        fields = {
            "chain-id": str(self.domain.chain_id),
            "federation": self.domain.federation,
            "nonce": self.nonce,
            "may-draw": self.may_draw,
        }
        return RecordDict({QUESTION: ConfigRecord(fields)})  # type: ignore[arg-type]

    @classmethod
    def from_record(cls, record: ConfigRecord) -> Question:
        """Inverse of `content`. Raises TermsError if the record cannot be read."""
        nonce = record.get("nonce")
        try:
            domain = Domain(int(str(record["chain-id"])), to_address(str(record["federation"]), "federation"))
        except (KeyError, ValueError, EncodingError) as error:
            raise TermsError(f"the server's question cannot be read: {error}") from error
        if not isinstance(nonce, bytes) or len(nonce) != 32:
            raise TermsError("the server's question holds no nonce of 32 bytes")
        return cls(domain, nonce, record.get("may-draw") is True)


def answer(question: Question, node_id: int, private_key: str, member: str | None = None) -> RecordDict:
    """What a client replies: the member that it signs for (hex address; that of the key unless given), and its
    signature over federation, node and nonce."""
    member = member or str(account_of(private_key).address)
    signature = sign_node(node_id, question.nonce, question.domain, private_key)
    return RecordDict({ANSWER: ConfigRecord({"member": member, "signature": signature})})


def read_answer(
    question: Question, node_id: int, content: RecordDict, key_of: Callable[[str], str] = no_key
) -> Address:
    """The address of the member whose key a node has proved to hold.

    key_of: from a member to the key that it appointed, "" if none. Raises CommitmentError if the
    reply proves nothing.
    """
    record = content.config_records.get(ANSWER)
    if record is None:
        raise CommitmentError("it does not say who it is; add fedvm_mod: ClientApp(mods=[fedvm_mod])")
    signature = record.get("signature")
    if not isinstance(signature, bytes):
        raise CommitmentError("it sent no signature")
    try:
        signer = recover_node_signer(node_id, question.nonce, question.domain, signature)
    except SignatureError as error:
        raise CommitmentError(f"its signature is malformed: {error}") from error
    stated = str(record.get("member"))
    try:
        member = to_address(stated)
    except EncodingError as error:
        raise CommitmentError(f"it says it is {stated}, which is no address") from error
    if not signs_for(signer, member, key_of):
        raise CommitmentError(
            f"it says it is {member} but another key signed ({signer}), which this member has not appointed"
        )
    return member
