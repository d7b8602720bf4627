"""What a store does, and which store a location names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from fedvm.store.content import ContentStore
from fedvm.store.errors import StoreError


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


DEFAULT_STORE: Final = "store"
"""Where a run keeps its artefacts unless it says otherwise: this folder in its directory."""

BACKENDS: Final[dict[str, Callable[[str], Store]]] = {}
"""By the scheme of a URL: what opens the store at that URL. A location without a scheme is a folder."""


def open_store(location: str | Path, beside: Path | None = None) -> Store:
    """The store at a location: a folder (a relative one lies in `beside`), or the URL of a backend.

    Raises:
        StoreError: no backend has the URL's scheme, or something other than a folder is there.
    """
    scheme, is_url, _ = str(location).partition("://")
    if not is_url:
        return ContentStore((beside or Path()) / location)
    if scheme not in BACKENDS:
        known = ", ".join(["a folder", *(f"{name}://…" for name in sorted(BACKENDS))])
        raise StoreError(f"no store is known for {scheme}://; known: {known}")
    return BACKENDS[scheme](str(location))
