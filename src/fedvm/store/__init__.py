"""Content-addressed artefacts: CIDv1 names, blocks as files."""

from fedvm.store.backends import BACKENDS, DEFAULT_STORES, open_store
from fedvm.store.cid import Cid
from fedvm.store.content import ContentStore
from fedvm.store.errors import CorruptBlock, InvalidCid, MissingBlock, ReadOnlyStore, StoreError
from fedvm.store.interface import Store
from fedvm.store.unixfs import cid_of

__all__ = [
    "BACKENDS",
    "DEFAULT_STORES",
    "Cid",
    "ContentStore",
    "CorruptBlock",
    "InvalidCid",
    "MissingBlock",
    "ReadOnlyStore",
    "Store",
    "StoreError",
    "cid_of",
    "open_store",
]
