"""The EIP-712 message by which a member signs an update, to the byte as the contract hashes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import SignableMessage
from hexbytes import HexBytes

from fedvm.evm.keccak import keccak
from fedvm.protocol.address import to_address
from fedvm.protocol.checks import address_bytes, check_bytes, check_uint
from fedvm.protocol.errors import EncodingError, SignatureError
from fedvm.protocol.place import Place

DOMAIN_NAME = "FedVM"
DOMAIN_VERSION = "1"
DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
UPDATE_TYPE = (
    "Update(uint64 round,bytes32 rulesHash,bytes32 baseRoot,bytes32 updateRoot,uint128 sumSquares,"
    "uint64 elements,uint8 fractionBits,uint32 examples,uint32 accuracyPpm,uint64 lossMicros,"
    "uint32 labels,uint64 epsilonMicros,uint64 deadline,bytes cid)"
)
NOT_ATTESTED_LOSS = 2**64 - 1
"""What is signed for a loss that the app does not measure: the largest that the field holds."""
MAX_CID_BYTES = 64  # ContentId.MAX_BYTES of the contracts

# secp256k1's group order; an s above its half is the malleable twin of a signature (EIP-2).
_HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2


@dataclass(frozen=True)
class Domain:
    """EIP-712 domain: the chain and the federation contract (hex address) for which a signature is valid."""

    chain_id: int
    federation: str

    def place(self, round_: int, member: str) -> Place:
        """The place of a member's (hex address) update in a round of this federation."""
        return Place(self.chain_id, self.federation, round_, member)

    def separator(self) -> bytes:
        """hashStruct(EIP712Domain), 32 bytes. Raises EncodingError if a field is malformed."""
        return _separator(self)


@lru_cache(maxsize=16)
def _separator(domain: Domain) -> bytes:
    # Cached: every signature of a federation needs the same one.
    values = (
        keccak(DOMAIN_TYPE.encode()),
        keccak(DOMAIN_NAME.encode()),
        keccak(DOMAIN_VERSION.encode()),
        check_uint("chain_id", domain.chain_id, 256),
        address_bytes("federation", domain.federation),
    )
    return keccak(encode(["bytes32", "bytes32", "bytes32", "uint256", "address"], values))


@dataclass(frozen=True)
class Update:
    """What a member attests about its update; the fields and order of the contract's ``Update`` struct.

    Hashes are 32 bytes, ``cid`` is a binary CIDv1, ``accuracy_ppm`` in parts per million, ``loss_micros`` in
    millionths, ``labels`` the distinct labels among the training examples, ``epsilon_micros`` the ε of differential
    privacy spent so far in millionths (0: none claimed), ``deadline`` in Unix seconds. Construction checks every range.

    Raises:
        EncodingError: a field is malformed or, as RangeError, does not fit its width.
    """

    round: int
    rules_hash: bytes
    base_root: bytes
    update_root: bytes
    sum_squares: int
    elements: int
    fraction_bits: int
    examples: int
    accuracy_ppm: int
    loss_micros: int
    labels: int
    epsilon_micros: int
    deadline: int
    cid: bytes

    def __post_init__(self) -> None:
        check_uint("round", self.round, 64)
        check_bytes("rules_hash", self.rules_hash, 32)
        check_bytes("base_root", self.base_root, 32)
        check_bytes("update_root", self.update_root, 32)
        check_uint("sum_squares", self.sum_squares, 128)
        check_uint("elements", self.elements, 64)
        check_uint("fraction_bits", self.fraction_bits, 8)
        check_uint("examples", self.examples, 32)
        check_uint("accuracy_ppm", self.accuracy_ppm, 32)
        check_uint("loss_micros", self.loss_micros, 64)
        check_uint("labels", self.labels, 32)
        check_uint("epsilon_micros", self.epsilon_micros, 64)
        check_uint("deadline", self.deadline, 64)
        if not isinstance(self.cid, bytes) or not 0 < len(self.cid) <= MAX_CID_BYTES:
            raise EncodingError(f"cid must be a binary CIDv1 of 1 to {MAX_CID_BYTES} bytes, not {self.cid!r}")

    def as_tuple(self) -> tuple[int | bytes, ...]:
        """The fields in the struct's order, as web3 takes a struct."""
        return (
            self.round,
            self.rules_hash,
            self.base_root,
            self.update_root,
            self.sum_squares,
            self.elements,
            self.fraction_bits,
            self.examples,
            self.accuracy_ppm,
            self.loss_micros,
            self.labels,
            self.epsilon_micros,
            self.deadline,
            self.cid,
        )

    def struct_hash(self) -> bytes:
        """hashStruct(Update), 32 bytes: the dynamic ``cid`` enters as its hash (EIP-712, encodeData)."""
        types = ["bytes32", "uint64", "bytes32", "bytes32", "bytes32", "uint128", "uint64", "uint8"]
        types += ["uint32", "uint32", "uint64", "uint32", "uint64", "uint64", "bytes32"]
        values = (keccak(UPDATE_TYPE.encode()), *self.as_tuple()[:-1], keccak(self.cid))
        return keccak(encode(types, values))


def update_digest(update: Update, domain: Domain) -> bytes:
    """The 32 bytes that are signed: keccak(0x19 0x01 ‖ domain separator ‖ struct hash), per EIP-712."""
    return keccak(b"\x19\x01" + domain.separator() + update.struct_hash())


def sign_update(update: Update, domain: Domain, private_key: bytes | str) -> bytes:
    """Sign with a secp256k1 key (32 bytes or hex).

    Returns 65 bytes r ‖ s ‖ v with low s and v 27 or 28; deterministic (RFC 6979).
    """
    return sign_struct(update.struct_hash(), domain, private_key)


def recover_signer(update: Update, domain: Domain, signature: bytes) -> str:
    """Checksummed address of the key that signed. Raises SignatureError as `recover_struct_signer`."""
    return recover_struct_signer(update.struct_hash(), domain, signature)


def sign_struct(struct_hash: bytes, domain: Domain, private_key: bytes | str) -> bytes:
    """Sign any EIP-712 struct, given by its hashStruct (32 bytes), as `sign_update` does."""
    return bytes(Account.sign_message(_message(struct_hash, domain), private_key).signature)


def recover_struct_signer(struct_hash: bytes, domain: Domain, signature: bytes) -> str:
    """Checksummed address of the key that signed a struct.

    Raises:
        SignatureError: not 65 bytes, v not 27 or 28, s in the upper half (malleable), or no key fits.
    """
    if len(signature) != 65:
        raise SignatureError(f"a signature holds 65 bytes r ‖ s ‖ v, not {len(signature)}")
    if signature[64] not in (27, 28):
        raise SignatureError(f"the signature's v is {signature[64]}, must be 27 or 28")
    if int.from_bytes(signature[32:64]) > _HALF_ORDER:
        raise SignatureError(
            "the signature's s lies in the upper half of the group; such a malleable form is refused"
        )
    try:
        return str(Account.recover_message(_message(struct_hash, domain), signature=signature))
    except Exception as error:  # eth-keys raises a family of its own types for impossible r and s
        raise SignatureError(f"no key can have made this signature: {error}") from error


def verify_update_signature(update: Update, domain: Domain, signature: bytes, member: str) -> None:
    """Check that ``member`` (hex address) signed.

    Raises:
        SignatureError: the signature is malformed or another key's.
    """
    signer = recover_signer(update, domain, signature)
    if signer != to_address(member, "member"):
        raise SignatureError(f"the update of {member} was signed by {signer}")


def _message(struct_hash: bytes, domain: Domain) -> SignableMessage:
    # EIP-712 is version 0x01 of EIP-191, whose header is the domain separator.
    return SignableMessage(HexBytes(b"\x01"), HexBytes(domain.separator()), HexBytes(struct_hash))
