"""A signed update as a roll-up keeps it: one string of bytes, from which nothing is left to interpretation."""

from __future__ import annotations

from typing import Any

from fedvm.protocol.checks import check_bytes
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.typed_data import MAX_CID_BYTES, Update

SUBMISSION = b"\x0e"
SIGNATURE_BYTES = 65
# Bytes of the fields of `Update` in their order; the CID takes the rest.
_WIDTHS = (8, 32, 32, 32, 16, 8, 1, 4, 4, 8, 4, 8, 8)
HEAD_BYTES = len(SUBMISSION) + SIGNATURE_BYTES + sum(_WIDTHS)


def submission_bytes(update: Update, signature: bytes) -> bytes:
    """0x0e ‖ signature:65 ‖ the update's fields, integers big-endian in their width, the CID last.

    Raises:
        EncodingError: the signature does not hold 65 bytes.
    """
    *fields, cid = update.as_tuple()
    words = [
        field if isinstance(field, bytes) else int(field).to_bytes(width)
        for field, width in zip(fields, _WIDTHS, strict=True)
    ]
    return SUBMISSION + check_bytes("signature", signature, SIGNATURE_BYTES) + b"".join(words) + bytes(cid)


def is_submission(preimage: bytes) -> bool:
    """Whether these are the bytes of some submission: the contract's ``SubmissionCode.isWellFormed``."""
    return preimage[:1] == SUBMISSION and HEAD_BYTES < len(preimage) <= HEAD_BYTES + MAX_CID_BYTES


def parse_submission(preimage: bytes) -> tuple[Update, bytes]:
    """The update and its signature (65 bytes).

    Raises:
        EncodingError: not the bytes of a submission.
    """
    if not is_submission(preimage):
        raise EncodingError(f"0x{preimage[:8].hex()}… of {len(preimage)} bytes is no submission of a roll-up")
    at = len(SUBMISSION) + SIGNATURE_BYTES
    fields: list[Any] = []
    for width in _WIDTHS:
        word = preimage[at : at + width]
        fields.append(word if width == 32 else int.from_bytes(word))
        at += width
    fields.append(preimage[at:])
    return Update(*fields), preimage[len(SUBMISSION) : len(SUBMISSION) + SIGNATURE_BYTES]
