"""A PDP verifier, read: the contract that providers of Filecoin prove to that they hold the pieces of a data set."""

from __future__ import annotations

from web3 import Web3
from web3.types import BlockIdentifier

from fedvm.chain.artifacts import LOCAL_PDP_VERIFIER, contract_at
from fedvm.chain.call import read


class PdpVerifier:
    """The verifier at an address (hex), Filecoin's own or a local stand-in, as of a block (None: the head).

    Each method raises CallFailed where it reverts or does not answer as such a contract; the constructor raises
    DeploymentError if no code is there.
    """

    def __init__(self, w3: Web3, address: str, *, block: BlockIdentifier = "latest") -> None:
        # What is read is declared by the stand-in as by Filecoin's contract (`IPDPVerifier`).
        self._contract = contract_at(w3, LOCAL_PDP_VERIFIER, address)
        self._block = block

    def is_live(self, data_set: int) -> bool:
        """Whether a data set exists and nobody has deleted it."""
        return bool(read(self._contract, "dataSetLive", data_set, block=self._block))

    def has_piece(self, data_set: int, piece: int) -> bool:
        """Whether a piece was added, and not removed, and its data set is live."""
        return bool(read(self._contract, "pieceLive", data_set, piece, block=self._block))

    def piece_cid(self, data_set: int, piece: int) -> bytes:
        """The binary CID of a piece of a live data set."""
        told = read(self._contract, "getPieceCid", data_set, piece, block=self._block)
        return bytes(told[0])

    def last_proven(self, data_set: int) -> int:
        """The epoch in which the provider proved last that it holds a live data set."""
        return int(read(self._contract, "getDataSetLastProvenEpoch", data_set, block=self._block))
