"""A whole sealed federation in memory, for tests: members with real keys, and a coordinator that gets what they
send."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from eth_account import Account

from fedvm.evm.keccak import keccak
from fedvm.protocol import Domain, Rules, model_root
from fedvm.protocol.rules import PPM, WEIGHTED_MEAN
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close, GroupClose
from fedvm.protocol.sealed.coordinator import Opened, check_file, open_group
from fedvm.protocol.sealed.deposit import parts_of
from fedvm.protocol.sealed.edges import Edges
from fedvm.protocol.sealed.epoch import Draw, Epoch
from fedvm.protocol.sealed.keys import EpochKeys
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.member import (
    KeyFile,
    Masking,
    SealedUpdate,
    agree_edges,
    answer,
    encapsulate_to_mates,
    may_answer,
    seal,
)
from fedvm.protocol.sealed.recomputation import Recomputed, Terms, make_record, recompute
from fedvm.protocol.sealed.records import SealedFile, SealedSubmission
from fedvm.protocol.sealed.roster import roster_range
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.protocol.sealed.shuffle import group_seed
from fedvm.protocol.sealed.typed_data import Masked
from fedvm.protocol.verdict import no_key

DOMAIN = Domain(31415926, "0x" + "fe" * 20)
EPOCH, FIRST_ROUND = 1, 4
CID = b"\x01\x55\x12\x20" + bytes(32)


@dataclass
class Federation:
    """`count` members in groups of `group_size`, with keys agreed; `not_ready` by place."""

    count: int
    group_size: int = 8
    elements: int = 70
    not_ready: Collection[int] = ()
    min_groups: int = 1
    keys: dict[str, EpochKeys] = field(default_factory=dict)
    key_files: dict[str, KeyFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = [Account.from_key(keccak(b"sealed" + bytes([i // 256, i % 256]))) for i in range(self.count)]
        self.accounts = {one.address: one for one in made}
        self.keys = {
            member: EpochKeys.generate() for member in sorted(self.accounts, key=lambda m: int(m, 16))
        }
        roster = tuple(keys.enrolment(member) for member, keys in self.keys.items())
        seed = group_seed(DOMAIN, EPOCH, roster_range(roster).digest(), keccak(b"block"))
        self.draw = Draw(DOMAIN, EPOCH, self.group_size, roster, seed)
        raw = {member: keys.mlkem_public for member, keys in self.keys.items()}
        self.key_files = {member: encapsulate_to_mates(self.draw, member, raw) for member in self.keys}
        ready = [place for place in range(self.count) if place not in self.not_ready]
        self.epoch = Epoch(self.draw, FIRST_ROUND, bitmap(self.count, ready))
        self.base = np.arange(self.elements, dtype=np.int32) * 31 - 1000

    @cached_property
    def first_edges(self) -> dict[int, Edges]:
        """The edges of every ready member in the first round, by place."""
        files = {member: file.data for member, file in self.key_files.items()}
        return {
            place: agree_edges(
                self.epoch,
                seat.member,
                self.keys[seat.member],
                self.key_files[seat.member],
                {other: data for other, data in files.items() if other != seat.member},
            )
            for place, seat in enumerate(self.draw.seats)
            if self.epoch.flags[place]
        }

    @cached_property
    def terms(self) -> Terms:
        rules = Rules(2, 1, 1000, 4_000_000, self.elements, 16, 3600, 0, 10**9, PPM, 0, 0, 0, WEIGHTED_MEAN)
        sealed = SealedRules(
            self.group_size,
            20,
            self.group_size * self.min_groups,
            self.min_groups,
            1_000_000,
            0,
            600,
            300,
            120,
        )
        return Terms(rules, sealed, self.base, no_key)

    def member(self, place: int) -> str:
        return self.draw.seats[place].member

    def update(self, place: int, round_: int = FIRST_ROUND) -> tuple[int, np.ndarray]:
        """The weight and the int32 update of a place in a round, within the bound on its norm."""
        chance = np.random.default_rng([place, round_])
        return int(chance.integers(1, 1001)), chance.integers(-200, 201, self.elements, dtype=np.int32)

    def seal(self, place: int, round_: int = FIRST_ROUND, masking: Masking | None = None) -> SealedUpdate:
        weight, values = self.update(place, round_)
        group = self.epoch.group_of(self.member(place))
        edges = self.first_edges[place].advanced(round_)
        chosen = masking or Masking.fresh(group)
        weighted = weight * values.astype(np.int64)
        return seal(self.epoch, self.member(place), edges, weighted, self.terms.lane_bytes, chosen)

    def submission(self, place: int, update: SealedUpdate, round_: int = FIRST_ROUND) -> SealedSubmission:
        weight, _ = self.update(place, round_)
        roots = self.terms.rules.digest(), model_root(self.base), self.epoch.root
        masked = Masked(round_, *roots, update.masked_root, update.seeds_root, weight, 1, 1, 1, 1, 2**40, CID)
        member = self.member(place)
        return SealedSubmission(member, masked, masked.sign(DOMAIN, self.accounts[member].key))

    def close(self, included: Collection[int], round_: int = FIRST_ROUND) -> Close:
        return Close(self.epoch, round_, bitmap(self.count, included))


@dataclass
class Played:
    """A round: what members sent, by place."""

    federation: Federation
    close: Close
    updates: Mapping[int, SealedUpdate]

    @cached_property
    def submissions(self) -> dict[int, SealedSubmission]:
        round_ = self.close.round
        return {place: self.federation.submission(place, one, round_) for place, one in self.updates.items()}

    @cached_property
    def files(self) -> dict[int, MaskedFile]:
        game = self.federation
        return {
            place: check_file(
                game.epoch,
                game.member(place),
                self.submissions[place].masked,
                one.file,
                game.elements,
                game.terms.lane_bytes,
            )
            for place, one in self.updates.items()
        }

    def answer_of(self, group: GroupClose, rank: int) -> bytes:
        """The answer of a ready member."""
        game, first = self.federation, group.group.first
        member = group.group.members[rank]
        assert may_answer(self.close, member, model_root(game.base), []).round == self.close.round
        parts = {
            owner: parts_of(group.group, owner, self.files[first + owner].deposit)[rank]
            for owner in group.included
            if owner != rank
        }
        own = self.updates[first + rank].own if rank in group.included else None
        edges = game.first_edges[first + rank].advanced(self.close.round)
        return answer(self.close, member, edges, own, parts)

    def open(self, group: GroupClose, answers: Mapping[int, bytes]) -> Opened:
        game, first = self.federation, group.group.first
        commitments = {rank: self.files[first + rank].commitments for rank in group.included}
        contexts = {
            rank: DOMAIN.place(self.close.round, group.group.members[rank]).context(game.elements)
            for rank in group.included
        }
        return open_group(group, answers, commitments, contexts)

    def file(self, opened: Mapping[int, Opened]) -> SealedFile:
        """The published file, for the groups that were opened."""
        groups = [self.close.groups[number] for number in sorted(opened)]
        order = [group.group.first + rank for group in groups for rank in group.included]
        rules = self.federation.terms.rules
        records = tuple(make_record(self.submissions[place], place, rules) for place in order)
        submissions = tuple(self.submissions[place].to_bytes() for place in order)
        seeds = tuple(
            opened[number].seeds[name]
            for number in sorted(opened)
            for name in self.close.groups[number].wanted
        )
        return SealedFile(records, submissions, seeds)

    def recomputed(self, file: SealedFile, counting: Collection[int]) -> Recomputed:
        return recompute(self.close, sorted(counting), file, self.files, self.federation.terms)


def play(federation: Federation, included: Collection[int], round_: int = FIRST_ROUND) -> Played:
    """Everybody who is included seals and submits."""
    updates = {place: federation.seal(place, round_) for place in included}
    return Played(federation, federation.close(included, round_), updates)
