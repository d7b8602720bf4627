"""Counts the types that one update wears on its way through a round.

Run: python tests/federation/worn_types.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from federation_bench import create_bench

from fedvm.federation import FederationSettings
from fedvm.protocol import Update


class Wardrobe:
    """The dataclasses that were made for each update: those with its root, its vector or its statement in a field."""

    def __init__(self) -> None:
        self._by_root: dict[bytes, set[str]] = {}
        self._by_vector: dict[bytes, set[str]] = {}
        self._vector_of: dict[bytes, bytes] = {}  # by root

    @property
    def worn(self) -> set[str]:
        """By any of the updates."""
        vectors = (self._by_vector.get(self._vector_of.get(root, b""), set()) for root in self._by_root)
        return set().union(*self._by_root.values(), *vectors)

    def watch(self, frame: FrameType, event: str, _: Any) -> None:
        """A profiler: looks at every object of the package when it is made."""
        if event != "return" or frame.f_code.co_name != "__init__":
            return
        made = frame.f_locals.get("self")
        if made is None or not type(made).__module__.startswith("fedvm.") or not is_dataclass(made):
            return
        name = type(made).__name__
        if isinstance(made, Update):
            self._by_root.setdefault(made.update_root, set()).add(name)
            return
        for value in vars(made).values():
            if isinstance(value, Update):
                self._by_root.setdefault(value.update_root, set()).add(name)
                if (vector := getattr(made, "vector", None)) is not None:
                    self._vector_of[value.update_root] = vector.tobytes()
            elif isinstance(value, bytes) and value in self._by_root:
                self._by_root[value].add(name)
            elif isinstance(value, np.ndarray) and value.dtype == np.int32:
                self._by_vector.setdefault(value.tobytes(), set()).add(name)


@contextmanager
def watched() -> Iterator[Wardrobe]:
    """Whatever is made meanwhile, in this thread."""
    wardrobe = Wardrobe()
    sys.setprofile(wardrobe.watch)
    try:
        yield wardrobe
    finally:
        sys.setprofile(None)


def worn_in_a_round(path: Path, submission: str) -> set[str]:
    """The types that the updates of a real round wear. submission: as of `FederationSettings`."""
    bench = create_bench(path, 3)
    try:
        with watched() as wardrobe:
            bench.run(FederationSettings(clients=3, rounds=1, submission=submission))  # type: ignore[arg-type]
    finally:
        bench.chain.close()
    return wardrobe.worn


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for form in ("commitments", "rollup"):
            worn = worn_in_a_round(Path(folder) / form, form)
            print(f"{form}: {len(worn)} types: {', '.join(sorted(worn))}")
