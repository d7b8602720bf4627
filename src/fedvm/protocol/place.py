"""The place of an update, to which its hashes are bound, so that it cannot be copied to another round or member, or
shortened."""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi.abi import encode

from fedvm.evm.keccak import keccak
from fedvm.protocol.checks import address_bytes, check_uint


@dataclass(frozen=True)
class Place:
    """The place of one update: chain, federation contract, round, member (hex addresses)."""

    chain_id: int
    federation: str
    round: int
    member: str

    def context(self, elements: int) -> bytes:
        """keccak(abi.encode(chainId, federation, round, member, elements)), 32 bytes, of an update of that many
        elements.

        Raises:
            EncodingError: an address or integer is malformed, or out of range (RangeError).
        """
        values = (
            check_uint("chain_id", self.chain_id, 256),
            address_bytes("federation", self.federation),
            check_uint("round", self.round, 64),
            address_bytes("member", self.member),
            check_uint("elements", elements, 64),
        )
        return keccak(encode(["uint256", "address", "uint64", "address", "uint64"], values))
