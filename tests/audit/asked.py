"""Which artefacts an audit asks a store for."""

from __future__ import annotations

from web3 import Web3

from fedvm.audit.artefacts import Artefact, artefacts
from fedvm.audit.replay import audit
from fedvm.store import Store
from fedvm.store.cid import as_cid


class Asked:
    """A store that remembers what was read from it."""

    def __init__(self, store: Store) -> None:
        self.cids: set[bytes] = set()
        self.put, self.stage, self.sync = store.put, store.stage, store.sync
        self._store = store

    def get(self, cid: str | bytes) -> bytes:
        self.cids.add(as_cid(cid).binary)
        return self._store.get(cid)


def listed_and_asked(
    w3: Web3, store: Store, federation: str | None, service: str | None, first_block: int = 0
) -> tuple[list[Artefact], set[bytes]]:
    """What is listed, and what an audit reads."""
    asked = Asked(store)
    audit(w3, asked, federation=federation, service=service, first_block=first_block)
    listed = artefacts(w3, store, federation=federation, service=service, first_block=first_block)
    return list(listed), asked.cids
