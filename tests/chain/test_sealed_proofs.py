"""Every lie about a sealed round falls to its proof, and no proof holds against a true one; what questions reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sealed_game import RULES, SECURITY, Game, found, propose_open_updates
from sealed_lies import LIES, LIES_OF_THREE, NODE_LIES
from sealed_openings import (
    LAST,
    NOT_READY,
    PART,
    TRUE,
    TRUE_OF_THREE,
    Prove,
    Stated,
    masked,
    node_evidence,
    state,
)

from fedvm.chain import sealed_proofs as proofs
from fedvm.chain.disputes import Answer, DataDemanded, Question
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.federation_types import RoundState
from fedvm.chain.sealed_disputes import SeedQuestion
from fedvm.devnet.embedded import open_chain
from fedvm.protocol.preimages import by_hash, children
from fedvm.protocol.sealed.aggregation import GroupNode
from fedvm.protocol.sealed.trees import SEED, SEED_NODE, seeds_tree


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    path: Path = tmp_path_factory.mktemp("sealed") / "chain.sqlite"
    with open_chain(path, seed=11, create=True) as chain:
        made = found(chain, 20, NOT_READY, late=(12,))
        yield made
        for name, gas in sorted(made.gas.items()):
            print(f"{gas:>12,}  {name}")


@pytest.fixture
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


def fall(game: Game, name: str, number: int, evidence: proofs.Evidence) -> None:
    receipt = game.prove(number, evidence)
    game.gas[f"{evidence.function}: {name}"] = receipt.gas_used
    assert game.federation.round(number).state is not RoundState.PROPOSED


@pytest.mark.quick_cases(every=6)
@pytest.mark.usefixtures("between")
@pytest.mark.parametrize("name", LIES)
def test_a_lie_falls(game: Game, name: str) -> None:
    lie, prove = LIES[name]
    said = lie(game)
    fall(game, name, said.play.number, prove(said))


@pytest.mark.quick_cases(every=3)
@pytest.mark.usefixtures("between")
@pytest.mark.parametrize("name", NODE_LIES)
def test_what_a_member_submitted_in_a_false_form_falls(game: Game, name: str) -> None:
    said, node = NODE_LIES[name](game)
    fall(game, name, said.play.number, node_evidence(said, node))


@pytest.mark.usefixtures("between")
def test_a_round_of_open_updates_falls(game: Game) -> None:
    number = propose_open_updates(game)
    fall(game, "open updates", number, proofs.not_sealed())


@pytest.fixture(scope="module")
def true(game: Game) -> Stated:
    return state(game)


class TestATrueRound:
    """After the lies: the round stays proposed until its questions are answered, and then becomes final."""

    @pytest.mark.quick_cases(every=4)
    @pytest.mark.parametrize("name", TRUE)
    def test_no_proof_holds(self, game: Game, true: Stated, name: str) -> None:
        prove: Prove = TRUE[name]
        with pytest.raises(TransactionFailed, match=r"NoFraud\(\)"):
            game.prove(true.play.number, prove(true))
        assert true.play.state() is RoundState.PROPOSED

    def test_it_is_sealed(self, game: Game, true: Stated) -> None:
        with pytest.raises(TransactionFailed, match=r"NoFraud\(\)"):
            game.prove(true.play.number, proofs.not_sealed())

    def test_a_revealed_seed_is_asked_for_and_given(self, game: Game, true: Stated) -> None:
        number, rank, _ = true.spot(PART)
        group = true.play.close.groups[number]
        for other in (rank, *group.absent):
            question = seed_question(true, PART, other)
            receipt = game.disputes.demand_seed(game.challenger, true.play.number, question)
            game.gas["demandSeed"] = receipt.gas_used
            asked = [
                event
                for event in game.disputes.events([DataDemanded], receipt.block_number)
                if isinstance(event, DataDemanded)
            ]
            assert [(one.hash, one.levels) for one in asked] == [(question.commitment, 1)]
            seed = true.play.seeds(number)[rank, other]
            context = true.context(PART)
            preimage = SEED + context + bytes([other]) + seed
            assert answer(game, true, question.commitment, 1, by_hash([preimage])) == 1

    def test_a_hidden_seed_is_never_asked_for(self, game: Game, true: Stated) -> None:
        number, rank, _ = true.spot(PART)
        for other in true.play.close.groups[number].included:
            if other != rank:
                with pytest.raises(TransactionFailed, match="NotRevealed"):
                    question = seed_question(true, PART, other)
                    game.disputes.demand_seed(game.challenger, true.play.number, question)

    def test_questions_reach_the_tree_of_commitments_but_none_of_these(
        self, game: Game, true: Stated
    ) -> None:
        number, rank, _ = true.spot(LAST)
        group = true.play.close.groups[number].group
        tree = seeds_tree(group, true.play.files[true.play.order[LAST]].commitments)
        trail = [true.play.file.records[LAST].preimage(), true.play.file.submissions[LAST]]
        wanted, height = tree.root, group.height
        for level in reversed(range(height + 1)):
            ask(game, true, wanted, trail, level + 1, refused=True)
            if level:
                ask(game, true, wanted, trail, level, refused=False)
                answer(game, true, wanted, level, by_hash(tree.preimages()))
                pair = tree.levels[level - 1].reshape(-1, 64)[rank >> level].tobytes()
                trail = [*trail, SEED_NODE + pair]
                at = 32 * (rank >> (level - 1) & 1)
                wanted = pair[at : at + 32]

    def test_a_question_above_a_submission_does_not_go_below_it(self, game: Game, true: Stated) -> None:
        record, submission = true.play.file.records[LAST], true.play.file.submissions[LAST]
        ask(game, true, record.digest(), [], 6, refused=False)
        assert answer(game, true, record.digest(), 6, by_hash([record.preimage(), submission])) == 2

    def test_a_masked_vector_is_asked_for_as_a_whole(self, game: Game, true: Stated) -> None:
        tree = masked(true, LAST)
        trail = [true.play.file.records[LAST].preimage(), true.play.file.submissions[LAST]]
        ask(game, true, tree.root, trail, 2, refused=False)
        assert answer(game, true, tree.root, 2, by_hash(tree.preimages())) == 3

    def test_there_are_phases_enough_to_reach_a_seed(self, game: Game) -> None:
        """The aggregation has 4 + 1 + 1 levels above its leaves. Below a submission the way to a seed takes two phases,
        down a vector of 102 elements one: so there is one more, of six levels."""
        assert game.rounds.contract.functions.recordCount().call() == 1 << (4 + 1 + 1 + 6)

    def test_a_question_at_the_top_goes_through_the_groups(self, game: Game, true: Stated) -> None:
        """Levels 6 to 1 of the aggregation, and beside them the squares of both groups' sums: root, top and chunks."""
        nodes = [node for level in true.tree.levels for node in level if node is not None]
        known = [node.preimage for node in nodes]
        for node in nodes:
            if isinstance(node, GroupNode):
                known += list(node.norm.preimages())
        ask(game, true, true.tree.top.hash, [], 6, refused=False)
        # The top, two groups, their sums and squares; below nine leaves and eight, beside them two chunks each.
        assert answer(game, true, true.tree.top.hash, 6, by_hash(known)) == 1 + 2 + 4 + 5 + 9 + 9

    def test_it_becomes_final(self, game: Game, true: Stated) -> None:
        game.chain.advance_time(20 * SECURITY.challenge_seconds)
        game.federation.finalize_round(game.coordinator, true.play.number)
        assert true.play.state() is RoundState.FINAL


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    """Three groups."""
    with open_chain(tmp_path_factory.mktemp("wide") / "chain.sqlite", seed=12, create=True) as chain:
        yield found(chain, 24)


@pytest.mark.quick_cases(every=4)
@pytest.mark.parametrize("name", LIES_OF_THREE)
def test_a_lie_above_several_groups_falls(wide: Game, name: str) -> None:
    lie, prove = LIES_OF_THREE[name]
    said = lie(wide)
    wide.prove(said.play.number, prove(said))
    assert said.play.state() is not RoundState.PROPOSED
    if not said.play.state().is_over:
        wide.chain.advance_time(RULES.round_seconds * 2)
        wide.federation.fail_round(wide.coordinator, said.play.number)


@pytest.mark.slow
def test_no_proof_holds_against_several_true_groups(wide: Game) -> None:
    said = state(wide)
    for name, prove in TRUE_OF_THREE.items():
        with pytest.raises(TransactionFailed, match=r"NoFraud\(\)"):
            wide.prove(said.play.number, prove(said))
            pytest.fail(f"{name} was proved wrong")


def seed_question(said: Stated, index: int, other: int) -> SeedQuestion:
    number, _, _ = said.spot(index)
    group = said.play.close.groups[number].group
    commitments = said.play.files[said.play.order[index]].commitments
    tree = seeds_tree(group, commitments)
    seat = said.play.seat(index)
    place = group.first + other
    return SeedQuestion(said.play.shape, seat, place, commitments[other], tree.siblings(other))


def ask(game: Game, said: Stated, wanted: bytes, trail: list[bytes], levels: int, *, refused: bool) -> None:
    question = Question(wanted, tuple(trail), levels)
    if refused:
        with pytest.raises(TransactionFailed, match="TooManyLevels"):
            game.disputes.demand(game.challenger, said.play.number, question)
    else:
        game.disputes.demand(game.challenger, said.play.number, question)


def answer(game: Game, said: Stated, wanted: bytes, levels: int, known: Mapping[bytes, bytes]) -> int:
    """Answer a question as the contract opens it; the number of preimages that it takes."""
    level, given = [wanted], []
    for _ in range(levels):
        opened = [known[one] for one in level]
        given += opened
        level = [below for one in opened for below in children(one)]
    answered = Answer(wanted, levels, tuple(given))
    game.disputes.answer_many(game.coordinator, said.play.number, [[answered]])
    return len(given)
