"""A stand-in for Filecoin's PDPVerifier on a local chain, and the provider that has data sets there.

It answers as that contract does, and takes the provider's word where that one checks proofs: for tests and rehearsals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.constants import ADDRESS_ZERO

from fedvm.chain.artifacts import LOCAL_PDP_VERIFIER, contract_at, load_artifact
from fedvm.chain.deploy import placed
from fedvm.chain.prepared import PreparedCall
from fedvm.chain.sender import Receipt, Sender


@dataclass(frozen=True)
class LocalProvider:
    """A provider's account, and the stand-in (checksummed address) that it proves to. Each method returns when its
    transaction is in a block, and raises TransactionFailed on a revert."""

    w3: Web3
    account: LocalAccount
    verifier: str

    @classmethod
    def begin(cls, w3: Web3, account: LocalAccount) -> LocalProvider:
        """Create a stand-in of one's own."""
        code = load_artifact(LOCAL_PDP_VERIFIER).bytecode
        created, _ = placed(Sender(w3), account, code, action=f"creating {LOCAL_PDP_VERIFIER}", deployer=None)
        return cls(w3, account, Web3.to_checksum_address(created))

    def create(self) -> int:
        """Create a data set; its number."""
        receipt = self._send("createDataSet", ADDRESS_ZERO, b"")
        return int(self._contract.events["DataSetCreated"]().process_receipt(receipt.raw)[0]["args"]["setId"])

    def add(self, data_set: int, cids: Sequence[bytes]) -> None:
        """Add pieces (binary CIDs), numbered on from those that were added before."""
        self._send("addPieces", data_set, ADDRESS_ZERO, [(cid,) for cid in cids], b"")

    def prove(self, data_set: int) -> None:
        """Begin a proving period, and prove that everything in the data set is there."""
        block = self.w3.eth.block_number + 1
        self._send("nextProvingPeriod", data_set, block, b"")
        self._send("prove", data_set)

    def remove(self, data_set: int, pieces: Sequence[int]) -> None:
        """Have pieces removed when the next proving period begins."""
        self._send("schedulePieceDeletions", data_set, list(pieces), b"")

    def delete(self, data_set: int) -> None:
        """Delete a data set."""
        self._send("deleteDataSet", data_set, b"")

    @property
    def _contract(self) -> Any:
        return contract_at(self.w3, LOCAL_PDP_VERIFIER, self.verifier)

    def _send(self, function: str, *arguments: Any) -> Receipt:
        action = f"{LOCAL_PDP_VERIFIER}.{function}"
        return PreparedCall(Sender(self.w3), self._contract, action, arguments).send(self.account)
