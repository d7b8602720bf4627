"""A federation on an embedded chain whose coordinator proposes what a test likes."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from eth_account.signers.local import LocalAccount
from lies import Facts, Lie
from rollup_lies import RollupLie

import conditions
from fedvm.audit.challenge import Challenger, Upheld
from fedvm.audit.preimages import Preimages
from fedvm.chain.artifacts import ROLLUPS, contract_at
from fedvm.chain.disputes import DisputesContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import Proposal, RoundOpened, RoundProposed
from fedvm.chain.rollups import judged_rollup, rollup_judge, submit_rollup
from fedvm.devnet.embedded import EmbeddedChain, open_chain
from fedvm.federation.coordinator.answers import Lookup, OpenQuestion, answer_questions
from fedvm.protocol import (
    Domain,
    Rollup,
    Security,
    Submission,
    Update,
    int32_from_bytes,
    model_root,
    sign_update,
    to_bytes,
    update_tree,
)
from fedvm.protocol.vector import IntVector
from fedvm.store import Cid, ContentStore
from premises import premises_of

ROUND_SECONDS, MOST_MEMBERS = 3600, 8
SECURITY = conditions.security(
    challenge_seconds=600, answer_seconds=60, bond=10**18, demand_fee=10**18 // 256
)


@dataclass
class Court:
    chain: EmbeddedChain
    store: ContentStore
    contract: FederationContract
    base: IntVector
    block: int
    signs: dict[str, tuple[bytes, int]]
    """Root and Σd² that a member signs instead of the true ones."""

    @property
    def coordinator(self) -> LocalAccount:
        return self.chain.account("coordinator")

    @property
    def challenger(self) -> LocalAccount:
        return self.chain.account("user")

    def open_round(self, vectors: list[IntVector], rng: random.Random) -> Facts:
        """Open a round in which the first members send these updates, with weights at random."""
        opened, _ = self.contract.open_round(self.coordinator)
        result = self.contract.submit(self.coordinator, opened.round, self.sign(opened, vectors, rng))
        assert not result.refused
        commitments = [event.commitment for event in result.accepted]
        return Facts(self.base.tolist(), commitments, [vector.tolist() for vector in vectors])

    def open_rollup(
        self,
        vectors: list[IntVector],
        rng: random.Random,
        twist: Callable[[Update], Update] = lambda update: update,
    ) -> tuple[int, int, Rollup]:
        """Open a round and judge what the first members send, which `twist` may change before it is signed; returns
        the round's number, when it was judged, and the honest roll-up."""
        opened, _ = self.contract.open_round(self.coordinator)
        submissions = self.sign(opened, vectors, rng, twist)
        judged_at = int(self.chain.w3.eth.get_block("latest")["timestamp"])
        judge = rollup_judge(self.contract, opened.round, [one.member for one in submissions], judged_at)
        return opened.round, judged_at, judged_rollup(judge, submissions)

    def sign(
        self,
        opened: RoundOpened,
        vectors: list[IntVector],
        rng: random.Random,
        twist: Callable[[Update], Update] = lambda update: update,
    ) -> list[Submission]:
        """Updates of the first members, in ascending order of address."""
        rules = self.contract.rules()
        domain = Domain(self.chain.chain_id, self.contract.address)
        members = [self.chain.account("member", index) for index in range(len(vectors))]
        members.sort(key=lambda member: int(member.address, 16))
        submissions = []
        for member, vector in zip(members, vectors, strict=True):
            place = domain.place(opened.round, member.address)
            tree = update_tree(vector, place)
            root, total = self.signs.get(member.address, (tree.root, tree.sum_squares))
            update = Update(
                round=opened.round,
                rules_hash=opened.rules_hash,
                base_root=opened.base_root,
                update_root=root,
                sum_squares=total,
                elements=rules.elements,
                fraction_bits=rules.fraction_bits,
                examples=rng.randrange(1, 2000),
                accuracy_ppm=500_000,
                loss_micros=1,
                labels=1,
                epsilon_micros=0,
                deadline=opened.deadline,
                cid=Cid.parse(self.store.put(to_bytes(vector))).binary,
            )
            update = twist(update)
            submissions.append(Submission(member.address, update, sign_update(update, domain, member.key)))
        return submissions

    def sign_as(self, member: str, update: Update) -> bytes:
        """The signature of a member, or of a stranger for whom none is named."""
        return sign_update(update, Domain(self.chain.chain_id, self.contract.address), self.key_of(member))

    def key_of(self, member: str) -> bytes:
        """The key of a member, or a stranger's."""
        accounts = (self.chain.account("member", at) for at in range(MOST_MEMBERS))
        return bytes(next((one for one in accounts if one.address == member), self.stranger).key)

    @property
    def stranger(self) -> LocalAccount:
        return self.chain.account("stranger")

    def state(self, number: int, judged_at: int, lie: RollupLie, *, published: bool) -> None:
        """State a roll-up that was made by hand, with its file in the store or not."""
        file = self.store.put(lie.file) if published else str(Cid.of_block(0x55, lie.root))
        latest = self.chain.w3.eth.get_block("latest")
        stated = (
            lie.root,
            lie.records,
            lie.accepted,
            lie.total,
            judged_at,
            bytes(32),  # nothing waits
            latest["number"],
            bytes(latest["hash"]),
            lie.peaks,
            Cid.parse(file).binary,
        )
        rollups = contract_at(self.chain.w3, ROLLUPS, self.contract.rollups())
        bond = self.contract.lacking_bond(self.coordinator.address)
        self.contract.sender.transact(self.coordinator, rollups, "Rollups.submit", number, stated, value=bond)

    def state_honest(self, number: int, judged_at: int, rollup: Rollup) -> None:
        """State a roll-up as it is, with its file in the store."""
        cid = Cid.parse(self.store.put(rollup.to_bytes())).binary
        submit_rollup(self.contract, self.coordinator, number, rollup, judged_at=judged_at, cid=cid)

    @property
    def disputes(self) -> DisputesContract:
        return DisputesContract(self.chain.w3, self.contract.disputes())

    def propose(self, lie: Lie) -> None:
        """Propose these roots, under the CID of some model."""
        cid = Cid.of_block(0x55, lie.model_root).binary
        proposal = Proposal(
            premises_of(self.contract), lie.aggregation_root, lie.aggregate_root, lie.model_root, cid
        )
        number = self.contract.current_round()
        standing = self.contract.round(number)
        bonded = standing.rolled_up and standing.attempt == 0
        self.contract.propose(self.coordinator, number, proposal, bonded=bonded)

    def challenge(self, *, published: Preimages, answered: Preimages) -> Upheld | None:
        """Challenge the proposal while the coordinator has published some preimages and answers with others."""

        def pass_time(seconds: int) -> None:
            *_, proposed = self.contract.events([RoundProposed], first=self.block)
            assert isinstance(proposed, RoundProposed)
            if not answer_questions(self.contract, self.coordinator, proposed, finder):
                self.chain.advance_time(seconds)

        def finder(questions: Collection[OpenQuestion]) -> Lookup:
            return answered

        challenger = Challenger(
            self.contract,
            self.store,
            self.challenger,
            source=published,
            pass_time=pass_time,
            first_block=self.block,
        )
        return challenger.challenge()

    def give_up(self) -> None:
        """Let time pass until the round can be failed, so that the next can open."""
        number = self.contract.current_round()
        now = int(self.chain.w3.eth.get_block("latest")["timestamp"])
        self.chain.advance_time(self.contract.fails_after(self.contract.round(number)) + 1 - now)
        self.contract.fail_round(self.challenger, number)


def create_court(path: Path, *, elements: int, members: int, base: IntVector | None = None,
                 security: Security = SECURITY) -> Court:  # fmt: skip
    path.mkdir(parents=True, exist_ok=True)
    chain = open_chain(path, seed=4, create=True)
    store = ContentStore(path / "store")
    model = np.arange(elements, dtype=np.int32) - 7 if base is None else base
    contract, receipt = FederationContract.deploy(
        chain.w3,
        chain.account("owner"),
        coordinator=chain.account("coordinator").address,
        rules=conditions.rules(
            elements=elements, min_clients=1, round_seconds=ROUND_SECONDS, max_loss_micros=2**63
        ),
        security=security,
        members=[chain.account("member", index).address for index in range(members)],
        model_root=model_root(model),
        model_cid=Cid.parse(store.put(to_bytes(model))).binary,
    )
    assert (int32_from_bytes(to_bytes(model), elements) == model).all()
    return Court(chain, store, contract, model, receipt.block_number, {})


def random_updates(rng: random.Random, count: int, elements: int) -> list[IntVector]:
    """Updates of every magnitude that int32 holds."""
    limits = [2, 2**10, 2**20]
    return [
        np.array([rng.randrange(-limit, limit) for _ in range(elements)], dtype=np.int32)
        for limit in (rng.choice(limits) for _ in range(count))
    ]


def refuse_the_first() -> Callable[[Update], Update]:
    """Lets the first update claim more accuracy than there is."""
    seen: list[Update] = []

    def twist(update: Update) -> Update:
        seen.append(update)
        return replace(update, accuracy_ppm=2_000_000) if len(seen) == 1 else update

    return twist
