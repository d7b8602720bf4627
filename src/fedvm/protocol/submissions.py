"""What a member sends: its signed statement about an update. The chain learns nothing more about the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedvm.protocol.address import Address
from fedvm.protocol.checks import check_bytes
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.typed_data import MAX_CID_BYTES, Update

SUBMISSION = b"\x0e"
SIGNATURE_BYTES = 65
# Bytes of the fields of `Update` in their order; the CID takes the rest.
_WIDTHS = (8, 32, 32, 32, 16, 8, 1, 4, 4, 8, 4, 8, 8)
HEAD_BYTES = len(SUBMISSION) + SIGNATURE_BYTES + sum(_WIDTHS)


@dataclass(frozen=True)
class Submission:
    """A signed update without its vector: the member, what was signed, r ‖ s ‖ v of 65 bytes."""

    member: Address
    update: Update
    signature: bytes

    def as_tuple(self) -> tuple[Any, ...]:
        """The fields in the order of the contract's struct, as web3 takes a struct."""
        return self.member, self.update.as_tuple(), self.signature

    @property
    def encoded_bytes(self) -> int:
        """Number of bytes that it adds to the calldata of ``submit``: its offset and its body, by Solidity's ABI."""
        offset, member, tails, lengths = 1, 1, 2, 2
        fields = len(self.update.as_tuple())
        contents = sum(-(-len(data) // 32) for data in (self.update.cid, self.signature))
        return 32 * (offset + member + tails + fields + lengths + contents)

    def to_bytes(self) -> bytes:
        """The unambiguous encoding in a roll-up: 0x0e ‖ signature:65 ‖ the update's
        fields, integers big-endian in their width, the CID last. The member is in the record.

        Raises:
            EncodingError: the signature does not hold 65 bytes.
        """
        *fields, cid = self.update.as_tuple()
        words = [
            field if isinstance(field, bytes) else int(field).to_bytes(width)
            for field, width in zip(fields, _WIDTHS, strict=True)
        ]
        signature = check_bytes("signature", self.signature, SIGNATURE_BYTES)
        return SUBMISSION + signature + b"".join(words) + bytes(cid)

    @classmethod
    def parse(cls, member: Address, preimage: bytes) -> Submission:
        """The submission of a member whose bytes these are.

        Raises:
            EncodingError: not the bytes of a submission.
        """
        if not is_submission(preimage):
            raise EncodingError(
                f"0x{preimage[:8].hex()}… of {len(preimage)} bytes is no submission of a roll-up"
            )
        at = len(SUBMISSION) + SIGNATURE_BYTES
        fields: list[Any] = []
        for width in _WIDTHS:
            word = preimage[at : at + width]
            fields.append(word if width == 32 else int.from_bytes(word))
            at += width
        fields.append(preimage[at:])
        signature = preimage[len(SUBMISSION) : len(SUBMISSION) + SIGNATURE_BYTES]
        return Submission(member, Update(*fields), signature)


def is_submission(preimage: bytes) -> bool:
    """Whether these are the bytes of some submission: the contract's ``SubmissionCode.isWellFormed``."""
    return preimage[:1] == SUBMISSION and HEAD_BYTES < len(preimage) <= HEAD_BYTES + MAX_CID_BYTES
