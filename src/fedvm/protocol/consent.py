"""The EIP-712 message by which a member, or its key, lets others submit an update directly.

Its EIP-712 type differs from an update's: who has a member's signed update, as every coordinator has, cannot make this
one from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi.abi import encode

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import to_address
from fedvm.protocol.checks import check_bytes, check_uint
from fedvm.protocol.typed_data import Domain, Update, sign_struct

DIRECT_TYPE = "Direct(address member,uint64 round,bytes32 update)"


@dataclass(frozen=True)
class DirectConsent:
    """That an update may be submitted in the name of `member` (hex address), by whoever pays.

    update: the update's hashStruct, 32 bytes. So the consent is to this update, round and member, in the federation
    and on the chain of the domain it is signed in. Construction raises EncodingError if a field is malformed.
    """

    member: str
    round: int
    update: bytes

    def __post_init__(self) -> None:
        to_address(self.member, "member")
        check_uint("round", self.round, 64)
        check_bytes("update", self.update, 32)

    @classmethod
    def to(cls, update: Update, member: str) -> DirectConsent:
        """The consent to submit this update of a member (hex address)."""
        return cls(member, update.round, update.struct_hash())

    def struct_hash(self) -> bytes:
        """hashStruct(Direct), 32 bytes."""
        types = ["bytes32", "address", "uint64", "bytes32"]
        return keccak(encode(types, [keccak(DIRECT_TYPE.encode()), self.member, self.round, self.update]))

    def sign(self, domain: Domain, private_key: bytes | str) -> bytes:
        """65 bytes r ‖ s ‖ v, by the member's own key or the one that signs for it in the round."""
        return sign_struct(self.struct_hash(), domain, private_key)
