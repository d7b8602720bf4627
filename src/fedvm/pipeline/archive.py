"""Publishes what an auditor needs of a federation as one CAR file, and fetches it from there into a store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fedvm.audit.artefacts import Artefact
from fedvm.files import resumable_file
from fedvm.pipeline.errors import UsageError
from fedvm.store import Cid, ContentStore, InvalidCid, Store, StoreError
from fedvm.store.car import CarWriter, blocks_from_root, read_car

Progress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


class MissingArtefacts(StoreError):
    """A store lacks what an audit would read."""


@dataclass(frozen=True)
class Published:
    """A CAR that was written. missing: of each artefact that was left out, what it is and why."""

    artefacts: int
    blocks: int
    bytes: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fetched:
    """What a folder has now. blocks: read from a CAR, or in the folder. bytes: read now."""

    artefacts: int
    blocks: int
    bytes: int


def of_rounds(listed: Iterable[Artefact], rounds: Collection[int]) -> Iterator[Artefact]:
    """The artefacts of these rounds, and the model that each of them trains from.

    Raises:
        UsageError: the chain knows no such round.
    """
    base: list[Artefact] = []
    wanted, found = set(rounds), set[int]()
    for number, group in _by_round(listed):
        if number in wanted:
            found.add(number)
            yield from base
            yield from group
        base = [one for one in group if one.is_model] or base
    if lacking := wanted - found:
        raise UsageError(f"there is nothing of round {min(lacking)}: name rounds that have been opened")


def publish_car(
    listed: Iterable[Artefact],
    store: Store,
    file: Path,
    *,
    allow_missing: bool = False,
    progress: Progress = lambda done, total: None,
) -> Published:
    """Write the artefacts into a CAR with each of them as a root, in the order given; the file appears whole or not at
    all. The same artefacts give the same bytes. allow_missing: leave out what the store lacks.

    What was written before an error, or before the process was killed, lies beside the file, and the same call goes on
    from there.

    Raises:
        MissingArtefacts: the store lacks some, or all.
        UsageError: they are too many for one CAR, or another process writes it.
        OSError: the file cannot be written.
    """
    wanted, missing = _named(listed)
    while True:
        if missing and not allow_missing:
            _complain(missing)
        if not wanted:
            raise MissingArtefacts(
                "there is nothing to publish: "
                + ("; ".join(missing) or "the chain names no artefact; name another --federation")
            )
        try:
            with resumable_file(file) as out:
                blocks = _written(out, wanted, store, progress)
                size = out.tell()
        except _Lost as lost:
            missing += [f"{wanted[cid]}: {why}" for cid, why in lost.why.items()]
            wanted = {cid: what for cid, what in wanted.items() if cid not in lost.why}
        except BlockingIOError as error:
            raise UsageError(f"{error}: wait for it, or name another file") from error
        else:
            return Published(len(wanted), blocks, size, tuple(missing))


def fetch_car(file: Path, to: Path, *, progress: Progress = lambda done, total: None) -> Fetched:
    """Check every block of a CAR, and keep it in the folder ``to``, where an audit finds it. What was read before an
    error is kept, and the same call goes on.

    Raises:
        InvalidCar: the file is no CAR, or cut. MissingArtefacts: it lacks blocks.
        StoreError: an artefact in it is larger than an audit reads.
        CorruptBlock: a block has other bytes than its CID says.
        OSError: the file cannot be read, or the folder not written.
    """
    store, blocks, size, total = ContentStore(to), 0, 0, file.stat().st_size
    with file.open("rb") as stream:
        car = read_car(stream)
        for cid, data in car.blocks:
            store.stage_block(cid, data)
            blocks, size = blocks + 1, size + len(data)
            progress(size, max(size, total))
    store.sync()
    # What an audit reads it reads whole, within the bound of `Store.get`.
    lost = [root for root in car.roots if not store.has(str(root))]
    if lost:
        raise MissingArtefacts(
            f"{file} lacks blocks of {len(lost)} of its {len(car.roots)} artefacts, {lost[0]} first; what it has is in "
            f"{to}: fetch the rest from another CAR"
        )
    return Fetched(len(car.roots), blocks, size)


def fetch_artefacts(
    listed: Iterable[Artefact], store: Store, to: Path, *, progress: Progress = lambda done, total: None
) -> Fetched:
    """Copy artefacts from a store into the folder ``to``, each block checked, where an audit finds them. What is there
    already is not fetched again, so the same call goes on after an interruption.

    Raises:
        MissingArtefacts: the store lacks some; the others are fetched.
        OSError: the folder cannot be written.
    """
    wanted, missing = _named(listed)
    kept, size = ContentStore(to), 0
    for done, cid in enumerate(wanted):
        progress(done, len(wanted))
        if kept.has(str(cid)):
            continue
        try:
            data = store.get(cid.binary)
        except StoreError as error:
            missing.append(f"{wanted[cid]}: {error}")
        else:
            kept.stage(data)
            size += len(data)
    kept.sync()
    progress(len(wanted), len(wanted))
    if missing:
        _complain(missing)
    return Fetched(len(wanted), sum(1 for _ in kept), size)


def _by_round(listed: Iterable[Artefact]) -> list[tuple[int, list[Artefact]]]:
    groups: dict[int, list[Artefact]] = {}
    for one in listed:
        if one.round is not None:
            groups.setdefault(one.round, []).append(one)
    return sorted(groups.items())


def _named(listed: Iterable[Artefact]) -> tuple[dict[Cid, str], list[str]]:
    """What each CID names, in order, and which artefacts have none."""
    wanted: dict[Cid, str] = {}
    missing = []
    for one in listed:
        try:
            wanted.setdefault(Cid.from_binary(one.cid), one.what)
        except InvalidCid as error:
            missing.append(f"{one.what}: {error}")
    return wanted, missing


class _Lost(Exception):
    """A store lacks artefacts. why: by their CIDs."""

    def __init__(self, why: dict[Cid, str]) -> None:
        super().__init__(str(why))
        self.why = why


def _written(out: BinaryIO, wanted: dict[Cid, str], store: Store, progress: Progress) -> int:
    """Write what a CAR does not have yet; the number of its blocks. Raises _Lost with all that the store lacks: what
    follows the first of them is looked at and not written, so that the file can go on there."""
    try:
        car = CarWriter(out, list(wanted))
    except ValueError as error:
        raise UsageError(f"{error}; name --round") from error
    lost: dict[Cid, str] = {}
    for done, cid in enumerate(wanted):
        progress(done, len(wanted))
        if car.has(cid):
            continue
        try:
            data = store.get(cid.binary)
        except StoreError as error:
            lost[cid] = str(error)
        else:
            if not lost:
                car.write(blocks_from_root(data))
    progress(len(wanted), len(wanted))
    if lost:
        raise _Lost(lost)
    return car.blocks


def _complain(missing: list[str]) -> None:
    more = f"; and {len(missing) - 3} more" if len(missing) > 3 else ""
    raise MissingArtefacts(
        f"the store lacks {len(missing)} artefacts that an audit reads: {'; '.join(missing[:3])}{more}. Name a --store "
        "that has them, or publish with --allow-missing: an audit will then find them missing, unless they were posted "
        "on chain"
    )
