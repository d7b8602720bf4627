"""What a sealed round costs a member and the coordinator: 62,006 parameters, one group of 16, 32 or 64.

Milliseconds are CPU time of this process, the least of 25 runs. Bytes are exact. An open update of the same round has 4
bytes a parameter, and each side builds its tree once: compare with those rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fedvm.evm.keccak import keccak
from fedvm.protocol import Domain, Rules, aggregate_root, to_bytes, update_tree
from fedvm.protocol.address import Address, to_address
from fedvm.protocol.rules import PPM, WEIGHTED_MEAN
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate
from fedvm.protocol.sealed.aggregation_fold import group_subtotal
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.coordinator import check_file, open_group
from fedvm.protocol.sealed.deposit import parts_of
from fedvm.protocol.sealed.edges import Edges
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.keys import EpochKeys
from fedvm.protocol.sealed.member import (
    Masking,
    SealedUpdate,
    agree_edges,
    answer,
    encapsulate_to_mates,
    seal,
)
from fedvm.protocol.sealed.rules import SealedRules, lane_bytes
from fedvm.protocol.sealed.typed_data import Masked
from fedvm.protocol.sealed.unmasking import unmask

ELEMENTS, REPEATS, ROUND = 62_006, 25, 1
DOMAIN = Domain(31415926, "0x" + "fe" * 20)
RULES = Rules(8, 1, 400, (5 * 2**16) ** 2, ELEMENTS, 16, 3600, 0, 0, PPM, 0, 0, 0, WEIGHTED_MEAN)
CASES = ((16, 0, 0), (32, 5, 7), (64, 6, 20))
"""Members of a group, how many of them are absent, how many do not answer: the absent, and some others."""


def least_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return round(1000 * min(times), 2)


class Case:
    """One group with real keys; everybody but the absent has sealed."""

    def __init__(self, size: int, absent: int, silent: int) -> None:
        self.absent, self.silent = absent, silent
        members = [to_address(f"0x{i + 1:040x}") for i in range(size)]
        self.keys = {member: EpochKeys.generate() for member in members}
        roster = tuple(keys.enrolment(member) for member, keys in self.keys.items())
        self.draw = Draw(DOMAIN, 1, size, roster, keccak(b"seed"))
        self.raw = {member: keys.mlkem_public for member, keys in self.keys.items()}
        files = {member: encapsulate_to_mates(self.draw, member, self.raw) for member in members}
        self.epoch = Epoch(self.draw, ROUND, bitmap(size, range(size)))
        self.sent = {member: file.data for member, file in files.items()}
        self.files = files
        self.group = self.epoch.groups[0]
        self.seats = self.group.members
        self.edges = [self.agree(member) for member in self.seats]
        self.k = lane_bytes(RULES, SealedRules(max(8, size), 20, size, 1, 900_000, 0, 600, 300, 120))
        self.close = Close(self.epoch, ROUND, bitmap(size, range(absent, size)))
        chance = np.random.default_rng(1)
        self.values = 400 * chance.integers(-900, 901, ELEMENTS)
        self.updates = {rank: self.seal(rank) for rank in self.close.groups[0].included}

    def agree(self, member: Address) -> Edges:
        return agree_edges(self.epoch, member, self.keys[member], self.files[member], self.sent)

    def seal(self, rank: int) -> SealedUpdate:
        return seal(
            self.epoch, self.seats[rank], self.edges[rank], self.values, self.k, Masking.fresh(self.group)
        )

    def masked(self, update: SealedUpdate) -> Masked:
        roots = bytes(32), bytes(32), self.epoch.root, update.masked_root, update.seeds_root
        return Masked(ROUND, *roots, 400, 1, 1, 1, 1, 1, b"cid")

    def check(self, rank: int):
        update = self.updates[rank]
        return check_file(self.epoch, self.seats[rank], self.masked(update), update.file, ELEMENTS, self.k)

    def parts(self, rank: int, files) -> dict[int, bytes]:
        return {o: parts_of(self.group, o, files[o].deposit)[rank] for o in files if o != rank}

    def rows(self) -> dict[str, float | int]:
        size, last = len(self.seats), len(self.seats) - 1
        middle = size // 2
        close = self.close.groups[0]
        files = {rank: self.check(rank) for rank in close.included}
        parts = self.parts(last, files)
        answers = {
            rank: answer(
                self.close,
                self.seats[rank],
                self.edges[rank],
                self.updates[rank].own,
                self.parts(rank, files),
            )
            for rank in close.included[self.silent - self.absent :]
        }
        commitments = {rank: file.commitments for rank, file in files.items()}
        contexts = {r: DOMAIN.place(ROUND, self.seats[r]).context(ELEMENTS) for r in files}
        opened = open_group(close, answers, commitments, contexts)
        assert opened.missed is None

        def unmask_all() -> list[UnmaskedUpdate]:
            lanes = ((rank, file.lanes) for rank, file in files.items())
            return [
                UnmaskedUpdate(400, unmask(close, r, one, opened.seeds, self.k), bytes(32))
                for r, one in lanes
            ]

        updates = unmask_all()
        total = group_subtotal(updates, self.group.height, self.k)
        assert np.array_equal(total.sums, len(updates) * self.values)
        own = self.updates[last].own
        member, included = self.seats[last], len(close.included)
        reply = answer(self.close, member, self.edges[last], own, parts)
        return {
            "keys once an epoch, ms": least_ms(
                lambda: (
                    encapsulate_to_mates(self.draw, self.seats[middle], self.raw),
                    self.agree(self.seats[middle]),
                )
            ),
            "seal an update, ms": least_ms(lambda: self.seal(middle)),
            "answer, ms": least_ms(lambda: answer(self.close, member, self.edges[last], own, parts)),
            "coordinator: check a file, ms a member": least_ms(lambda: self.check(last)),
            "coordinator: seeds from shares, ms a member": round(
                least_ms(lambda: open_group(close, answers, commitments, contexts)) / included, 3
            ),
            "coordinator: unmask, ms a member": round(least_ms(unmask_all) / included, 3),
            "coordinator: aggregation tree, ms a member": round(
                least_ms(lambda: group_subtotal(updates, self.group.height, self.k)) / included, 3
            ),
            "bytes of a lane": self.k,
            "bytes of the file": len(self.updates[last].file),
            "bytes of the answer": len(reply),
            "bytes of the key file, on average": 1088 * (size - 1) // 2,
            "file and answer over an open update": round(
                (len(self.updates[last].file) + len(reply)) / (4 * ELEMENTS), 3
            ),
        }


def open_rows() -> dict[str, float | int]:
    values = np.random.default_rng(1).integers(-900, 901, ELEMENTS).astype(np.int32)
    place = DOMAIN.place(ROUND, "0x" + "11" * 20)
    weighted = 400 * values.astype(np.int64)
    return {
        "open: build an update's tree, ms": least_ms(lambda: (update_tree(values, place), to_bytes(values))),
        "open: coordinator, update's tree, ms a member": least_ms(lambda: update_tree(values, place)),
        "open: coordinator, aggregation tree, ms a member": 2 * least_ms(lambda: aggregate_root(weighted)),
        "bytes of the file": 4 * ELEMENTS,
    }


def parts() -> dict[str, dict[str, float | int]]:
    """What each step costs a member and the coordinator, by case."""
    rows = {"open": open_rows()}
    for size, absent, silent in CASES:
        rows[f"{size} members, {absent} absent, {silent} silent"] = Case(size, absent, silent).rows()
    return rows
