"""Errors of a content-addressed store."""


class StoreError(Exception):
    """Reading from or writing to a store failed; the message names the CID and the place."""


class InvalidCid(StoreError, ValueError):
    """Not a CID of the kinds this store holds: version 1, base32, raw or dag-pb, sha2-256."""


class MissingBlock(StoreError, LookupError):
    """The store does not hold a block."""


class CorruptBlock(StoreError):
    """A stored block's bytes do not belong to its CID."""


class ReadOnlyStore(StoreError):
    """A store that can only be read was asked to keep something."""


class InvalidCar(StoreError, ValueError):
    """Not a CAR of version 1 whose blocks this package stores."""
