"""Content-addressed artefacts: CIDv1 names, blocks as files."""

from fedvm.store.cid import Cid
from fedvm.store.content import ContentStore
from fedvm.store.errors import CorruptBlock, InvalidCid, MissingBlock, StoreError
from fedvm.store.interface import Store
from fedvm.store.unixfs import cid_of

__all__ = [
    "Cid",
    "ContentStore",
    "CorruptBlock",
    "InvalidCid",
    "MissingBlock",
    "Store",
    "StoreError",
    "cid_of",
]
