"""What a client of Filecoin's Warm Storage signs so that a provider may create a data set for it and add pieces.

EIP-712 messages and their ABI encoding as the contract FilecoinWarmStorageService takes them
(FilOzone/filecoin-services; FilOzone/synapse-sdk, `packages/synapse-core/src/typed-data`).
"""

from __future__ import annotations

from base64 import b32decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.abi import encode
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

Metadata = Sequence[tuple[str, str]]
"""Keys and values, in their order."""

_NAME: Final = "FilecoinWarmStorageService"
_TYPES: Final[dict[str, list[dict[str, str]]]] = {
    "MetadataEntry": [{"name": "key", "type": "string"}, {"name": "value", "type": "string"}],
    "CreateDataSet": [
        {"name": "clientDataSetId", "type": "uint256"},
        {"name": "payee", "type": "address"},
        {"name": "metadata", "type": "MetadataEntry[]"},
    ],
    "Cid": [{"name": "data", "type": "bytes"}],
    "PieceMetadata": [
        {"name": "pieceIndex", "type": "uint256"},
        {"name": "metadata", "type": "MetadataEntry[]"},
    ],
    "AddPieces": [
        {"name": "clientDataSetId", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "pieceData", "type": "Cid[]"},
        {"name": "pieceMetadata", "type": "PieceMetadata[]"},
    ],
}
_USED: Final = {
    "CreateDataSet": ("CreateDataSet", "MetadataEntry"),
    "AddPieces": ("AddPieces", "Cid", "MetadataEntry", "PieceMetadata"),
}


@dataclass(frozen=True)
class Client:
    """Who pays for storage, on a chain, by the service contract at an address (hex)."""

    account: LocalAccount
    chain_id: int
    service: str

    def creation(self, data_set: int, payee: str, metadata: Metadata) -> bytes:
        """The extra data by which a provider (payee, hex address) creates a data set. data_set: the client's own number
        of it, uint256."""
        entries = [{"key": key, "value": value} for key, value in metadata]
        fields = {"clientDataSetId": data_set, "payee": payee, "metadata": entries}
        signature = self._signed("CreateDataSet", fields)
        keys, values = [key for key, _ in metadata], [value for _, value in metadata]
        types = ["address", "uint256", "string[]", "string[]", "bytes"]
        return encode(types, [self.account.address, data_set, keys, values, signature])

    def addition(self, data_set: int, nonce: int, pieces: Sequence[tuple[str, Metadata]]) -> bytes:
        """The extra data by which a provider adds pieces (piece CIDs of version 2) to a data set. nonce: any number
        that was not used before, uint256."""
        fields = {
            "clientDataSetId": data_set,
            "nonce": nonce,
            "pieceData": [{"data": cid_bytes(cid)} for cid, _ in pieces],
            "pieceMetadata": [
                {"pieceIndex": index, "metadata": [{"key": key, "value": value} for key, value in metadata]}
                for index, (_, metadata) in enumerate(pieces)
            ],
        }
        signature = self._signed("AddPieces", fields)
        keys = [[key for key, _ in metadata] for _, metadata in pieces]
        values = [[value for _, value in metadata] for _, metadata in pieces]
        return encode(["uint256", "string[][]", "string[][]", "bytes"], [nonce, keys, values, signature])

    def _signed(self, kind: str, fields: dict[str, Any]) -> bytes:
        domain = {
            "name": _NAME,
            "version": "1",
            "chainId": self.chain_id,
            "verifyingContract": self.service,
        }
        message = encode_typed_data(domain, {name: _TYPES[name] for name in _USED[kind]}, fields)
        return bytes(self.account.sign_message(message).signature)


def both(creation: bytes, addition: bytes) -> bytes:
    """The extra data by which a provider does both at once."""
    return encode(["bytes", "bytes"], [creation, addition])


def cid_bytes(cid: str) -> bytes:
    """A CID's bytes from its text in base32."""
    text = cid.removeprefix("b").upper()
    return b32decode(text + "=" * (-len(text) % 8))
