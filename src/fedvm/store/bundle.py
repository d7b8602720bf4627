"""The evidence of a round as pieces for a storage provider: some artefacts of a store, packed into CARs.

Who has the artefacts computes the same CARs, and so the same piece CIDs: the artefacts are ordered by their binary
CIDs, and a CAR holds as many as fit `MOST_BYTES`, one at least. Nothing but the artefacts' CIDs decides the bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from fedvm.protocol.aggregators import NAME_ELEMENTS
from fedvm.store.car import blocks_from_root, write_car
from fedvm.store.cid import RAW, Cid
from fedvm.store.errors import InvalidCid, MissingBlock
from fedvm.store.interface import Store
from fedvm.store.pdp import MIN_PIECE_BYTES

MOST_BYTES: Final = 256 << 20
"""Of the artefacts of one CAR, if they are several."""


class Bundles:
    """The CARs of some artefacts, one at a time.

    cids: binary; malformed ones, and what the store lacks, are left out, and are in `missing` afterwards. over_bytes:
    whether vectors name bytes, which then belong to them. Iterating raises StoreError where the store cannot be read.
    """

    def __init__(self, store: Store, cids: Iterable[bytes], *, over_bytes: bool = False) -> None:
        self._store, self._cids, self._over_bytes = store, set(cids), over_bytes
        self.missing: set[bytes] = set()

    def __iter__(self) -> Iterator[bytes]:
        packed: list[tuple[Cid, bytes]] = []
        size = 0
        for cid in sorted(self._cids | set(self._named())):
            data = self._read(cid)
            if data is None:
                continue
            if packed and size + len(data) > MOST_BYTES:
                yield car_of(packed)
                packed, size = [], 0
            packed.append((Cid.from_binary(cid), data))
            size += len(data)
        if packed:
            yield car_of(packed)

    def _named(self) -> Iterator[bytes]:
        """What vectors that are names stand for."""
        for cid in self._cids if self._over_bytes else ():
            name = self._read(cid)
            if name is not None and len(name) == 4 * NAME_ELEMENTS:
                yield name

    def _read(self, cid: bytes) -> bytes | None:
        try:
            return self._store.get(cid)
        except (InvalidCid, MissingBlock):
            self.missing.add(cid)
            return None


def car_of(artefacts: Sequence[tuple[Cid, bytes]]) -> bytes:
    """Artefacts as a CAR with each as a root, with a block that nothing refers to where it is smaller than a piece may
    be."""
    roots = [root for root, _ in artefacts]
    blocks = [block for _, data in artefacts for block in blocks_from_root(data)]
    out = io.BytesIO()
    write_car(out, roots, blocks)
    if len(out.getvalue()) < MIN_PIECE_BYTES:
        padding = bytes(MIN_PIECE_BYTES)
        out = io.BytesIO()
        write_car(out, roots, [*blocks, (Cid.of_block(RAW, padding), padding)])
    return out.getvalue()
