"""What the chain and the published file hold of a sealed round: submissions, their records, the revealed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.checks import address_bytes, check_bytes, check_uint
from fedvm.protocol.commitments import CommitmentTree, mountain_range
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.sealed.masks import SEED_BYTES
from fedvm.protocol.sealed.typed_data import Masked
from fedvm.protocol.submissions import SIGNATURE_BYTES
from fedvm.protocol.typed_data import MAX_CID_BYTES

RECORD, SUBMISSION = b"\x3a", b"\x3b"
RECORD_BYTES = 41
# Bytes of the fields of `Masked` in their order; the CID takes the rest.
_WIDTHS = (8, 32, 32, 32, 32, 32, 4, 4, 8, 4, 8, 8)
HEAD_BYTES = 1 + SIGNATURE_BYTES + 20 + sum(_WIDTHS)


@dataclass(frozen=True)
class SealedSubmission:
    """A signed masked update without its vector. signature: r ‖ s ‖ v, 65 bytes, by the member or its appointed key."""

    member: Address
    masked: Masked
    signature: bytes

    def to_bytes(self) -> bytes:
        """0x3b ‖ signature:65 ‖ member:20 ‖ the fields, integers big-endian in their width, the CID last.

        Raises:
            EncodingError: the signature does not hold 65 bytes, or the member is no address.
        """
        *values, cid = self.masked.as_tuple()
        words = [
            value if isinstance(value, bytes) else value.to_bytes(width)
            for value, width in zip(values, _WIDTHS, strict=True)
        ]
        signature = check_bytes("signature", self.signature, SIGNATURE_BYTES)
        return SUBMISSION + signature + address_bytes("member", self.member) + b"".join(words) + bytes(cid)

    def digest(self) -> bytes:
        """keccak of its bytes, 32 bytes."""
        return keccak(self.to_bytes())

    @classmethod
    def parse(cls, data: bytes) -> SealedSubmission:
        """Inverse of :meth:`to_bytes`. Raises EncodingError for any other bytes."""
        if data[:1] != SUBMISSION or not HEAD_BYTES < len(data) <= HEAD_BYTES + MAX_CID_BYTES:
            raise EncodingError(
                f"0x{data[:8].hex()}… of {len(data)} bytes is no submission of a sealed round"
            )
        at = 1 + SIGNATURE_BYTES
        member = to_address("0x" + data[at : at + 20].hex(), "member")
        at += 20
        values: list[Any] = []
        for width in _WIDTHS:
            word = data[at : at + width]
            values.append(word if width == 32 else int.from_bytes(word))
            at += width
        values.append(data[at:])
        return cls(member, Masked(*values), data[1 : 1 + SIGNATURE_BYTES])


@dataclass(frozen=True)
class SealedRecord:
    """What the range of a round holds of an update that counts. submission: hash of the submission, 32 bytes.

    Raises:
        EncodingError: a field is malformed or, as RangeError, does not fit its width.
    """

    place: int
    weight: int
    submission: bytes

    def __post_init__(self) -> None:
        for name in ("place", "weight"):
            object.__setattr__(self, name, check_uint(name, getattr(self, name), 32))
        check_bytes("submission", self.submission, 32)

    def as_tuple(self) -> tuple[int, int, bytes]:
        """The fields in the struct's order, as web3 takes a struct."""
        return astuple(self)

    def preimage(self) -> bytes:
        """0x3a ‖ place:u32 ‖ weight:u32 ‖ submission:32, 41 bytes."""
        return RECORD + self.place.to_bytes(4) + self.weight.to_bytes(4) + self.submission

    def digest(self) -> bytes:
        """Hash of the leaf, 32 bytes."""
        return keccak(self.preimage())

    @classmethod
    def parse(cls, preimage: bytes) -> SealedRecord:
        """The record with this leaf's preimage. Raises EncodingError for any other bytes."""
        if len(preimage) != RECORD_BYTES or preimage[:1] != RECORD:
            raise EncodingError(
                f"{len(preimage)} bytes beginning with 0x{preimage[:1].hex()} are no sealed record"
            )
        return cls(int.from_bytes(preimage[1:5]), int.from_bytes(preimage[5:9]), preimage[9:])


def record_range(records: Sequence[SealedRecord]) -> CommitmentTree:
    """The mountain range over the records of a round.

    Raises:
        EncodingError: they are not in ascending order of place, one of each.
    """
    for before, record in pairwise(records):
        if record.place <= before.place:
            raise EncodingError(
                f"the record of place {record.place} stands behind that of place {before.place}"
            )
    return mountain_range([record.digest() for record in records])


@dataclass(frozen=True)
class SealedFile:
    """The file published of a round: for each record its submission, in order of place; then the revealed seeds, by
    counting group in the order of ``GroupClose.wanted``, 32 bytes each. With the vectors all can be recomputed."""

    records: tuple[SealedRecord, ...]
    submissions: tuple[bytes, ...]
    seeds: tuple[bytes, ...]

    @cached_property
    def range(self) -> CommitmentTree:
        """The mountain range over the records."""
        return record_range(self.records)

    @cached_property
    def parsed(self) -> tuple[SealedSubmission, ...]:
        """The submissions. Raises EncodingError if one is malformed."""
        return tuple(map(SealedSubmission.parse, self.submissions))

    @property
    def total_weight(self) -> int:
        """Sum of the weights."""
        return sum(record.weight for record in self.records)

    def to_bytes(self) -> bytes:
        """records:u32 ‖ for each its 41 bytes, its submission's length as u16, the submission ‖ the seeds."""
        parts = zip(self.records, self.submissions, strict=True)
        entries = (record.preimage() + len(data).to_bytes(2) + data for record, data in parts)
        return len(self.records).to_bytes(4) + b"".join(entries) + b"".join(self.seeds)

    @classmethod
    def parse(cls, data: bytes) -> SealedFile:
        """Inverse of :meth:`to_bytes`. Raises EncodingError if the file is truncated or malformed."""
        records, submissions = [], []
        at = 4
        for _ in range(int.from_bytes(data[:4])):
            begin = at + RECORD_BYTES + 2
            end = begin + int.from_bytes(data[begin - 2 : begin])
            if end > len(data) or begin > len(data):
                raise EncodingError(
                    f"the round's file is cut: {len(data)} bytes do not hold the records it announces"
                )
            records.append(SealedRecord.parse(data[at : begin - 2]))
            submissions.append(data[begin:end])
            at = end
        if at > len(data) or (len(data) - at) % SEED_BYTES:
            raise EncodingError(
                f"the round's file ends with {len(data) - at} bytes, which is no whole number of seeds"
            )
        seeds = tuple(data[at : at + SEED_BYTES] for at in range(at, len(data), SEED_BYTES))
        return cls(tuple(records), tuple(submissions), seeds)
