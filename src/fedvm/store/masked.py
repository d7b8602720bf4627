"""The masked updates of a sealed round, as a store has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.records import SealedFile
from fedvm.store.interface import Store


class StoredMasked(Mapping[int, MaskedFile]):
    """The masked updates of a published file by place, each read when it is asked for.

    Raises StoreError for one that is lost, EncodingError for one that is another's.
    """

    def __init__(self, store: Store, close: Close, file: SealedFile, elements: int, lane_bytes: int) -> None:
        self._store, self._close = store, close
        self._elements, self._lane_bytes = elements, lane_bytes
        self._by_place = {record.place: one for record, one in zip(file.records, file.parsed, strict=True)}

    def __getitem__(self, place: int) -> MaskedFile:
        group = self._close.groups[self._close.epoch.draw.grouping.group_of(place)].group
        data = self._store.get(self._by_place[place].masked.cid)
        return MaskedFile.parse(data, group, self._elements, self._lane_bytes)

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_place)

    def __len__(self) -> int:
        return len(self._by_place)
