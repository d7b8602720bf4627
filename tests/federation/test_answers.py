"""A waiting coordinator answers what is asked of its proposal, from the store; what is lost brings it down."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from federation_bench import Bench, MakeBench

from fedvm.chain.disputes import DataAnswered, DataDemanded, DataGiven, DisputesContract, Question
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RollupSubmitted, RoundState
from fedvm.evm.keccak import keccak
from fedvm.federation import FederationSettings
from fedvm.store import Cid

PLACES = {
    0x01: (1, 49),
    0x03: (1, 33),
    0x04: (9,),
    0x06: (1, 33),
    0x07: (9,),
    0x08: (9, 41),
    0x09: (9, 41, 73),
}
PLACES |= {0x0A: (25,), 0x0B: (1, 33), 0x0C: (38,), 0x0D: (1, 33)}
"""Where preimages hold hashes, as docs/protocol.md has it."""


class Curious:
    """Somebody who demands what stands behind a proposal, step by step, before time passes."""

    def __init__(self, bench: Bench, steps: int, each: int = 4) -> None:
        self._bench, self._steps, self._each = bench, steps, each
        self.contract = FederationContract(bench.chain.w3, bench.ledger.address)
        self.disputes = DisputesContract(bench.chain.w3, self.contract.disputes())
        self._rng = random.Random(3)
        self._trails: dict[bytes, tuple[bytes, ...]] = {}

    def __call__(self, seconds: int) -> None:
        if not self._steps:
            self._bench.chain.advance_time(seconds)
            return
        self._steps -= 1
        account, number = self._bench.chain.account("user"), self.contract.current_round()
        asked = self.asked
        open_ = [one for one in self._hashes(number) if one not in {digest for digest, _ in asked}]
        for wanted in self._rng.sample(open_, min(len(open_), self._each)):
            levels = self._rng.randrange(1, 7)
            self.disputes.demand(account, number, Question(wanted, self._trails[wanted], levels))

    def _hashes(self, number: int) -> list[bytes]:
        """All that can be demanded by now."""
        round_ = self.contract.round(number)
        roots = [bytes(round_.aggregation_root), bytes(round_.aggregate_root), bytes(round_.model_root)]
        for event in self.contract.events([RollupSubmitted]):
            roots += [bytes(event.records_root), *map(bytes, event.peaks)]  # type: ignore[union-attr]
        self._trails |= dict.fromkeys(roots, ())
        given = self.given
        for _ in range(6):  # a question opens so many levels
            for digest, preimage in given.items():
                for at in PLACES.get(preimage[0], ()) if digest in self._trails else ():
                    if any(preimage[at : at + 32]):
                        trail = (*self._trails[digest], preimage)
                        self._trails.setdefault(preimage[at : at + 32], trail)
        return list(self._trails)

    @property
    def asked(self) -> set[tuple[bytes, int]]:
        events = self.disputes.events([DataDemanded])
        return {(one.hash, one.levels) for one in events if isinstance(one, DataDemanded)}

    @property
    def answered(self) -> set[tuple[bytes, int]]:
        events = self.disputes.events([DataAnswered])
        return {(one.hash, one.levels) for one in events if isinstance(one, DataAnswered)}

    @property
    def given(self) -> dict[bytes, bytes]:
        events = self.disputes.events([DataGiven])
        return {keccak(one.preimage): one.preimage for one in events if isinstance(one, DataGiven)}


def _played(bench: Bench, form: str, curious: Callable[[int], None]) -> None:
    bench.ledger._pass_time = curious
    bench.run(FederationSettings(clients=4, rounds=1, submission=form))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["commitments", "rollup"])
def test_a_run_answers_all_that_is_demanded_while_it_waits(make_bench: MakeBench, form: str) -> None:
    bench = make_bench(4)
    curious = Curious(bench, steps=4)
    _played(bench, form, curious)
    assert curious.contract.round(1).state is RoundState.FINAL
    assert curious.asked == curious.answered and len(curious.answered) >= 12
    kinds = {preimage[0] for preimage in curious.given.values()}
    assert len(kinds) >= 4 and (form == "rollup") == (0x0D in kinds)


def test_what_the_store_lost_is_not_answered_and_brings_the_proposal_down(make_bench: MakeBench) -> None:
    bench = make_bench(4)
    curious = Curious(bench, steps=0)
    account = bench.chain.account("user")
    root = b""

    def lose(seconds: int) -> None:
        nonlocal root
        if root:
            bench.chain.advance_time(seconds)
            if curious.contract.round(1).state is RoundState.PROPOSED:
                curious.disputes.reject_unanswered(account, 1, root, 1)
            bench.ledger._pass_time = bench.chain.advance_time
            return
        (event,) = curious.contract.events([RollupSubmitted])
        assert isinstance(event, RollupSubmitted)
        bench.store.file_of(Cid.from_binary(bytes(event.cid))).unlink()
        root = bytes(event.records_root)
        curious.disputes.demand(account, 1, Question(root, (), 1))

    _played(bench, "rollup", lose)
    assert (root, 1) in curious.asked and (root, 1) not in curious.answered
    assert curious.disputes.claim_share(account, 1, 1) == curious.contract.security().bond // 2
    round_ = curious.contract.round(1)
    assert (round_.state, round_.attempt) == (RoundState.FINAL, 2)  # proposed again, and nobody asked
