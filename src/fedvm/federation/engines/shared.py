"""What the calls of a round have in common: written once for all workers, read once by each.

A strategy sends one content to all clients of a round, and what takes in their replies knows the members of a whole
federation. A thousand copies of either would take longer to pack, send and unpack than the clients' training does.
"""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, RecordDict

from fedvm.federation.ready_arrays import make_ready

_KEPT = 2
"""Objects that a process keeps: a round's content, and what takes in the replies to it."""


@dataclass(frozen=True)
class Place:
    """Where an object lies: the path of a file, and the object's number, since paths come again."""

    path: str
    number: int


class Shared:
    """Writes objects for other processes, each once, and deletes them when it is closed. Use as a context.

    numbers: gives each object a number that no other of this process has.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        # With the objects, so that no other gets their ids.
        self._written: dict[int, tuple[Place, object]] = {}

    def place_of(self, thing: object) -> Place:
        """Where an object lies, which pickles and does not change meanwhile."""
        if id(thing) not in self._written:
            self._written[id(thing)] = Place(_written(thing), next(self._numbers)), thing
        return self._written[id(thing)][0]

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *_: object) -> None:
        for place, _thing in self._written.values():
            Path(place.path).unlink(missing_ok=True)


class Reader:
    """Reads objects that the process which started this one has written, and keeps the latest."""

    def __init__(self) -> None:
        self._known: dict[Place, Any] = {}

    def at(self, place: Place) -> Any:
        """The object at a place, the same for all who read it here."""
        if place not in self._known:
            with Path(place.path).open("rb") as file:
                thing = pickle.load(file)
            if isinstance(thing, RecordDict):
                make_ready(thing)
            self._known[place] = thing
            for old in list(self._known)[:-_KEPT]:
                del self._known[old]
        return self._known[place]

    def content_at(self, place: Place) -> RecordDict:
        """A copy of the content at a place, which its reader may change."""
        return RecordDict({key: _copied(record) for key, record in self.at(place).items()})


def _copied(record: Any) -> Any:
    """Array objects are as good as their bytes, which nobody can change; what a client does to its own is its own."""
    if not isinstance(record, ArrayRecord):
        return copy.deepcopy(record)
    twin = ArrayRecord()
    for name, array in record.items():
        twin[name] = copy.copy(array)
    return twin


def _written(thing: object) -> str:
    """The path of a new file with an object in it. Raises OSError, which names the file, where it cannot be written."""
    handle, path = tempfile.mkstemp(prefix="fedvm-round-")
    try:
        with os.fdopen(handle, "wb") as file:
            pickle.dump(thing, file, protocol=pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        Path(path).unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, path) from error
        raise
    return path
