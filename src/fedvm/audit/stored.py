"""The vectors of a round in the store, compared with what the chain says of them."""

from __future__ import annotations

from fedvm.audit.findings import Ledger, Place
from fedvm.chain.direct import DirectSubmissionsContract
from fedvm.chain.federation import FederationContract
from fedvm.protocol import Domain, EncodingError, Rules, Update, int32_from_bytes, model_root, update_tree
from fedvm.protocol.vector import IntVector
from fedvm.store import Store, StoreError
from fedvm.store.vectors import stored_vector


class StoredVectors:
    """Reads vectors and records in the ledger what is wrong with them. first_block: at or before the contract's
    creation."""

    def __init__(self, contract: FederationContract, store: Store, ledger: Ledger, domain: Domain) -> None:
        self.first_block = 0
        self._contract, self._store, self._ledger, self._domain = contract, store, ledger, domain

    def update(
        self, rules: Rules, update: Update, member: str, place: Place, *, direct: bool
    ) -> IntVector | None:
        """The vector of an update, from the store; of one that its member submitted itself, what it posted on chain, if
        it had to. None if it is missing or is not what was signed."""
        check = self._ledger.check
        try:
            data = self._posted(update.round, member) if direct else None
            vector = (
                stored_vector(self._store, update.cid, rules.elements)
                if data is None
                else int32_from_bytes(data, rules.elements)
            )
        except (StoreError, EncodingError) as error:
            check("update data", False, place, str(error))
            return None
        check("update data", True, place, "")
        tree = update_tree(vector, self._domain.place(update.round, member))
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
        return vector if rooted else None

    def model(self, rules: Rules, cid: bytes, root: bytes, place: Place) -> IntVector | None:
        """A model by its CID and its root on chain; None if it is missing or another."""
        check = self._ledger.check
        try:
            model = stored_vector(self._store, cid, rules.elements)
        except StoreError as error:
            check("model data", False, place, str(error))
            return None
        message = "the stored model has another root than the chain's"
        return model if check("model data", model_root(model) == root, place, message) else None

    def _posted(self, number: int, member: str) -> bytes | None:
        direct = DirectSubmissionsContract.of(self._contract)
        return direct.posted_vector(number, member, first_block=self.first_block)
