"""The EIP-712 messages by which a member, or its key, lets others submit an update directly, and by which a key says
whose it is.

Each has a type of its own: who has a member's signed update, as every coordinator has, cannot make one of these
from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi.abi import encode

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import to_address
from fedvm.protocol.checks import check_bytes, check_uint
from fedvm.protocol.typed_data import Domain, Update, recover_struct_signer, sign_struct

DIRECT_TYPE = "Direct(address member,uint64 round,bytes32 update)"
KEY_TYPE = "SigningKey(address member,uint64 nonce)"


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


@dataclass(frozen=True)
class KeyProof:
    """That the key which signs this is to sign for `member` (hex address), in the federation of the domain.

    nonce: `RuleBook.keyNonce` of the key, so that a proof serves once. Construction raises EncodingError if a field is
    malformed.
    """

    member: str
    nonce: int

    def __post_init__(self) -> None:
        to_address(self.member, "member")
        check_uint("nonce", self.nonce, 64)

    def struct_hash(self) -> bytes:
        """hashStruct(SigningKey), 32 bytes."""
        return keccak(
            encode(["bytes32", "address", "uint64"], [keccak(KEY_TYPE.encode()), self.member, self.nonce])
        )

    def sign(self, domain: Domain, private_key: bytes | str) -> bytes:
        """65 bytes r ‖ s ‖ v by the key itself."""
        return sign_struct(self.struct_hash(), domain, private_key)

    def signer(self, domain: Domain, signature: bytes) -> str:
        """Checksummed address of the key that signed. Raises SignatureError for a malformed signature."""
        return recover_struct_signer(self.struct_hash(), domain, signature)
