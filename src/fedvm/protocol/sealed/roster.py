"""The roster of an epoch: who enrolled, with which keys, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.checks import address_bytes, check_bytes
from fedvm.protocol.commitments import CommitmentTree, mountain_range
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.sealed.bounds import LARGEST_ROSTER

ROSTER_LEAF = b"\x30"
_BYTES = 84


@dataclass(frozen=True)
class Enrolment:
    """A member (hex address) of the roster. x25519: its raw public key. mlkem: keccak of its raw ML-KEM-768 key.

    Raises:
        EncodingError: a field is malformed.
    """

    member: Address
    x25519: bytes
    mlkem: bytes

    def __post_init__(self) -> None:
        object.__setattr__(self, "member", to_address(self.member, "member"))
        check_bytes("x25519", self.x25519, 32)
        check_bytes("mlkem", self.mlkem, 32)

    def preimage(self) -> bytes:
        """0x30 ‖ member:20 ‖ x25519:32 ‖ mlkem:32, 85 bytes."""
        return ROSTER_LEAF + address_bytes("member", self.member) + self.x25519 + self.mlkem

    def leaf(self) -> bytes:
        """Hash of the leaf, 32 bytes."""
        return keccak(self.preimage())


def enrolments(packed: bytes) -> tuple[Enrolment, ...]:
    """A roster from its enrolments of 84 bytes each: the preimages of their leaves without the kind.

    Raises:
        EncodingError: another length.
    """
    if len(packed) % _BYTES:
        raise EncodingError(f"a roster has {_BYTES} bytes for each member, and this one {len(packed)} bytes")
    entries = (packed[at : at + _BYTES] for at in range(0, len(packed), _BYTES))
    return tuple(
        Enrolment(to_address("0x" + one[:20].hex(), "member"), one[20:52], one[52:]) for one in entries
    )


def roster_range(roster: Sequence[Enrolment]) -> CommitmentTree:
    """The mountain range over a roster in its order; its digest is the ``rosterRoot``.

    Raises:
        EncodingError: it is empty or too long, or a member comes twice.
    """
    if not 1 <= len(roster) <= LARGEST_ROSTER:
        raise EncodingError(f"a roster has 1 to {LARGEST_ROSTER} members, not {len(roster)}")
    seen: set[str] = set()
    for enrolment in roster:
        if enrolment.member in seen:
            raise EncodingError(
                f"member {enrolment.member} comes twice in the roster; each enrols once an epoch"
            )
        seen.add(enrolment.member)
    return mountain_range([enrolment.leaf() for enrolment in roster])
