"""A whole sealed federation on the embedded chain: epochs, rounds, and what the contract tells of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sealed_game import ELEMENTS, FILE_CID, RULES, SEALED, SECURITY, found, play
from setup_federation import make_setup
from stated_tree import StatedTree

from fedvm.chain.epoch_types import EpochState
from fedvm.chain.epochs import EpochsContract
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation_types import RoundState
from fedvm.chain.genuine import deviations, is_sealed
from fedvm.chain.rule_book import RuleBookContract
from fedvm.chain.sealed_rounds import sealed_rollup
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.pipeline import plans
from fedvm.pipeline.errors import UsageError
from fedvm.protocol import model_root
from fedvm.protocol.aggregators import CoordinateMedian
from fedvm.protocol.sealed.recomputation import recompute

# Groups of 9 and 8, of which the second is not fit; groups of 10 and 10, both with somebody missing.
CASES = [(17, {16}, {0}, ({3, 5}, {1})), (20, {4}, {12}, ({11, 17}, {2, 3, 18}))]


@pytest.mark.parametrize(("count", "not_ready", "late", "absences"), CASES)
def test_two_rounds_give_the_plain_weighted_mean(
    chain: EmbeddedChain, count, not_ready, late, absences
) -> None:
    game = found(chain, count, not_ready, late)
    for absent in absences:
        played = play(game, absent)
        rolled = played.roll_up()
        game.gas["submit"] = rolled.gas_used
        told = game.rounds.submitted_event(played.number)
        assert (told.accepted, told.cid) == (len(played.order), FILE_CID)
        assert set(told.peaks_by_height.values()) == set(told.peaks)
        tree = StatedTree.build(played.unmasked(), game.epoch.draw.grouping.height, game.terms.lane_bytes)
        again = recompute(played.close, played.counting, played.file, played.files, game.terms)
        assert again.root == tree.top.hash
        sums, total = np.zeros(ELEMENTS, dtype=np.int64), 0
        for place in played.order:
            weight, values = game.update(place, played.number)
            sums, total = sums + weight * values.astype(np.int64), total + weight
        expected = (game.base + sums // total).astype(np.int32)
        assert np.array_equal(again.aggregate.model, expected)
        receipt = played.propose(tree.top.hash, tree.top.sums.root, expected)
        game.gas["propose"] = receipt.gas_used
        chain.advance_time(SECURITY.challenge_seconds + 1)
        game.gas["finalizeRound"] = game.federation.finalize_round(game.coordinator, played.number)[
            1
        ].gas_used
        assert game.federation.model_root() == model_root(expected)
        game.base = expected
    standing = EpochsContract.of(game.federation).standing()
    assert (standing.state, standing.closed_rounds, standing.first_round) == (EpochState.DRAWN, 2, 1)
    summary = game.rounds.latest()
    assert (summary.round, summary.group_height) == (2, game.epoch.draw.grouping.height)
    print(f"gas, {count} members:", game.gas)


def test_a_genuine_sealed_federation_is_told_from_an_open_one(chain: EmbeddedChain) -> None:
    opened = make_setup(chain).federation
    game = found(chain, 17)
    assert list(deviations(chain.w3, game.federation.address)) == []
    assert list(deviations(chain.w3, opened.address)) == []
    assert is_sealed(chain.w3, game.federation.address) and not is_sealed(chain.w3, opened.address)
    epochs = EpochsContract.of(game.federation)
    assert (epochs.sealed_rules(), epochs.sealed_hash()) == (SEALED, SEALED.digest())
    assert epochs.federation() == game.federation.address
    assert epochs.epoch_root() == game.epoch.root


def test_an_epoch_is_not_cut_short(chain: EmbeddedChain) -> None:
    game = found(chain, 17)
    with pytest.raises(TransactionFailed, match="EpochNotOver"):
        EpochsContract.of(game.federation).open_epoch(game.coordinator)


def test_a_sealed_federation_refuses_rules_that_its_rounds_cannot_have(chain: EmbeddedChain) -> None:
    game = found(chain, 17)
    book = RuleBookContract(chain.w3, game.federation.rule_book())
    for changes, reason in (
        ({"max_sum_squares": 1 << 62}, r"InvalidRule\(maxSumSquares\)"),
        ({"max_sum_squares": (1 << 62) - 1, "max_examples": 10**6}, "LanesTooWide"),
        ({"round_seconds": 240}, r"InvalidSealedRule\(unmaskSeconds\)"),
    ):
        with pytest.raises(TransactionFailed, match=reason):
            book.announce(replace(RULES, **changes)).send(chain.account("owner"))
    book.announce(replace(RULES, max_examples=500)).send(chain.account("owner"))
    with pytest.raises(UsageError, match="FedMedian compares the means of groups"):
        plans.announce(game.federation, replace(RULES, aggregator=CoordinateMedian().identifier))


def test_a_close_must_be_of_the_epoch_that_the_chain_has(chain: EmbeddedChain) -> None:
    # After a reorganised block the same bitmaps can be those of another draw.
    game = found(chain, 17)
    game.federation.open_round(game.coordinator)
    chain.advance_time(SECURITY.open_seconds)
    redrawn = replace(game.epoch, draw=replace(game.epoch.draw, seed=bytes(32)))
    with pytest.raises(TransactionFailed, match=r"InvalidSealedRollup\(epochRoot\)"):
        game.rounds.close(game.coordinator, 1, redrawn, redrawn.ready)
    game.rounds.close(game.coordinator, 1, game.epoch, game.epoch.ready)


def test_a_roll_up_has_a_quorum(chain: EmbeddedChain) -> None:
    # One without could be given up at once, bond and all, and would count as a round of the epoch.
    game = found(chain, 17, not_ready={16})
    book = RuleBookContract(chain.w3, game.federation.rule_book())
    book.announce(replace(RULES, min_clients=10)).send(chain.account("owner"))
    chain.advance_time(SECURITY.notice_seconds)
    book.adopt().send(chain.account("owner"))
    played = play(game)
    true = sealed_rollup(played.close, played.counting, played.file, FILE_CID)
    assert true.accepted == 9
    with pytest.raises(TransactionFailed, match=r"InvalidSealedRollup\(accepted\)"):
        game.rounds.submit(game.federation, game.coordinator, played.number, true)


def test_a_roll_up_must_fit_the_close(chain: EmbeddedChain) -> None:
    game = found(chain, 17, not_ready={16})
    played = play(game)
    with pytest.raises(TransactionFailed, match="AlreadyClosed"):
        game.rounds.close(game.coordinator, played.number, game.epoch, played.close.included)
    true = sealed_rollup(played.close, played.counting, played.file, FILE_CID)
    for changes, reason in (
        ({"counting": b"\x03"}, r"GroupCannotCount\(1\)"),  # it is not fit
        ({"counting": b"\x05"}, r"InvalidSealedRollup\(counting\)"),  # there is no third
        ({"counting": b"\x00", "accepted": 0}, r"TooFewGroups\(0, 1\)"),
        ({"accepted": true.accepted + 1}, r"InvalidSealedRollup\(accepted\)"),
        ({"ready": b"\xff\xff\x01"}, r"InvalidSealedRollup\(ready\)"),
        ({"included": b"\xff\x00\x00"}, r"InvalidSealedRollup\(included\)"),
        ({"cid": b""}, r"InvalidSealedRollup\(cid\)"),
    ):
        with pytest.raises(TransactionFailed, match=reason):
            other = replace(true, **changes)
            game.rounds.submit(game.federation, game.coordinator, played.number, other)
    assert played.state() is RoundState.OPEN
