"""A sealed federation on disk: seventeen members in two groups, two rounds that became final, and its audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sealed_game import ELEMENTS, SECURITY, Game, Play, found, play
from stated_tree import Forge, StatedTree, one_more, with_sums

from fedvm.audit.findings import AuditReport
from fedvm.audit.replay import audit
from fedvm.devnet.embedded import open_chain
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate
from fedvm.protocol.sealed.records import SealedFile
from fedvm.store import ContentStore

NOT_READY, LATE = (), (3,)
ABSENT = ((5,), (1, 12))
"""Places that are ready and send nothing, by round."""


@dataclass(frozen=True)
class Recorded:
    """path: of the directory with chain and store. plays: the rounds as they were played."""

    path: Path
    federation: str
    plays: tuple[Play, ...]


def record(path: Path) -> Recorded:
    path.mkdir()
    with open_chain(path, seed=11, create=True) as chain:
        game = found(chain, 17, NOT_READY, LATE, store=ContentStore(path / "store"))
        plays = tuple(final_round(game, absent) for absent in ABSENT)
        return Recorded(path, game.federation.address, plays)


def final_round(game: Game, absent: tuple[int, ...]) -> Play:
    played = play(game, absent)
    played.roll_up()
    finish(played)
    return played


def finish(
    played: Play,
    forge: Forge | None = None,
    more: int = 0,
    groups: list[list[UnmaskedUpdate]] | None = None,
) -> None:
    """Propose what follows but for the forged nodes, or ``more`` on the model's last element, and let it become
    final."""
    game = played.game
    tree = StatedTree.build(
        groups or played.unmasked(), game.epoch.draw.grouping.height, game.terms.lane_bytes, forge
    )
    model = (game.base + tree.top.sums.vector // np.int64(tree.top.weight)).astype(np.int32)
    model[-1] += more
    played.propose(tree.top.hash, tree.top.sums.root, model)
    game.chain.advance_time(SECURITY.challenge_seconds + 1)
    game.federation.finalize_round(game.coordinator, played.number)
    game.base = model


def audited(path: Path, federation: str) -> AuditReport:
    with open_chain(path, read_only=True) as chain:
        store = ContentStore(path / "store")
        return audit(chain.w3, store, federation=federation, service=None)


Lie = Callable[[Game], Play]


def _sworn(**changes: Any) -> Lie:
    """A member signs something else, and the coordinator takes it."""

    def lie(game: Game) -> Play:
        played = play(game, changes={4: changes})
        played.roll_up()
        finish(played)
        return played

    return lie


def _told(change: Callable[[SealedFile], SealedFile]) -> Lie:
    """The round's file says something else."""

    def lie(game: Game) -> Play:
        true = play(game, (5,))
        played = replace(true, file=change(true.file))
        played.roll_up()
        is_cut = len(played.file.seeds) < len(true.file.seeds)
        finish(played, groups=(true if is_cut else played).unmasked())
        return played

    return lie


def _proposed(more: int = 0, **forged: Any) -> Lie:
    def lie(game: Game) -> Play:
        played = play(game, **forged.get("playing", {}))
        played.roll_up()
        finish(played, forged.get("forge"), more)
        return played

    return lie


def _heavier(file: SealedFile) -> SealedFile:
    first, *others = file.records
    return replace(file, records=(replace(first, weight=first.weight + 1), *others))


def _other_seed(file: SealedFile) -> SealedFile:
    return replace(file, seeds=(bytes(31) + b"\1", *file.seeds[1:]))


LONG = {"values": {4: np.full(ELEMENTS, 30_000, dtype=np.int32)}}
FINAL_LIES: Mapping[str, tuple[Lie, set[str]]] = {
    "signature of another": (_sworn(signer=7), {"signature", "aggregate"}),
    "another round": (_sworn(round=10**6), {"submission", "update root", "aggregate"}),
    "past its deadline": (_sworn(deadline=1), {"submission", "aggregate"}),
    "another epoch": (_sworn(epoch_root=bytes(32)), {"submission", "update root", "aggregate"}),
    "another vector": (_sworn(masked_root=bytes(32)), {"update root", "aggregate"}),
    "other commitments": (_sworn(seeds_root=bytes(32)), {"update root", "aggregate"}),
    "weight of a record": (_told(_heavier), {"record", "aggregate"}),
    "a seed": (_told(_other_seed), {"seed", "aggregate"}),
    "a missing seed": (
        _told(lambda file: replace(file, seeds=file.seeds[:-1])),
        {"seed", "aggregate"},
    ),
    "norm beyond the bound": (_proposed(playing=LONG), {"group norm"}),
    "a sum": (_proposed(forge={(5, 0): with_sums(one_more(7))}), {"aggregate"}),
    "the model": (_proposed(more=1), {"model"}),
}


def record_lies(path: Path, lies: Mapping[str, tuple[Lie, set[str]]]) -> tuple[str, dict[str, int]]:
    """The federation's address, and in which round each lie was told."""
    path.mkdir()
    with open_chain(path, seed=11, create=True) as chain:
        game = found(chain, 17, store=ContentStore(path / "store"))
        return game.federation.address, {name: lie(game).number for name, (lie, _) in lies.items()}
