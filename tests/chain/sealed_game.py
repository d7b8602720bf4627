"""A sealed federation on an embedded chain, whose members have real keys, and whose coordinator may lie."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from eth_account.signers.local import LocalAccount
from setup_federation import some_cid

import conditions
from fedvm.chain.court import Court, Evidence
from fedvm.chain.epoch_types import SignedEnrolment
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Proposal, RoundState
from fedvm.chain.sealed_disputes import SealedDisputesContract
from fedvm.chain.sealed_proofs import GroupShape, Seat
from fedvm.chain.sealed_rounds import SealedRoundsContract, sealed_rollup
from fedvm.chain.sender import Receipt
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.protocol import Rules, Submission, Update, model_root, sign_update, update_tree
from fedvm.protocol.sealed.aggregation import UnmaskedUpdate
from fedvm.protocol.sealed.bitmaps import bitmap
from fedvm.protocol.sealed.close import Close
from fedvm.protocol.sealed.coordinator import Opened, check_file, open_group
from fedvm.protocol.sealed.deposit import parts_of
from fedvm.protocol.sealed.edges import Edges
from fedvm.protocol.sealed.epoch import Epoch
from fedvm.protocol.sealed.keys import EpochKeys
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.member import (
    Masking,
    SealedUpdate,
    agree_edges,
    answer,
    encapsulate_to_mates,
    may_answer,
    seal,
)
from fedvm.protocol.sealed.recomputation import Terms, make_record
from fedvm.protocol.sealed.records import SealedFile, SealedRecord, SealedSubmission
from fedvm.protocol.sealed.rules import SealedRules
from fedvm.protocol.sealed.typed_data import Enrol, Masked
from fedvm.protocol.sealed.unmasking import unmask
from fedvm.protocol.vector import to_bytes
from fedvm.protocol.verdict import no_key
from fedvm.store import Cid, Store
from premises import premises_of

ELEMENTS = 102  # two chunks; the last block of the second has six lanes, one word of four and a part of one
RULES = conditions.rules(
    min_clients=2,
    min_examples=1,
    max_examples=1000,
    max_sum_squares=4_000_000,
    elements=ELEMENTS,
    round_seconds=3600,
    min_accuracy_ppm=0,
    max_share_ppm=1_000_000,
    min_labels=0,
    max_epsilon_micros=0,
)
SECURITY = conditions.security(challenge_seconds=1800, answer_seconds=300, open_seconds=60)
SEALED = SealedRules(
    group_size=8,
    epoch_rounds=1000,
    min_roster=16,
    min_groups=1,
    group_norm_ppm=1_000_000,
    noise_squares=0,
    enrol_seconds=600,
    key_seconds=600,
    unmask_seconds=300,
)


def base_of(elements: int) -> np.ndarray:
    return np.arange(elements, dtype=np.int32) * 31 - 1000


BASE = base_of(ELEMENTS)
FOREVER = 2**40
FILE = "the round's file"
FILE_CID = some_cid(FILE)


@dataclass
class Game:
    """The federation after an epoch has begun. gas: of single transactions, by name."""

    chain: EmbeddedChain
    federation: FederationContract
    coordinator: LocalAccount
    accounts: dict[str, LocalAccount]
    base: np.ndarray
    sealed: SealedRules
    epoch: Epoch
    first_edges: dict[int, Edges]
    store: Store | None = None
    gas: dict[str, int] = field(default_factory=dict)
    rules: Rules = RULES

    @cached_property
    def rounds(self) -> SealedRoundsContract:
        return SealedRoundsContract.of(self.federation)

    @cached_property
    def disputes(self) -> SealedDisputesContract:
        return SealedDisputesContract.of(self.federation)

    @cached_property
    def courts(self) -> dict[str, Court]:
        every: tuple[Court, ...] = self.rounds, self.disputes, self.rounds.court()
        return {court.name: court for court in every}

    @property
    def terms(self) -> Terms:
        return Terms(self.rules, self.sealed, self.base, no_key)

    @property
    def challenger(self) -> LocalAccount:
        return self.chain.account("user")

    @property
    def places(self) -> list[int]:
        """The places that are ready."""
        return self.epoch.flags.nonzero()[0].tolist()

    def member(self, place: int) -> str:
        return self.epoch.draw.seats[place].member

    def update(self, place: int, number: int) -> tuple[int, np.ndarray]:
        """Weight and int32 update of a place in a round, within the bound on its norm."""
        chance = np.random.default_rng([place, number])
        return int(chance.integers(1, 1001)), chance.integers(-100, 101, self.base.size, dtype=np.int32)

    def seal(self, place: int, number: int, values: np.ndarray | None = None) -> SealedUpdate:
        weight, honest = self.update(place, number)
        group = self.epoch.group_of(self.member(place))
        weighted = weight * (honest if values is None else values).astype(np.int64)
        edges = self.first_edges[place].advanced(number)
        return seal(
            self.epoch, self.member(place), edges, weighted, self.terms.lane_bytes, Masking.fresh(group)
        )

    def submission(self, place: int, number: int, update: SealedUpdate, **changes: Any) -> SealedSubmission:
        """changes: other fields of `Masked`, and ``signer``, another place that signs."""
        signer = changes.pop("signer", place)
        weight, _ = self.update(place, number)
        masked = Masked(
            number,
            self.rules.digest(),
            model_root(self.base),
            self.epoch.root,
            update.masked_root,
            update.seeds_root,
            examples=weight,
            accuracy_ppm=1,
            loss_micros=1,
            labels=1,
            epsilon_micros=1,
            deadline=FOREVER,
            cid=self.put(f"{place} in {number}", update.file),
        )
        masked = replace(masked, **changes)
        key = self.accounts[self.member(signer)].key
        return SealedSubmission(self.member(place), masked, masked.sign(self.epoch.draw.domain, key))

    def put(self, name: str, data: bytes) -> bytes:
        """The binary CID under which data are stored, or one for a name where nothing is stored."""
        return some_cid(name) if self.store is None else Cid.parse(self.store.put(data)).binary

    def prove(self, number: int, evidence: Evidence) -> Receipt:
        return self.courts[evidence.court].prove(self.challenger, number, evidence)


def create(
    chain: EmbeddedChain,
    count: int,
    sealed: SealedRules = SEALED,
    store: Store | None = None,
    rules: Rules = RULES,
) -> tuple[FederationContract, dict[str, LocalAccount], Receipt]:
    """A federation of ``count`` members before its first epoch, and their accounts by address."""
    accounts = {one.address: one for one in (chain.account("member", index) for index in range(count))}
    base = base_of(rules.elements)
    federation, receipt = FederationContract.deploy(
        chain.w3,
        chain.account("owner"),
        coordinator=chain.account("coordinator").address,
        rules=rules,
        security=SECURITY,
        sealed=sealed,
        members=list(accounts),
        model_root=model_root(base),
        model_cid=some_cid("model 0") if store is None else Cid.parse(store.put(to_bytes(base))).binary,
    )
    return federation, accounts, receipt


def found(
    chain: EmbeddedChain,
    count: int,
    not_ready: Collection[int] = (),
    late: Collection[int] = (),
    sealed: SealedRules = SEALED,
    store: Store | None = None,
    rules: Rules = RULES,
) -> Game:
    """Create a federation of ``count`` members and begin an epoch in it. not_ready: places without keys; late: places
    that set their own bit; store: takes what is published."""
    coordinator = chain.account("coordinator")
    federation, accounts, receipt = create(chain, count, sealed, store, rules)
    gas = {"createSealed": receipt.gas_used}
    epochs = EpochsContract.of(federation)
    gas["openEpoch"] = epochs.open_epoch(coordinator).gas_used
    keys = {member: EpochKeys.generate() for member in accounts}
    signed = [enrolment(epochs, accounts[member], keys[member], sealed, rules=rules) for member in accounts]
    receipts = epochs.enrol(coordinator, 1, signed)
    gas[f"enrol, a member of {count}"] = sum(one.gas_used for one in receipts) // count
    chain.advance_time(SEALED.enrol_seconds + 1)
    gas["closeEnrolment"] = epochs.close_enrolment(coordinator, 1).gas_used
    for _ in range(3):
        chain.advance_time(1)
    gas["draw"] = epochs.draw(coordinator, 1).gas_used
    draw = epochs.drawn(1)
    raw = {member: own.mlkem_public for member, own in keys.items()}
    key_files = {member: encapsulate_to_mates(draw, member, raw) for member in accounts}
    ready = bitmap(count, [place for place in range(count) if place not in {*not_ready, *late}])
    gas["stateReady"] = epochs.state_ready(coordinator, 1, ready).gas_used
    for place in late:
        account = accounts[draw.seats[place].member]
        cid = some_cid(f"key file of {place}")
        standing = epochs.history(1).ready
        assert standing is not None
        gas["addReady"] = epochs.add_ready(account, 1, standing, draw, account.address, cid).gas_used
    chain.advance_time(SECURITY.answer_seconds + 1)
    epoch = epochs.agreed(1)
    data = {member: own.data for member, own in key_files.items()}
    edges = {}
    for place in epoch.flags.nonzero()[0].tolist():
        member = draw.seats[place].member
        others = {other: one for other, one in data.items() if other != member}
        edges[place] = agree_edges(epoch, member, keys[member], key_files[member], others)
    base = base_of(rules.elements)
    return Game(chain, federation, coordinator, accounts, base, sealed, epoch, edges, store, gas, rules)


def enrolment(
    epochs: EpochsContract,
    account: LocalAccount,
    keys: EpochKeys,
    sealed: SealedRules = SEALED,
    signer: LocalAccount | None = None,
    rules: Rules = RULES,
    **changes: Any,
) -> SignedEnrolment:
    """A member's enrolment in the latest epoch. changes: other fields of `Enrol`; signer: who signs it instead."""
    own = keys.enrolment(account.address)
    number = epochs.standing().number
    enrol = Enrol(number, rules.digest(), sealed.digest(), own.x25519, own.mlkem, FOREVER)
    enrol = replace(enrol, **changes)
    return SignedEnrolment(account.address, enrol, enrol.sign(epochs.domain(), (signer or account).key))


@dataclass
class Play:
    """A round that was closed and unmasked. counting: groups."""

    game: Game
    close: Close
    updates: Mapping[int, SealedUpdate]
    submissions: Mapping[int, SealedSubmission]
    counting: tuple[int, ...]
    file: SealedFile

    @property
    def number(self) -> int:
        return self.close.round

    @cached_property
    def files(self) -> dict[int, MaskedFile]:
        return _files(self.game, self.number, self.updates)

    @property
    def shape(self) -> GroupShape:
        groups = bitmap(self.game.epoch.draw.grouping.groups, self.counting)
        return GroupShape(self.game.epoch.ready, self.close.included, groups)

    @property
    def order(self) -> list[int]:
        """The places that count."""
        groups = [self.close.groups[number] for number in self.counting]
        return [group.group.first + rank for group in groups for rank in group.included]

    def seat(self, index: int) -> Seat:
        record, submission = self.file.records[index], self.file.parsed[index]
        return Seat(index, record, self.file.range.siblings(index), submission)

    def seeds(self, group: int) -> dict[tuple[int, int], bytes]:
        """The revealed seeds of a counting group, by its number."""
        left = iter(self.file.seeds)
        every = {
            number: {name: next(left) for name in self.close.groups[number].wanted}
            for number in self.counting
        }
        return every[group]

    def unmasked(self) -> list[list[UnmaskedUpdate]]:
        """The updates that count, group by group."""
        records, k = iter(self.file.records), self.game.terms.lane_bytes
        made = []
        for number in self.counting:
            group, seeds = self.close.groups[number], self.seeds(number)
            files = {rank: self.files[group.group.first + rank] for rank in group.included}
            made.append(
                [
                    UnmaskedUpdate(
                        record.weight, unmask(group, rank, files[rank].lanes, seeds, k), record.digest()
                    )
                    for rank, record in zip(group.included, records, strict=False)
                ]
            )
        return made

    def with_records(self, records: Sequence[SealedRecord], submissions: Sequence[bytes] = ()) -> Play:
        """The same with other records, and other submissions if any are given."""
        said = tuple(submissions) or self.file.submissions
        return replace(self, file=SealedFile(tuple(records), said, self.file.seeds))

    def roll_up(self, peaks: tuple[bytes, ...] | None = None) -> Receipt:
        cid = self.game.put(FILE, self.file.to_bytes())
        rollup = sealed_rollup(self.close, self.counting, self.file, cid)
        if peaks is not None:
            rollup = replace(rollup, peaks=peaks)
        return self.game.rounds.submit(self.game.federation, self.game.coordinator, self.number, rollup)

    def propose(self, aggregation: bytes, aggregate: bytes, model: np.ndarray) -> Receipt:
        federation = self.game.federation
        cid = self.game.put("model", to_bytes(model))
        proposal = Proposal(premises_of(federation), aggregation, aggregate, model_root(model), cid)
        return federation.propose(self.game.coordinator, self.number, proposal, bonded=True)[1]

    def state(self) -> RoundState:
        return self.game.federation.round(self.number).state


def play(
    game: Game,
    absent: Collection[int] = (),
    *,
    values: Mapping[int, np.ndarray] | None = None,
    changes: Mapping[int, Mapping[str, Any]] | None = None,
) -> Play:
    """A round up to its unmasking. absent: ready places that send nothing; values: other updates by place; changes:
    what members sign otherwise."""
    game.federation.open_round(game.coordinator)
    number = game.federation.current_round()
    included = [place for place in game.places if place not in absent]
    included = [place for place in included if game.epoch.group_of(game.member(place)).is_fit]
    updates = {place: game.seal(place, number, (values or {}).get(place)) for place in included}
    submissions = {
        place: game.submission(place, number, one, **(changes or {}).get(place, {}))
        for place, one in updates.items()
    }
    for place, one in submissions.items():
        if place not in (changes or {}):
            check_file(
                game.epoch, one.member, one.masked, updates[place].file, game.base.size, game.terms.lane_bytes
            )
    game.chain.advance_time(SECURITY.open_seconds)
    close = Close(game.epoch, number, bitmap(len(game.epoch.draw.seats), included))
    receipt = game.rounds.close(game.coordinator, number, game.epoch, close.included)
    game.gas["close"] = receipt.gas_used
    told = game.rounds.closed_event(number, receipt.block_number)
    assert (told.closed_hash, told.included) == (close.hash, close.included)
    files = _files(game, number, updates)
    opened = {
        group.group.number: _opened(game, close, group.group.number, updates, files)
        for group in close.groups
        if group.is_open
    }
    counting = tuple(sorted(opened))
    order = [
        close.groups[group].group.first + rank for group in counting for rank in close.groups[group].included
    ]
    seeds = [opened[group].seeds[name] for group in counting for name in close.groups[group].wanted]
    file = SealedFile(
        tuple(make_record(submissions[place], place, game.rules) for place in order),
        tuple(submissions[place].to_bytes() for place in order),
        tuple(seeds),
    )
    return Play(game, close, updates, submissions, counting, file)


def _files(game: Game, number: int, updates: Mapping[int, SealedUpdate]) -> dict[int, MaskedFile]:
    k = game.terms.lane_bytes
    return {
        place: MaskedFile.parse(one.file, game.epoch.group_of(game.member(place)), game.base.size, k)
        for place, one in updates.items()
    }


def _opened(
    game: Game,
    close: Close,
    number: int,
    updates: Mapping[int, SealedUpdate],
    files: Mapping[int, MaskedFile],
) -> Opened:
    """What every ready member of a group answers opens."""
    group, answers = close.groups[number], {}
    first = group.group.first
    for rank in group.group.ready:
        member = group.group.members[rank]
        may_answer(close, member, model_root(game.base), [])
        parts = {
            owner: parts_of(group.group, owner, files[first + owner].deposit)[rank]
            for owner in group.included
            if owner != rank
        }
        own = updates[first + rank].own if rank in group.included else None
        edges = game.first_edges[first + rank].advanced(close.round)
        answers[rank] = answer(close, member, edges, own, parts)
    commitments = {rank: files[first + rank].commitments for rank in group.included}
    domain = game.epoch.draw.domain
    contexts = {
        rank: domain.place(close.round, group.group.members[rank]).context(game.base.size)
        for rank in group.included
    }
    opened = open_group(group, answers, commitments, contexts)
    assert opened.missed is None
    return opened


def propose_open_updates(game: Game) -> int:
    """The number of a round that took updates that are not sealed, and of which something is proposed."""
    opened, _ = game.federation.open_round(game.coordinator)
    domain, base = game.epoch.draw.domain, game.base
    submissions = []
    for place in (0, 1):
        member = game.member(place)
        vector = base * 0
        tree = update_tree(vector, domain.place(opened.round, member))
        update = Update(
            round=opened.round,
            rules_hash=opened.rules_hash,
            base_root=opened.base_root,
            update_root=tree.root,
            sum_squares=tree.sum_squares,
            elements=ELEMENTS,
            fraction_bits=RULES.fraction_bits,
            examples=10,
            accuracy_ppm=1,
            loss_micros=1,
            labels=1,
            epsilon_micros=0,
            deadline=opened.deadline,
            cid=some_cid(member),
        )
        submissions.append(Submission(member, update, sign_update(update, domain, game.accounts[member].key)))
    assert len(game.federation.submit(game.coordinator, opened.round, submissions).accepted) == 2
    game.chain.advance_time(SECURITY.open_seconds)
    proposal = Proposal(
        premises_of(game.federation), b"\1" * 32, b"\2" * 32, model_root(base), some_cid("model")
    )
    game.federation.propose(game.coordinator, opened.round, proposal)
    return opened.round
