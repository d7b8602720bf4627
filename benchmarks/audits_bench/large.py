"""A long federation, made fast: members whose updates are random numbers, and a coordinator that adds them up."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "audit")]

from court_bench import SECURITY, create_court  # noqa: E402

from fedvm.chain.federation_types import Proposal  # noqa: E402
from fedvm.protocol import CountedUpdate, aggregation_tree, model_root, to_bytes, weighted_mean  # noqa: E402
from fedvm.store import Cid  # noqa: E402
from premises import premises_of  # noqa: E402


@dataclass(frozen=True)
class Made:
    """Where it lies, its address, and the block before its creation."""

    path: Path
    federation: str
    block: int


def make(
    path: Path, *, rounds: int, clients: int, elements: int, tell: Callable[[int], None] = lambda number: None
) -> Made:
    """Record it. tell: called with each round's number when it is final."""
    rng, numbers = random.Random(7), np.random.default_rng(7)
    base = numbers.integers(-(2**20), 2**20, elements, dtype=np.int32)
    court = create_court(path, elements=elements, members=clients, base=base)
    with court.chain:
        for number in range(1, rounds + 1):
            vectors = [numbers.integers(-(2**12), 2**12, elements, dtype=np.int32) for _ in range(clients)]
            opened, _ = court.contract.open_round(court.coordinator)
            submissions = court.sign(opened, vectors, rng)
            told = court.contract.submit(court.coordinator, opened.round, submissions)
            assert not told.refused
            # `sign` gives the vectors to the members in ascending order of address, as events have them.
            counted = [
                CountedUpdate(event.commitment, vector)
                for event, vector in zip(told.accepted, vectors, strict=True)
            ]
            tree = aggregation_tree(counted)
            base = weighted_mean(base, counted).model
            cid = Cid.parse(court.store.put(to_bytes(base))).binary
            roots = tree.root, tree.top.sums.root, model_root(base)
            court.chain.advance_time(SECURITY.open_seconds + 1)
            proposal = Proposal(premises_of(court.contract), *roots, cid)
            court.contract.propose(court.coordinator, opened.round, proposal)
            court.chain.advance_time(SECURITY.challenge_seconds + 1)
            court.contract.finalize_round(court.coordinator, opened.round)
            tell(number)
        return Made(path, court.contract.address, court.block)
