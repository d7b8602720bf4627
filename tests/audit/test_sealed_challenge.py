"""The automatic challenger against sealed rounds: every lie is found and proved, and a true round stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from sealed_game import ELEMENTS, RULES, SECURITY, Game, found, play, propose_open_updates
from sealed_lies import (
    LIES,
    NODE_LIES,
    NORM_JUNK,
    forged,
    hollow_levels,
    hollow_node,
    missing,
    place_at,
    regrouped,
    sworn,
)
from sealed_openings import ABSENT, NOT_READY, PART, Stated, propose, state
from setup_federation import some_cid
from stated_tree import one_more, with_preimage

from fedvm.audit.challenge import Challenger, Upheld
from fedvm.chain.court import Fraud
from fedvm.chain.federation_types import RoundProposed, RoundState
from fedvm.chain.sealed_proofs import SubmittedNode
from fedvm.devnet.embedded import open_chain
from fedvm.evm.keccak import keccak
from fedvm.federation.coordinator.answers import Lookup, OpenQuestion, answer_questions
from fedvm.protocol import model_tree
from fedvm.protocol.hashing import EMPTY
from fedvm.protocol.preimages import by_hash, of_aggregation, of_vector
from fedvm.protocol.sealed.aggregation import GroupNode
from fedvm.protocol.sealed.trees import MASKED_NODE, SEED, NormTree, masked_tree, norm_node, seeds_tree
from fedvm.store import Cid, ContentStore

Known = Mapping[bytes, bytes]
SUMS_ROOT = b"\x07"


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    path: Path = tmp_path_factory.mktemp("sealed")
    with open_chain(path / "chain.sqlite", seed=11, create=True) as chain:
        yield found(chain, 20, NOT_READY, late=(12,), store=ContentStore(path / "store"))


@pytest.fixture(autouse=True)
def between(game: Game) -> Iterator[None]:
    """Ends the round that a test leaves open."""
    yield
    number = game.federation.current_round()
    stands = game.federation.round(number).state
    if stands is RoundState.PROPOSED:
        game.chain.advance_time(20 * SECURITY.challenge_seconds)
        game.federation.finalize_round(game.coordinator, number)
        pytest.fail("a false proposal became final")
    if not stands.is_over:
        game.chain.advance_time(RULES.round_seconds * 2)
        game.federation.fail_round(game.coordinator, number)


def stated_preimages(said: Stated, *more: bytes) -> Known:
    """What the coordinator could show of a proposal, lies included."""
    nodes = [node for level in said.tree.levels for node in level if node is not None]
    shown = [*of_aggregation(nodes), *of_vector(model_tree(said.model)), NORM_JUNK, b"junk", *more]
    shown += [preimage for level in hollow_levels(said.play) for preimage in level]
    shown += [SUMS_ROOT + ELEMENTS.to_bytes(8) + keccak(b"junk"), hollow_node(said.play)]
    for node in nodes:
        if isinstance(node, GroupNode):
            shown += node.norm.preimages()
    return by_hash(shown)


def submitted_preimages(said: Stated) -> Known:
    """What it could show of the round's file and of what members sent."""
    play, shown = said.play, list[bytes]()
    for index, place in enumerate(play.order):
        number, rank, _ = said.spot(index)
        group, file = play.close.groups[number].group, play.files[place]
        shown += [play.file.records[index].preimage(), play.file.submissions[index]]
        shown += masked_tree(file.lanes, said.game.terms.lane_bytes, said.context(index)).preimages()
        shown += seeds_tree(group, file.commitments).preimages()
        for (owner, other), seed in play.seeds(number).items():
            if owner == rank:
                shown.append(SEED + said.context(index) + other.to_bytes(1) + seed)
    return by_hash([*shown, *play.file.range.nodes()])


def challenge(game: Game, published: Known, answered: Known | None = None) -> Upheld | None:
    """Challenge while the coordinator has published some preimages, and answers with others."""

    def pass_time(seconds: int) -> None:
        *_, proposed = game.federation.events([RoundProposed])
        assert isinstance(proposed, RoundProposed)
        if not answer_questions(game.federation, game.coordinator, proposed, finder):
            game.chain.advance_time(seconds)

    def finder(questions: Collection[OpenQuestion]) -> Lookup:
        return (answered or {}).get

    assert game.store is not None
    source = published.get
    challenger = Challenger(game.federation, game.store, game.challenger, source=source, pass_time=pass_time)
    return challenger.challenge()


@pytest.mark.quick_cases(every=6)
@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found_and_proved(game: Game, name: str) -> None:
    lie, prove = LIES[name]
    said = lie(game)
    upheld = challenge(game, stated_preimages(said))
    assert upheld is not None
    # With a leaf's weight the top's differs from that of the round, which comes first.
    expected = Fraud.WRONG_NODE if name == "weight of a leaf" else prove(said).fraud
    assert (upheld.fraud, upheld.demands) == (expected, 0)


def above(said: Stated, node: SubmittedNode) -> list[bytes]:
    """Preimages of the nodes of the false tree above a false node, and of the seeds' beside them."""
    if node.of_seeds:
        group = said.game.epoch.group_of(said.game.member(said.play.order[PART]))
        others = {rank: keccak(bytes([rank])) for rank in group.ready}
        return list(seeds_tree(group, {**others, node.position: node.hash}).preimages())
    hashed, shown = keccak(node.preimage), list[bytes]()
    for level, beside in enumerate(node.siblings):
        pair = beside + hashed if node.position >> level & 1 else hashed + beside
        shown.append(MASKED_NODE + pair)
        hashed = keccak(shown[-1])
    return shown


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize("name", NODE_LIES)
def test_what_a_member_submitted_in_a_false_form_is_found(game: Game, name: str) -> None:
    said, node = NODE_LIES[name](game)
    shown = {**submitted_preimages(said), **stated_preimages(said, node.preimage, *above(said, node))}
    upheld = challenge(game, shown)
    assert upheld is not None and upheld.fraud is Fraud.BAD_UPDATE


def other_seed(game: Game) -> tuple[Stated, bytes]:
    """A seed that is not the one committed to, and sums that follow from it; and the true one."""
    played = play(game, ABSENT)
    true = played.file.seeds[0]
    played = replace(played, file=replace(played.file, seeds=(bytes(31) + b"\1", *played.file.seeds[1:])))
    played.roll_up()
    return propose(played), true


def elsewhere(game: Game) -> Stated:
    """A submission whose CID is that of another file."""
    return state(game, changes={place_at(PART): {"cid": some_cid("nothing")}})


def normed(forge: Callable[[NormTree], NormTree]) -> Callable[[Game], Stated]:
    return forged((5, 1, regrouped(tree=forge)))


def junk_leaf(true: NormTree) -> NormTree:
    return with_levels(true, ((keccak(b"junk"), true.levels[0][0][1]), true.levels[0][1]))


def empty_leaf(true: NormTree) -> NormTree:
    return with_levels(true, ((EMPTY, 0), true.levels[0][1]))


def with_levels(true: NormTree, leaves: tuple[tuple[bytes, int], ...]) -> NormTree:
    top = keccak(norm_node(*leaves)), leaves[0][1] + leaves[1][1]
    return NormTree(true.values, (leaves, (top,)))


MORE_LIES: Mapping[str, tuple[Callable[[Game], Stated], Fraud]] = {
    "no masked vector": (sworn(masked_root=EMPTY), Fraud.BAD_UPDATE),
    "no commitments": (sworn(seeds_root=EMPTY), Fraud.BAD_UPDATE),
    "a masked vector that nobody has": (sworn(masked_root=keccak(b"lost")), Fraud.MISSING_DATA),
    "commitments that nobody has": (sworn(seeds_root=keccak(b"lost")), Fraud.MISSING_DATA),
    "a malformed masked vector": (sworn(masked_root=keccak(b"junk")), Fraud.BAD_UPDATE),
    "malformed commitments": (sworn(seeds_root=keccak(b"junk")), Fraud.BAD_UPDATE),
    "a file that nobody has": (elsewhere, Fraud.MISSING_DATA),
    "another seed": (lambda game: other_seed(game)[0], Fraud.MISSING_DATA),
    "a group without a child": (forged((4, 0, missing)), Fraud.WRONG_NODE),
    "a group missing": (forged((5, 0, missing)), Fraud.WRONG_NODE),
    "a malformed leaf of squares": (normed(junk_leaf), Fraud.MALFORMED_VECTOR),
    "a leaf of squares missing": (normed(empty_leaf), Fraud.MALFORMED_VECTOR),
    "other sums and malformed squares": (
        forged((5, 1, lambda node: regrouped(tree=junk_leaf)(regrouped(sums=one_more(3))(node)))),
        Fraud.MALFORMED_VECTOR,
    ),
    "other sums in the last chunk": (forged((5, 1, regrouped(sums=one_more(101)))), Fraud.WRONG_SUM),
    "a group's sums malformed": (
        forged((5, 0, with_preimage(lambda one: one[:9] + keccak(b"junk") + one[41:]))),
        Fraud.MALFORMED_VECTOR,
    ),
}


@pytest.mark.quick_cases(every=6)
@pytest.mark.parametrize("name", MORE_LIES)
def test_other_lies_fall_too(game: Game, name: str) -> None:
    lie, fraud = MORE_LIES[name]
    said = lie(game)
    upheld = challenge(game, stated_preimages(said))
    assert upheld is not None and upheld.fraud is fraud


def test_another_seed_falls_to_the_lanes_when_the_true_one_is_shown(game: Game) -> None:
    said, own = other_seed(game)  # of the first that counts
    shown = by_hash([SEED + said.context(0) + bytes([said.spot(0)[1]]) + own])
    upheld = challenge(game, stated_preimages(said), shown)
    assert upheld is not None and (upheld.fraud, upheld.demands) == (Fraud.WRONG_PRODUCT, 1)


WITHHELD: Mapping[str, Callable[[Stated], bytes]] = {
    "the round's file": lambda said: said.game.rounds.submitted_event(said.play.number).cid,
    "a masked update": lambda said: said.play.file.parsed[PART].masked.cid,
}


def withhold(said: Stated, name: str) -> None:
    assert isinstance(said.game.store, ContentStore)
    said.game.store.file_of(Cid.from_binary(WITHHELD[name](said))).unlink()


@pytest.mark.parametrize("name", WITHHELD)
def test_who_withholds_data_loses(game: Game, name: str) -> None:
    said = state(game)
    withhold(said, name)
    upheld = challenge(game, {}, {})
    assert upheld is not None and upheld.fraud is Fraud.MISSING_DATA and upheld.demands > 0


@pytest.mark.parametrize("name", WITHHELD)
def test_a_true_round_whose_data_are_shown_on_demand_stands(game: Game, name: str) -> None:
    said = state(game)
    withhold(said, name)
    assert challenge(game, {}, submitted_preimages(said)) is None
    conclude(game, said)


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize("lie", ["lane, two absent", "squares of a leaf", "mean", "norm beyond the bound"])
def test_a_lie_that_is_shown_on_demand_falls_to_its_proof(game: Game, lie: str) -> None:
    said = LIES[lie][0](game)
    upheld = challenge(game, {}, stated_preimages(said))
    assert upheld is not None and upheld.fraud is LIES[lie][1](said).fraud


@pytest.mark.parametrize("lie", ["lane, two absent", "mean"])
def test_a_lie_whose_data_are_withheld_falls_for_that(game: Game, lie: str) -> None:
    LIES[lie][0](game)
    upheld = challenge(game, {}, {})
    assert upheld is not None and upheld.fraud is Fraud.MISSING_DATA


def test_a_round_of_open_updates_falls(game: Game) -> None:
    propose_open_updates(game)
    upheld = challenge(game, {})
    assert upheld is not None and (upheld.fraud, upheld.demands) == (Fraud.BAD_UPDATE, 0)


def conclude(game: Game, said: Stated) -> None:
    game.chain.advance_time(20 * SECURITY.challenge_seconds)
    game.federation.finalize_round(game.coordinator, said.play.number)
    game.base = said.model


def test_a_true_round_stands(game: Game) -> None:
    said = state(game)
    assert challenge(game, {}) is None
    conclude(game, said)
