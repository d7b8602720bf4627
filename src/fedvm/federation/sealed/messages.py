"""The messages of a sealed federation, as Flower ConfigRecords.

Enrolment, keys, edges and shares travel in train messages, as the question who a member is does
(`fedvm.federation.identity`): the mod answers them, and the app never sees them. A round's own train message is an
ordinary one that names the epoch (`SEALED_ROUND`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from flwr.app import ConfigRecord, ConfigRecordValues, RecordDict

from fedvm.federation.errors import CommitmentError, TermsError
from fedvm.federation.terms import SEALED_STEP
from fedvm.jsontext import parse_json
from fedvm.protocol import Domain, EncodingError, Rules
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.sealed.epoch import Draw, read_draw
from fedvm.protocol.sealed.records import SealedSubmission
from fedvm.protocol.sealed.rules import SealedRules

REPLY = "fedvm.masked"
"""Key of the record in a train reply that holds the signed statement about a masked update."""


@dataclass(frozen=True)
class EnrolRequest:
    """Asks for a member's keys of an epoch. deadline: Unix seconds, of the signature."""

    KIND = "enrol"

    domain: Domain
    epoch: int
    rules: Rules
    sealed: SealedRules
    deadline: int

    def to_record(self) -> ConfigRecord:
        """As a record of the kind `SEALED_STEP`."""
        return _record(
            self.KIND,
            self.domain,
            epoch=self.epoch,
            rules=_json(asdict(self.rules)),
            sealed=_json(asdict(self.sealed)),
            deadline=self.deadline,
        )

    @classmethod
    def from_record(cls, record: ConfigRecord) -> EnrolRequest:
        """Inverse of `to_record`. Raises TermsError if the record cannot be read."""
        with _Reading():
            return cls(
                _domain(record),
                _int(record, "epoch"),
                rules_from_json(str(record["rules"])),
                SealedRules(**parse_json(str(record["sealed"]))),
                _int(record, "deadline"),
            )


@dataclass(frozen=True)
class EnrolReply:
    """A member's public keys and its signature over them (`Enrol`). mlkem: raw, 1,184 bytes."""

    member: Address
    x25519: bytes
    mlkem: bytes
    signature: bytes

    def to_record(self) -> ConfigRecord:
        """As a record of the kind `SEALED_STEP`."""
        return ConfigRecord(
            {
                "member": self.member,
                "x25519": self.x25519,
                "mlkem": self.mlkem,
                "signature": self.signature,
            }
        )

    @classmethod
    def from_record(cls, record: ConfigRecord) -> EnrolReply:
        """Inverse of `to_record`. Raises CommitmentError if the record cannot be read."""
        with _Replying():
            return cls(
                to_address(str(record["member"]), "member"),
                _bytes(record, "x25519"),
                _bytes(record, "mlkem"),
                _bytes(record, "signature"),
            )


@dataclass(frozen=True)
class KeysRequest:
    """Tells a member the draw of its epoch, and asks for its ciphertexts to those above it in its group.

    mlkem: raw ML-KEM-768 keys of the members above it.
    """

    KIND = "keys"

    draw: Draw
    mlkem: Mapping[Address, bytes]

    def to_record(self) -> ConfigRecord:
        """As a record of the kind `SEALED_STEP`."""
        draw = self.draw
        return _record(
            self.KIND,
            draw.domain,
            epoch=draw.number,
            group_size=draw.group_size,
            roster=draw.roster_bytes,
            seed=draw.seed,
            mates=[str(member) for member in self.mlkem],
            keys=list(self.mlkem.values()),
        )

    @classmethod
    def from_record(cls, record: ConfigRecord) -> KeysRequest:
        """Inverse of `to_record`. Raises TermsError if the record cannot be read."""
        with _Reading():
            draw = read_draw(
                _domain(record),
                _int(record, "epoch"),
                _int(record, "group_size"),
                _bytes(record, "roster"),
                _bytes(record, "seed"),
            )
            return cls(draw, _by_member(record, "mates", "keys"))


@dataclass(frozen=True)
class KeysReply:
    """A member's ciphertexts, and its signature that they are under their CID (`Ready`)."""

    file: bytes
    signature: bytes

    def to_record(self) -> ConfigRecord:
        """As a record of the kind `SEALED_STEP`."""
        return ConfigRecord({"file": self.file, "signature": self.signature})

    @classmethod
    def from_record(cls, record: ConfigRecord) -> KeysReply:
        """Inverse of `to_record`. Raises CommitmentError if the record cannot be read."""
        with _Replying():
            return cls(_bytes(record, "file"), _bytes(record, "signature"))


@dataclass(frozen=True)
class EdgesRequest:
    """Tells a member who is ready, and what those below it in its group sent it.

    signatures: over the CIDs of their files (`Ready`); of a member that stated it on chain itself there is none.
    """

    KIND = "edges"

    domain: Domain
    epoch: int
    first_round: int
    ready: bytes
    files: Mapping[Address, bytes]
    signatures: Mapping[Address, bytes]

    def to_record(self) -> ConfigRecord:
        """As a record of the kind `SEALED_STEP`."""
        return _record(
            self.KIND,
            self.domain,
            epoch=self.epoch,
            first_round=self.first_round,
            ready=self.ready,
            mates=[str(member) for member in self.files],
            files=list(self.files.values()),
            signers=[str(member) for member in self.signatures],
            signatures=list(self.signatures.values()),
        )

    @classmethod
    def from_record(cls, record: ConfigRecord) -> EdgesRequest:
        """Inverse of `to_record`. Raises TermsError if the record cannot be read."""
        with _Reading():
            return cls(
                _domain(record),
                _int(record, "epoch"),
                _int(record, "first_round"),
                _bytes(record, "ready"),
                _by_member(record, "mates", "files"),
                _by_member(record, "signers", "signatures"),
            )


@dataclass(frozen=True)
class SharesRequest:
    """Tells a ready member whose updates are included, and asks for its shares of what opens its group's sum.

    base_root: of the round's base, 32 bytes. included: bitmap over places. parts: what included members of its group
    left for it in their deposits.
    """

    KIND = "shares"

    domain: Domain
    epoch: int
    round: int
    base_root: bytes
    included: bytes
    parts: Mapping[Address, bytes]

    def to_record(self) -> ConfigRecord:
        """As a record of the kind `SEALED_STEP`."""
        return _record(
            self.KIND,
            self.domain,
            epoch=self.epoch,
            round=self.round,
            base_root=self.base_root,
            included=self.included,
            mates=[str(member) for member in self.parts],
            parts=list(self.parts.values()),
        )

    @classmethod
    def from_record(cls, record: ConfigRecord) -> SharesRequest:
        """Inverse of `to_record`. Raises TermsError if the record cannot be read."""
        with _Reading():
            return cls(
                _domain(record),
                _int(record, "epoch"),
                _int(record, "round"),
                _bytes(record, "base_root"),
                _bytes(record, "included"),
                _by_member(record, "mates", "parts"),
            )


@dataclass(frozen=True)
class SharesReply:
    """A member's shares, joined, and its signature over them (`Shares`)."""

    shares: bytes
    signature: bytes

    def to_record(self) -> ConfigRecord:
        """As a record of the kind `SEALED_STEP`."""
        return ConfigRecord({"shares": self.shares, "signature": self.signature})

    @classmethod
    def from_record(cls, record: ConfigRecord) -> SharesReply:
        """Inverse of `to_record`. Raises CommitmentError if the record cannot be read."""
        with _Replying():
            return cls(_bytes(record, "shares"), _bytes(record, "signature"))


@dataclass(frozen=True)
class MaskedReply:
    """A masked update as its member sent it: the signed statement, and the bytes of its file."""

    submission: SealedSubmission
    file: bytes

    def to_record(self) -> ConfigRecord:
        """As a record of the kind `REPLY`."""
        return ConfigRecord({"submission": self.submission.to_bytes(), "file": self.file})

    @classmethod
    def from_content(cls, content: RecordDict) -> MaskedReply:
        """The masked update of a train reply. Raises CommitmentError if the reply has none, or it cannot be read."""
        record = content.config_records.get(REPLY)
        if record is None:
            raise CommitmentError(
                "the reply holds no masked update; add fedvm_mod to the ClientApp: ClientApp(mods=[fedvm_mod])"
            )
        with _Replying():
            return cls(SealedSubmission.parse(_bytes(record, "submission")), _bytes(record, "file"))


def step_content(request: EnrolRequest | KeysRequest | EdgesRequest | SharesRequest) -> RecordDict:
    """The content of the message that asks for a step."""
    return RecordDict({SEALED_STEP: request.to_record()})


def step_reply(content: RecordDict) -> ConfigRecord:
    """The record of an answer. Raises CommitmentError if there is none."""
    record = content.config_records.get(SEALED_STEP)
    if record is None:
        raise CommitmentError(
            "it does not answer for a sealed federation; add fedvm_mod: ClientApp(mods=[fedvm_mod])"
        )
    return record


def domain_of(record: ConfigRecord) -> Domain:
    """The federation that a step is asked for in. Raises TermsError if the record does not say."""
    with _Reading():
        return _domain(record)


def round_record(epoch: int) -> ConfigRecord:
    """The record of a train message whose update is to be sealed in an epoch."""
    return ConfigRecord({"epoch": epoch})


def rules_from_json(text: str) -> Rules:
    """Rules as messages hold them. Raises KeyError, TypeError, ValueError or EncodingError if they are malformed."""
    fields = parse_json(text)
    return Rules(**{**fields, "aggregator": bytes.fromhex(fields["aggregator"])})


def _record(kind: str, domain: Domain, **fields: ConfigRecordValues) -> ConfigRecord:
    head: dict[str, ConfigRecordValues] = {
        "step": kind,
        "chain-id": str(domain.chain_id),
        "federation": domain.federation,
    }
    return ConfigRecord(head | fields)


def _json(fields: dict[str, object]) -> str:
    return json.dumps(fields, default=bytes.hex)


def _domain(record: ConfigRecord) -> Domain:
    return Domain(int(str(record["chain-id"])), to_address(str(record["federation"]), "federation"))


def _int(record: ConfigRecord, name: str) -> int:
    value = record[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, not an integer")
    return value


def _bytes(record: ConfigRecord, name: str) -> bytes:
    value = record[name]
    if not isinstance(value, bytes):
        raise ValueError(f"{name} is {type(value).__name__}, not bytes")
    return value


def _by_member(record: ConfigRecord, members: str, values: str) -> dict[Address, bytes]:
    # An empty list has no type in Flower's records, and comes back as such.
    names, found = list(record[members]), list(record[values])  # type: ignore[arg-type]
    if len(names) != len(found) or not all(isinstance(one, bytes) for one in found):
        raise ValueError(f"{values} do not fit {members}")
    return {to_address(str(name), "member"): one for name, one in zip(names, found, strict=True)}  # type: ignore[misc]


class _Raising:
    """Turns what reading a malformed record raises into one error."""

    error: type[TermsError] | type[CommitmentError]
    what: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | EncodingError):
            raise self.error(f"{self.what} cannot be read: {error}") from error


class _Reading(_Raising):
    error, what = TermsError, "the server's message about a sealed epoch"


class _Replying(_Raising):
    error, what = CommitmentError, "the member's answer about a sealed epoch"
