"""Several stores as one: everything is written to all of them, and read from the first that has it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from fedvm.store.cid import as_cid
from fedvm.store.errors import CorruptBlock, MissingBlock, ReadOnlyStore, StoreError
from fedvm.store.interface import Store
from fedvm.store.unixfs import cid_of

_LOG = logging.getLogger(__name__)
_Failures = dict[str, Exception]


class MirroredStore:
    """The stores of several locations. One that fails is passed over and named in the log, once for writing and once
    for reading: what one of them keeps is kept. Stores that can only be read are read.

    stores: location and store, in the order in which they are read; each location once.
    """

    def __init__(self, stores: Sequence[tuple[str, Store]]) -> None:
        self._stores = dict(stores)
        self._told: set[tuple[str, str]] = set()
        self._lacking: dict[str, dict[str, Exception]] = {name: {} for name in self._stores}
        """By store, what it did not take of what was staged since the last `sync`, and why."""

    @property
    def stores(self) -> tuple[Store, ...]:
        """The stores, in the order in which they are read."""
        return tuple(self._stores.values())

    def put(self, data: bytes) -> str:
        """Keep `data` durably in every store that takes it, and return its CID.

        Raises:
            StoreError: no store took it.
        """
        self._require(self._write(lambda store: store.put(data)))
        return str(cid_of(data))

    def stage(self, data: bytes) -> str:
        """As `put`, durably after the next `sync`."""
        failures, cid = self._write(lambda store: store.stage(data)), str(cid_of(data))
        for name, lacking in self._lacking.items():
            if name in failures:
                lacking[cid] = failures[name]
            else:
                lacking.pop(cid, None)
        self._require(failures)
        return cid

    def sync(self) -> None:
        """Make all that was staged durable.

        Raises:
            StoreError: no store has all of it.
        """
        failures = self._write(lambda store: store.sync())
        lacking = {name: next(iter(why.values())) for name, why in self._lacking.items() if why}
        for why in self._lacking.values():
            why.clear()
        self._require(lacking | failures)

    def get(self, cid: str | bytes) -> bytes:
        """The bytes of a CID from the first store whose bytes have it.

        Raises:
            InvalidCid: malformed.
            MissingBlock: no store has it. CorruptBlock: none has it, and one has other bytes.
            StoreError: none has it, and one could not be read.
        """
        wanted, failures = as_cid(cid), _Failures()
        for name, store in self._stores.items():
            try:
                data = store.get(cid)
                if cid_of(data) != wanted:
                    raise CorruptBlock(f"{wanted}: {name} gave other bytes")
            except (StoreError, OSError) as error:
                failures[name] = error
            else:
                for failed, why in failures.items():
                    self._tell("reading", failed, why, f"{name} has it")
                return data
        raise _kind_of(failures)(f"{wanted} is in none of the stores: {_listed(failures)}")

    def _write(self, write: Callable[[Store], object]) -> _Failures:
        """Why stores did not take it, by location."""
        failures = _Failures()
        for name, store in self._stores.items():
            try:
                write(store)
            except (StoreError, OSError) as error:
                failures[name] = error
        return failures

    def _require(self, failures: _Failures) -> None:
        if failures.keys() >= self._stores.keys():
            raise StoreError(f"no store took it: {_listed(failures)}; make one of them writable and repeat")
        for name, error in failures.items():
            if not isinstance(error, ReadOnlyStore):
                self._tell("writing", name, error, "the others are written")

    def _tell(self, doing: str, name: str, error: Exception, then: str) -> None:
        if (doing, name) not in self._told:
            self._told.add((doing, name))
            _LOG.warning(
                "%s the store %s failed: %s; %s. Further failures are not told.", doing, name, error, then
            )


def _kind_of(failures: _Failures) -> type[StoreError]:
    kinds = {type(error) for error in failures.values()}
    return MissingBlock if kinds == {MissingBlock} else CorruptBlock if CorruptBlock in kinds else StoreError


def _listed(failures: _Failures) -> str:
    return "; ".join(f"{name}: {error}" for name, error in failures.items())
