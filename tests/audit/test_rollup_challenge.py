"""Every lie in a roll-up is caught by the automatic challenger, on a real chain; an honest one stands."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from court_bench import SECURITY, Court, create_court, random_updates, refuse_the_first
from lies import Facts, honest, random_roots
from rollup_lies import ROLLUP_LIES, RollupLiar

from fedvm.chain.artifacts import ROLLUPS
from fedvm.chain.court import Court as CourtContract
from fedvm.chain.court import Evidence, Fraud
from fedvm.chain.disputes import DataAnswered
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation_types import RoundState
from fedvm.protocol import Refusal, Rollup
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.preimages import by_hash, of_rollup
from fedvm.protocol.rollup import RECORD_NODE
from fedvm.store import Cid

ELEMENTS, MEMBERS = 3, 7
KINDS = list(ROLLUP_LIES)
MODES = ("published", "file", "answered", "withheld")
"""What the coordinator shows: all it hashed, the file alone, that on demand, nothing."""


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    made = create_court(tmp_path_factory.mktemp("court"), elements=ELEMENTS, members=MEMBERS)
    yield made
    made.chain.close()


def _begin(
    court: Court, rng: random.Random, count: int | None = None
) -> tuple[int, int, Rollup, list[list[int]]]:
    """Open a round; its number, when its updates were judged, the honest roll-up, and the vectors that count."""
    vectors = random_updates(rng, count or rng.randrange(3, MEMBERS + 1), court.base.size)
    number, judged_at, rollup = court.open_rollup(vectors, rng, refuse_the_first())
    assert rollup.records[0].reason == Refusal.ACCURACY_TOO_LOW and rollup.accepted == len(vectors) - 1
    return number, judged_at, rollup, [vector.tolist() for vector in vectors[1:]]


def _play(court: Court, number: int, mode: str) -> Fraud:
    """Lie number `number`: state it, propose over it, and challenge it; returns what it fell for."""
    rng = random.Random(number)
    about = KINDS[number % len(KINDS)]
    round_, judged_at, rollup, _ = _begin(court, rng)
    liar = RollupLiar(rollup, court.sign_as, court.stranger.address, rng)
    about(liar)
    lie = liar.build()
    stated = (lie.root, lie.accepted, lie.total, lie.peaks)
    true = [rollup.range.peak(height) for height in sorted(rollup.range.peaks, reverse=True)]
    assert stated != (rollup.tree.root, rollup.accepted, rollup.total_weight, true)
    court.state(round_, judged_at, lie, published=mode in ("published", "file"))
    court.propose(random_roots(rng))
    known, nothing = lie.preimages.get, {}.get
    upheld = court.challenge(
        published=known if mode == "published" else nothing,
        answered=nothing if mode == "withheld" else known,
    )
    assert upheld is not None, f"{about.__name__} ({mode}) was not caught"
    assert upheld.reward == SECURITY.bond // 2, about.__name__
    assert (upheld.fraud is Fraud.MISSING_DATA) == (mode == "withheld")
    assert (upheld.demands == 0) if mode == "published" else (upheld.demands > 0 or mode == "file")
    if upheld.fraud is Fraud.MISSING_DATA:  # what is withheld now may be shown at the next attempt
        court.give_up()
    assert court.contract.round(round_).state is RoundState.FAILED
    return upheld.fraud


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.strip("_"))
def test_each_kind_of_lie_is_caught_and_the_bond_won(court: Court, kind: object) -> None:
    assert _play(court, KINDS.index(kind), "published") is ROLLUP_LIES[kind]  # type: ignore[arg-type,index]


def _number(kind: str) -> int:
    return [about.__name__ for about in KINDS].index(kind)


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("file", "_weight_over_the_cap"),
        ("file", "_record_in_the_padding"),
        ("answered", "_swapped_in_the_range"),
        ("withheld", "_swapped_in_the_range"),
    ],
)
def test_lies_whose_data_are_not_published_are_caught(court: Court, mode: str, kind: str) -> None:
    fell = _play(court, _number(kind), mode)
    assert fell is (Fraud.MISSING_DATA if mode == "withheld" else ROLLUP_LIES[KINDS[_number(kind)]])


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(4))
def test_a_hundred_random_lies_are_all_caught(tmp_path: Path, batch: int) -> None:
    court = create_court(tmp_path, elements=ELEMENTS, members=MEMBERS)
    for number in range(25 * batch, 25 * (batch + 1)):
        rng = random.Random(1000 + number)
        kind = KINDS[number % len(KINDS)]
        mode = rng.choices(MODES, [8, 8, 1, 3])[0]
        fell = _play(court, 10 * len(KINDS) * (1 + number) + _number(kind.__name__), mode)
        assert fell is (Fraud.MISSING_DATA if mode == "withheld" else ROLLUP_LIES[kind])
    court.chain.close()


def test_an_honest_rollup_stands_against_every_proof(court: Court) -> None:
    """The challenger is silent, and each proof that can be made of an honest roll-up is refused."""
    rng = random.Random(1)
    round_, judged_at, rollup, vectors = _begin(court, rng)
    court.state_honest(round_, judged_at, rollup)
    truth = honest(Facts(court.base.tolist(), list(rollup.commitments), vectors))
    court.propose(truth)
    assert court.challenge(published=truth.preimages.get, answered={}.get) is None
    hearing = court.contract.disputes()
    rollups = CourtContract(court.chain.w3, ROLLUPS, court.contract.rollups(), hearing=hearing)
    for evidence in _slander(rollup):
        with pytest.raises(TransactionFailed, match="NoFraud"):
            rollups.prove(court.challenger, round_, evidence)
    court.chain.advance_time(SECURITY.challenge_seconds + 1)
    court.contract.finalize_round(court.challenger, round_)


def _slander(rollup: Rollup) -> Iterator[Evidence]:
    """Every proof of every record, of every leaf and of every node, as if it were wrong."""
    proofs = [(i, one.as_tuple(), list(rollup.tree.siblings(i))) for i, one in enumerate(rollup.records)]
    none = (0, ("0x" + "00" * 20, 0, 0, 0, 0, EMPTY), [])
    for index, one in enumerate(rollup.judged):
        submission = (one.member, one.update.as_tuple(), one.signature)
        yield _evidence("proveWrongRecord", proofs[index], submission)
        yield _evidence("proveMalformedSubmission", proofs[index], rollup.submissions[index])
        yield _evidence("proveWrongSequence", proofs[index - 1] if index else none, proofs[index])
        node = (False, 0, index, rollup.records[index].preimage(), EMPTY, proofs[index][2])
        yield _evidence("proveMalformedRollup", node)
        if one.reason == Refusal.NONE:
            at = rollup.records[index].accepted - 1
            leaf, siblings = rollup.commitments[at].digest(), list(rollup.range.siblings(at))
            yield _evidence("proveWrongCommitment", proofs[index], submission, leaf, siblings)
    levels = rollup.tree.levels
    for index in range(rollup.tree.count, len(levels[0])):
        siblings = [level[(index >> at) ^ 1] for at, level in enumerate(levels[:-1])]
        yield _evidence("proveMalformedRollup", (False, 0, index, b"", EMPTY, siblings))
    top = RECORD_NODE + levels[-2][0] + levels[-2][1]
    yield _evidence("proveMalformedRollup", (False, 0, 0, top, EMPTY, []))


def _evidence(function: str, *arguments: object) -> Evidence:
    return Evidence(Fraud.WRONG_RECORD, function, arguments, ROLLUPS)


def test_records_that_the_store_lost_are_asked_for(tmp_path: Path) -> None:
    """An honest coordinator answers, its proposal stands, and half of what the questions cost is its own."""
    court = create_court(tmp_path, elements=ELEMENTS, members=3)
    rng = random.Random(3)
    round_, judged_at, rollup, vectors = _begin(court, rng, 3)
    court.state_honest(round_, judged_at, rollup)
    truth = honest(Facts(court.base.tolist(), list(rollup.commitments), vectors))
    court.propose(truth)
    file = court.store.file_of(Cid.of_block(0x55, rollup.to_bytes()))
    data = file.read_bytes()
    file.unlink()
    known = by_hash(of_rollup(data))
    assert court.challenge(published=truth.preimages.get, answered=known.get) is None
    answered = [one.levels for one in court.disputes.events([DataAnswered]) if isinstance(one, DataAnswered)]
    assert answered == [
        3,
        1,
        1,
        1,
    ]  # the records at once, then what was received; the range follows from these
    now = int(court.chain.w3.eth.get_block("latest")["timestamp"])
    court.chain.advance_time(court.contract.round(round_).until + 1 - now)
    court.contract.finalize_round(court.challenger, round_)
    units = sum(1 << (levels - 1) for levels in answered)
    assert court.disputes.owed(court.coordinator.address) == units * SECURITY.demand_fee // 2
    court.chain.close()
