"""The vectors of a round in the store, compared with what the chain says of them."""

from __future__ import annotations

from functools import partial

from fedvm.audit.findings import Ledger, Place
from fedvm.chain.direct import DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.protocol import Domain, Rules, Update, model_root
from fedvm.protocol.vector import IntVector
from fedvm.store import Store, StoreError
from fedvm.store.vectors import UpdateVectors, stored_vector


class StoredVectors:
    """Reads vectors and records in the ledger what is wrong with them. first_block: at or before the contract's
    creation."""

    def __init__(self, contract: FederationContract, store: Store, ledger: Ledger, first_block: int) -> None:
        self._store, self._ledger = store, ledger
        self._vectors = update_vectors(contract, store, first_block)

    def update(self, rules: Rules, update: Update, member: str, place: Place) -> IntVector | None:
        """The vector of an update. None if it is missing or is not what was signed."""
        check = self._ledger.check
        try:
            tree = self._vectors.claimed(update.round, member, update)
        except StoreError as error:
            self._ledger.unreadable("update data", place, error)
            return None
        check("update data", True, place, "")
        rooted = check(
            "update root",
            tree.root == update.update_root,
            place,
            f"the stored update has root 0x{tree.root.hex()}, signed was 0x{update.update_root.hex()}",
        )
        check(
            "norm",
            tree.sum_squares == update.sum_squares <= rules.max_sum_squares,
            place,
            f"the stored update's sum of squares is {tree.sum_squares}, stated {update.sum_squares}, "
            f"bound {rules.max_sum_squares}",
        )
        return tree.vector if rooted else None

    def model(self, rules: Rules, cid: bytes, root: bytes, place: Place) -> IntVector | None:
        """A model by its CID and its root on chain; None if it is missing or another."""
        check = self._ledger.check
        try:
            model = stored_vector(self._store, cid, rules.elements)
        except StoreError as error:
            self._ledger.unreadable("model data", place, error)
            return None
        message = "the stored model has another root than the chain's"
        return model if check("model data", model_root(model) == root, place, message) else None


def update_vectors(contract: FederationContract, store: Store, first_block: int) -> UpdateVectors:
    """Finds the vectors of a federation's updates in a store, or among those posted on chain. first_block: at or before
    the first round that is looked at."""
    domain = Domain(int(contract.w3.eth.chain_id), contract.address)
    direct = DirectSubmissionsContract.of(contract)
    posted = partial(direct.posted_vector, first_block=first_block)
    return UpdateVectors(store, domain, contract.rules().elements, posted)
