"""How far a watch has come, kept in one file: what was audited and told is not told again after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from fedvm.audit.findings import Finding, Nature, Place
from fedvm.files import write_atomically
from fedvm.jsontext import parse_json
from fedvm.watch.errors import WatchError

FORMAT: Final = 1
CHECKPOINTS: Final = 64
"""Blocks of which the hash is kept, to see where a reorganisation began."""


@dataclass(frozen=True)
class Checkpoint:
    """A block by its number and hash (0x…) up to which all was audited, and the latest round that was final then."""

    block: int
    hash: str
    round: int


@dataclass
class Standing:
    """Of one subject: checkpoints, ascending; what is found and was not taken back; the proposal that was examined
    last, as (round, attempt); the state that the contracts had."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    examined: tuple[int, int] = (0, 0)
    state: str = ""

    @property
    def audited_round(self) -> int:
        """The latest round that was final when the last audit ended, 0 before."""
        return self.checkpoints[-1].round if self.checkpoints else 0

    def keep(self, checkpoint: Checkpoint) -> None:
        """Remember a block."""
        self.checkpoints = [one for one in self.checkpoints if one.block < checkpoint.block]
        self.checkpoints = [*self.checkpoints, checkpoint][-CHECKPOINTS:]


@dataclass
class Memory:
    """The file's content. undelivered: events, as JSON, that a webhook has not taken yet."""

    path: Path
    standings: dict[str, Standing] = field(default_factory=dict)
    undelivered: list[dict[str, Any]] = field(default_factory=list)

    def of(self, subject: str) -> Standing:
        """The standing of a subject, a new one before its first look."""
        return self.standings.setdefault(subject, Standing())

    def save(self) -> None:
        """Write the file, whole or not at all."""
        fields = {
            "format": FORMAT,
            "subjects": {name: _to_json(standing) for name, standing in self.standings.items()},
            "undelivered": self.undelivered,
        }
        write_atomically(self.path, json.dumps(fields, indent=1) + "\n", private=True)


@contextmanager
def opened_memory(path: Path) -> Iterator[Memory]:
    """The memory in a file, which may not exist yet; no other watch may use it meanwhile.

    Raises:
        WatchError: the file is another's, cannot be used, or a watch uses it.
    """
    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise WatchError(f"another watch keeps its place in {path}; name another file with --place") from None
    except OSError as error:
        raise WatchError(f"{path} cannot be written ({error}); name another file with --place") from None
    try:
        yield _read(path)
    finally:
        lock.release()


def _read(path: Path) -> Memory:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Memory(path)
    except (OSError, UnicodeError) as error:
        raise WatchError(f"{path} cannot be read ({error}); name another file with --place") from None
    try:
        fields = parse_json(text)
        if fields["format"] != FORMAT:
            raise ValueError(f"format {fields['format']!r}")
        standings = {str(name): _from_json(told) for name, told in fields["subjects"].items()}
        undelivered = [dict(one) for one in fields["undelivered"]]
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise WatchError(
            f"{path} is not the place of a watch ({error!r}); move it away, and everything is audited anew"
        ) from None
    return Memory(path, standings, undelivered)


def _to_json(standing: Standing) -> dict[str, Any]:
    return asdict(standing)


def _from_json(told: Any) -> Standing:
    number, attempt = told["examined"]
    return Standing(
        [Checkpoint(int(one["block"]), str(one["hash"]), int(one["round"])) for one in told["checkpoints"]],
        [
            Finding(str(one["check"]), Place(**one["place"]), str(one["message"]), Nature(one["nature"]))
            for one in told["findings"]
        ],
        (int(number), int(attempt)),
        str(told["state"]),
    )
