"""The EIP-712 message by which a member proves that a Flower node is its own; never sent to a contract.

Its EIP-712 type differs from an update's, so neither signature can pass for the other. It names the node and the
server's nonce, so it can be neither replayed nor used for another node.
"""

from __future__ import annotations

from eth_abi.abi import encode

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import check_bytes, check_uint
from fedvm.protocol.typed_data import Domain, recover_struct_signer, sign_struct

NODE_TYPE = "Node(uint64 nodeId,bytes32 nonce)"


def node_struct_hash(node_id: int, nonce: bytes) -> bytes:
    """hashStruct(Node), 32 bytes. Raises EncodingError unless node_id fits 64 bits and nonce 32 bytes."""
    values = (keccak(NODE_TYPE.encode()), check_uint("node_id", node_id, 64), check_bytes("nonce", nonce, 32))
    return keccak(encode(["bytes32", "uint64", "bytes32"], values))


def sign_node(node_id: int, nonce: bytes, domain: Domain, private_key: bytes | str) -> bytes:
    """65 bytes r ‖ s ‖ v by which the holder of the key says that `node_id` is its own."""
    return sign_struct(node_struct_hash(node_id, nonce), domain, private_key)


def recover_node_signer(node_id: int, nonce: bytes, domain: Domain, signature: bytes) -> str:
    """Checksummed address of the key that signed. Raises SignatureError for a malformed signature."""
    return recover_struct_signer(node_struct_hash(node_id, nonce), domain, signature)
