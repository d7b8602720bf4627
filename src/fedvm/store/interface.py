"""What a store does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Store(Protocol):
    """A store of content-addressed bytes. Every method raises StoreError when it cannot do what it says; a store that
    can only be read raises ReadOnlyStore when it is written to."""

    def put(self, data: bytes) -> str:
        """Keep `data` durably and return its CID. Keeping it again changes nothing."""
        ...

    def stage(self, data: bytes) -> str:
        """Keep `data`, durably after the next `sync`, and return its CID."""
        ...

    def sync(self) -> None:
        """Make all that was staged durable."""
        ...

    def get(self, cid: str | bytes) -> bytes:
        """The bytes of a CID (text, or 36 binary bytes), checked against it. Raises MissingBlock if it is not here,
        CorruptBlock if its bytes are others."""
        ...


@dataclass(frozen=True)
class HeldPieces:
    """Where a provider holds pieces. pieces: number in the data set and piece CID (version 2, text), ascending."""

    data_set: int
    pieces: tuple[tuple[int, str], ...]


class ProvingStore(Protocol):
    """A store whose provider proves on chain that it holds what it was given."""

    def hold(self, cars: Iterable[bytes]) -> HeldPieces:
        """Have each of these CARs kept as a piece of the data set. Raises StoreError."""
        ...
