"""The running hash over what became of the updates that members submitted themselves in a round."""

from __future__ import annotations

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address
from fedvm.protocol.checks import address_bytes, check_bytes, check_uint
from fedvm.protocol.submissions import Submission

EMPTY_JOURNAL = bytes(32)
"""Before the first update of a round."""


def journal_after(before: bytes, state: int, member: Address, submission: Submission) -> bytes:
    """keccak(before ‖ state:u8 ‖ member:20 ‖ keccak(submission):32), 32 bytes. state: what the update is from now on, a
    number of the contract's `DirectState`.

    Raises EncodingError if the hash before has not 32 bytes, or a field does not fit.
    """
    check_bytes("before", before, 32)
    check_uint("state", state, 8)
    entry = state.to_bytes(1) + address_bytes("member", member) + keccak(submission.to_bytes())
    return keccak(before + entry)
