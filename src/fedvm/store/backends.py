"""Which store a location names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fedvm.store.content import ContentStore
from fedvm.store.errors import StoreError
from fedvm.store.interface import ProvingStore, Store
from fedvm.store.mirrored import MirroredStore

DEFAULT_STORES: Final = ("store",)
"""Where a run keeps its artefacts unless it says otherwise: this folder in its directory."""


def _gateway(url: str) -> Store:
    from fedvm.store.gateway import TrustlessGateway

    return TrustlessGateway(url)


def _kubo(url: str) -> Store:
    from fedvm.store.kubo import KuboStore

    return KuboStore(url)


def _onchain_cloud(url: str) -> Store:
    from fedvm.store.foc import OnchainCloud

    return OnchainCloud(url)


BACKENDS: Final[dict[str, Callable[[str], Store]]] = {
    "http": _gateway,
    "https": _gateway,
    "foc": _onchain_cloud,
    "foc+http": _onchain_cloud,
    "kubo": _kubo,
    "kubo+https": _kubo,
}
"""By the scheme of a URL: what opens the store at that URL. A location without a scheme is a folder."""


def open_store(locations: str | Path | Sequence[str | Path], beside: Path | None = None) -> Store:
    """The store at a location: a folder (a relative one lies in `beside`), or the URL of a backend. Several locations
    make one store, which writes to all and reads from the first that has what is wanted.

    Raises:
        StoreError: no location is given, or one twice; no backend has the URL's scheme; or something other than a
            folder is there.
    """
    given = (locations,) if isinstance(locations, str | Path) else tuple(locations)
    if not given or len({str(one) for one in given}) < len(given):
        stated = ", ".join(str(one) for one in given) or "none"
        raise StoreError(f"stores: {stated}; name at least one, and each once")
    opened = [(str(one), _opened(one, beside)) for one in given]
    return opened[0][1] if len(opened) == 1 else MirroredStore(opened)


def proving_store(store: Store) -> ProvingStore | None:
    """The one among a store's locations whose provider proves on chain what it holds; None if there is none."""
    from fedvm.store.foc import OnchainCloud

    stores = store.stores if isinstance(store, MirroredStore) else (store,)
    return next((one for one in stores if isinstance(one, OnchainCloud)), None)


def _opened(location: str | Path, beside: Path | None) -> Store:
    scheme, is_url, _ = str(location).partition("://")
    if not is_url:
        return ContentStore((beside or Path()) / location)
    if scheme not in BACKENDS:
        known = ", ".join(["a folder", *(f"{name}://…" for name in sorted(BACKENDS))])
        raise StoreError(f"no store is known for {scheme}://; known: {known}")
    return BACKENDS[scheme](str(location))
