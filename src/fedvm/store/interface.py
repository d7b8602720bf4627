"""The store that federations and audits need."""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """A store of content-addressed bytes; `ContentStore` implements it."""

    def put(self, data: bytes) -> str:
        """Keep `data` durably and return its CID."""
        ...

    def stage(self, data: bytes) -> str:
        """Keep `data`, durably after the next `sync`, and return its CID."""
        ...

    def sync(self) -> None:
        """Make all that was staged durable."""
        ...

    def get(self, cid: str | bytes) -> bytes:
        """The bytes of a CID, checked against it."""
        ...
