"""Runs of a benchmark kept in a file as they are made, so that a benchmark that was stopped goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Measured = dict[str, Any]


class Measurements:
    """Runs by name in the file `path`; a run that is there is not made again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Measured] = json.loads(path.read_text()) if path.is_file() else {}

    def get(self, name: str, make: Callable[[], Measured]) -> Measured:
        """The run of this name, made by `make` and kept if it is not there yet."""
        if name not in self._known:
            self._known[name] = make()
            self._save()
        return self._known[name]

    def forget(self) -> None:
        """Remove the file: the benchmark is complete, and the next begins anew."""
        self._path.unlink(missing_ok=True)

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w") as stream:
            json.dump(self._known, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._path)
