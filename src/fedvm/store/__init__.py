"""Content-addressed artefacts: CIDv1 names, blocks as files."""

from fedvm.store.cid import Cid
from fedvm.store.content import ContentStore
from fedvm.store.errors import CorruptBlock, InvalidCid, MissingBlock, StoreError
from fedvm.store.interface import BACKENDS, DEFAULT_STORE, Store, open_store
from fedvm.store.unixfs import cid_of

__all__ = [
    "BACKENDS",
    "DEFAULT_STORE",
    "Cid",
    "ContentStore",
    "CorruptBlock",
    "InvalidCid",
    "MissingBlock",
    "Store",
    "StoreError",
    "cid_of",
    "open_store",
]
