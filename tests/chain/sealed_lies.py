"""Lies about a sealed round, each with the proof that must bring it down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sealed_game import ELEMENTS, Game, Play, play
from sealed_openings import (
    ABSENT,
    LAST,
    NOT_READY,
    PART,
    WHOLE,
    Prove,
    Stated,
    lane,
    leaf,
    mean,
    node,
    norm,
    propose,
    reading,
    record,
    squares,
    state,
    total,
    vector_root,
)
from stated_tree import Node, heavier, one_more, with_preimage, with_sums

from fedvm.chain import sealed_proofs as proofs
from fedvm.chain.court import Evidence
from fedvm.chain.sealed_proofs import (
    RangeNode,
    SubmittedNode,
    VectorNode,
)
from fedvm.evm.keccak import keccak
from fedvm.protocol.aggregation import AggregationNode
from fedvm.protocol.commitments import COMMITMENT_NODE
from fedvm.protocol.hashing import EMPTY, plain_root
from fedvm.protocol.sealed.aggregation import GroupNode
from fedvm.protocol.sealed.masked_file import MaskedFile
from fedvm.protocol.sealed.records import SealedRecord
from fedvm.protocol.sealed.trees import (
    MASKED_NODE,
    NORM_ROOT,
    SEED,
    NormTree,
    masked_leaf,
    masked_tree,
    norm_leaf,
    norm_node,
    norm_tree,
    seeds_tree,
)
from fedvm.protocol.trees import aggregate_tree
from fedvm.protocol.vector import to_bytes as int_bytes


def forged(*nodes: tuple[int, int, Callable[[Node], Node]]) -> Callable[[Game], Stated]:
    return partial(state, forge={(level, position): forge for level, position, forge in nodes})


def at_leaf(index: int, change: Callable[[Node], Node]) -> Callable[[Game], Stated]:
    """Leaf of group 0 or 1; their positions follow from the shape that all rounds of the test have."""
    position = index if index < 9 else 16 + index - 9
    return forged((0, position, change))


def other_record(change: Callable[[SealedRecord], SealedRecord], index: int) -> Callable[[Game], Stated]:
    def lie(game: Game) -> Stated:
        played = play(game, ABSENT)
        records = list(played.file.records)
        records[index] = change(records[index])
        played = played.with_records(records)
        played.roll_up()
        return propose(played)

    return lie


def signed_by_another(game: Game) -> Stated:
    return state(game, changes={place_at(PART): {"signer": place_at(WHOLE)}})


def of_another_round(game: Game) -> Stated:
    return state(game, changes={place_at(PART): {"round": 10**6}})


def sworn(**changes: Any) -> Callable[[Game], Stated]:
    """One member signs something else, and the coordinator takes it."""
    return lambda game: state(game, changes={place_at(PART): changes})


def swapped(game: Game) -> Stated:
    """The submission of another member at a place."""
    played = play(game, ABSENT)
    records, said = list(played.file.records), list(played.file.submissions)
    records[PART] = replace(records[PART], submission=records[WHOLE].submission, weight=records[WHOLE].weight)
    said[PART] = said[WHOLE]
    played = played.with_records(records, said)
    played.roll_up()
    return propose(played)


def place_at(index: int) -> int:
    """The place of one that counts, in the shape that all rounds of the test have."""
    order = [place for place in range(20) if place not in (*NOT_READY, *ABSENT)]
    return order[index]


def malformed_peak(game: Game) -> Stated:
    played = play(game, ABSENT)
    last = played.file.range.peak(0)
    played.roll_up(peaks=(keccak(b"junk"), last))
    return propose(played)


def malformed_record(game: Game) -> Stated:
    played = play(game, ABSENT)
    played.roll_up(peaks=(played.file.range.peak(4), keccak(b"junk")))
    return propose(played)


def hollow_range(game: Game) -> Stated:
    """No record lies under the left half of a peak: nobody can show, or ask for, what a leaf says stands there."""
    played = play(game, ABSENT)
    played.roll_up(peaks=(keccak(hollow_node(played)), played.file.range.peak(0)))
    return propose(played)


def hollow_node(played: Play) -> bytes:
    """The node of that peak."""
    return COMMITMENT_NODE + EMPTY + right_of_peak(played)


def right_of_peak(played: Play) -> bytes:
    """What lies under the right half of the peak over sixteen records."""
    peak = played.file.range.peak(4)
    return next(one for one in played.file.range.nodes() if keccak(one) == peak)[33:]


def no_peak(game: Game) -> Stated:
    played = play(game, ABSENT)
    played.roll_up(peaks=(EMPTY, played.file.range.peak(0)))
    return propose(played)


def no_submission(game: Game) -> Stated:
    """A record that names none: no signature and no vector stand behind its leaf."""
    played = play(game, ABSENT)
    records = [*played.file.records[:-1], replace(played.file.records[-1], submission=EMPTY)]
    played = played.with_records(records)
    played.roll_up()
    return propose(played)


def junk_submission(game: Game) -> Stated:
    played = play(game, ABSENT)
    records = [*played.file.records[:-1], replace(played.file.records[-1], submission=keccak(b"junk"))]
    played = played.with_records(records)
    played.roll_up()
    return propose(played)


def hollow_levels(played: Play) -> list[list[bytes]]:
    """Preimages of the nodes below the first peak, by level, where there is 0 in the place of record ``WHOLE``."""
    leaves = [one.digest() for one in played.file.records[:16]]
    leaves[WHOLE] = EMPTY
    levels: list[list[bytes]] = []
    while len(leaves) > 1:
        pairs = zip(leaves[::2], leaves[1::2], strict=True)
        levels.append([COMMITMENT_NODE + left + right for left, right in pairs])
        leaves = [keccak(one) for one in levels[-1]]
    return levels


def record_missing(game: Game) -> Stated:
    """A range without a record of one that counts: nobody can be asked for the preimage of 0."""
    played = play(game, ABSENT)
    played.roll_up(peaks=(keccak(hollow_levels(played)[-1][0]), played.file.range.peak(0)))
    return propose(played)


def hollow_record(said: Stated) -> Evidence:
    """That there is 0 in the place of a record."""
    siblings = said.play.file.range.siblings(WHOLE)
    return proofs.malformed_range(RangeNode(4, WHOLE, b"", siblings))


def last_peak(preimage: Callable[[Stated], bytes], submission: bytes = b"") -> Prove:
    return lambda said: proofs.malformed_range(RangeNode(0, 0, preimage(said), ()), submission)


def forged_masked(make: Callable[[bytes, bytes, int], bytes], game: Game) -> tuple[Stated, SubmittedNode]:
    """A member signs a masked tree whose second leaf has the preimage that ``make`` gives."""
    place, number = place_at(PART), game.federation.current_round() + 1
    update = game.seal(place, number)
    k = game.terms.lane_bytes
    at = game.epoch.draw.domain.place(number, game.member(place)).context(ELEMENTS)
    group = game.epoch.group_of(game.member(place))
    tree = masked_tree(MaskedFile.parse(update.file, group, ELEMENTS, k).lanes, k, at)
    preimage = make(at, update.file[64 * k : ELEMENTS * k], k)
    beside = tree.levels[0][0].tobytes()
    root = keccak(MASKED_NODE + beside + keccak(preimage))
    said = state(game, changes={place: {"masked_root": root}})
    return said, SubmittedNode(False, 1, preimage, (beside,))


def forged_seed(
    game: Game, commitment: Callable[[bytes, int], tuple[bytes, bytes]]
) -> tuple[Stated, SubmittedNode]:
    """A member signs a tree of commitments with another one at its own rank: its hash and preimage."""
    place, number = place_at(PART), game.federation.current_round() + 1
    group = game.epoch.group_of(game.member(place))
    rank = group.rank_of(game.member(place))
    at = game.epoch.draw.domain.place(number, game.member(place)).context(ELEMENTS)
    hashed, preimage = commitment(at, rank)
    tree = seeds_tree(
        group, {other: hashed if other == rank else keccak(bytes([other])) for other in group.ready}
    )
    said = state(game, changes={place: {"seeds_root": tree.root}})
    return said, SubmittedNode(True, rank, preimage, tree.siblings(rank), hashed)


def too_long(game: Game) -> Stated:
    """Whatever its weight in the round, one member alone brings its group beyond the bound."""
    place = place_at(PART)
    weight, _ = game.update(place, game.federation.current_round() + 1)
    return state(game, values={place: np.full(ELEMENTS, 20_000_000 // weight, dtype=np.int32)})


def regrouped(
    sums: Callable[[np.ndarray], np.ndarray] | None = None,
    tree: Callable[[NormTree], NormTree] | None = None,
    root: bytes | None = None,
) -> Callable[[Node], Node]:
    """A group's node with other sums and the squares of these; or with another tree of squares, or root of it."""

    def forge(node: Node) -> Node:
        assert isinstance(node, GroupNode)
        if sums is not None:
            values = sums(node.sums.vector.astype(np.int64).copy())
            stated, squared = aggregate_tree(values), norm_tree(values)
        else:
            stated, squared = node.sums, node.norm
        if tree is not None:
            squared = tree(squared)
        named = squared.root if root is None else root
        preimage = node.preimage[:9] + stated.root + node.preimage[41:73] + named
        return replace(node, sums=stated, norm=squared, preimage=preimage)

    return forge


def other_squares(true: NormTree) -> NormTree:
    """The squares of another vector."""
    return norm_tree(one_more(3)(true.values.astype(np.int64).copy()))


def smaller_leaf(true: NormTree) -> NormTree:
    """The first leaf states that its squares are 0."""
    payload = int_bytes(true.values[:64])
    level = ((keccak(norm_leaf(0, 0, payload)), 0), true.levels[0][1])
    return NormTree(true.values, (level, ((keccak(norm_node(*level)), level[1][1]),)))


def smaller_top(true: NormTree) -> NormTree:
    """The top states one square less than its two children."""
    return NormTree(true.values, (true.levels[0], ((true.top, true.squares - 1),)))


def added(node: Node) -> Node:
    """A node where there must be none."""
    assert node is None
    values = np.zeros(ELEMENTS, dtype=np.int64)
    sums = aggregate_tree(values)
    return AggregationNode(1, sums, b"\x08" + (1).to_bytes(8) + sums.root + bytes(32))


def missing(node: Node) -> Node:
    return None


def other_aggregate(game: Game) -> Stated:
    played = play(game, ABSENT)
    played.roll_up()
    return propose(played, aggregate=keccak(b"another"))


def junk_vector(junk: bytes) -> Callable[[Node], Node]:
    """A node whose sums have an inner node of this preimage."""

    def forge(node: Node) -> Node:
        assert node is not None
        root = plain_root(node.sums.kind.root, ELEMENTS, keccak(junk))
        return replace(node, preimage=node.preimage[:9] + root + node.preimage[41:])

    return forge


NORM_JUNK = NORM_ROOT + bytes(65)

LIES: Mapping[str, tuple[Callable[[Game], Stated], Prove]] = {
    "weight of a record": (
        other_record(lambda one: replace(one, weight=one.weight + 1), PART),
        record(PART),
    ),
    "place of a record": (other_record(lambda one: replace(one, place=20), LAST), record(LAST)),
    "place of one that is absent": (other_record(lambda one: replace(one, place=17), 14), record(14)),
    "place of one that is not ready": (other_record(lambda one: replace(one, place=4), 3), record(3)),
    "signature of another": (signed_by_another, record(PART)),
    "another round": (of_another_round, record(PART)),
    "another epoch": (sworn(epoch_root=bytes(32)), record(PART)),
    "rules of another": (sworn(rules_hash=bytes(32)), record(PART)),
    "past its deadline": (sworn(deadline=1), record(PART)),
    "submission of another": (swapped, record(PART)),
    "malformed peak": (
        malformed_peak,
        lambda said: proofs.malformed_range(RangeNode(4, 0, b"junk", ())),
    ),
    "range with a hole": (
        hollow_range,
        lambda said: proofs.malformed_range(RangeNode(4, 0, b"", (right_of_peak(said.play),))),
    ),
    "range without a peak": (no_peak, lambda said: proofs.malformed_range(RangeNode(4, 0, b"", ()))),
    "record without a submission": (
        no_submission,
        last_peak(lambda said: said.play.file.records[-1].preimage()),
    ),
    "malformed record": (malformed_record, last_peak(lambda _: b"junk")),
    "malformed submission": (
        junk_submission,
        last_peak(lambda said: said.play.file.records[-1].preimage(), b"junk"),
    ),
    "a record missing": (record_missing, hollow_record),
    "lane, none absent": (at_leaf(WHOLE, with_sums(one_more(17))), lane(WHOLE, 0, 2)),
    "lane, two absent": (at_leaf(PART, with_sums(one_more(63))), lane(PART, 0, 7)),
    "lane, of the last block": (at_leaf(PART, with_sums(one_more(101))), lane(PART, 1, 4)),
    "reading of the signs": (forged((5, 1, regrouped(sums=one_more(5)))), reading(1, 0)),
    "squares of another vector": (forged((5, 1, regrouped(tree=other_squares))), reading(1, 0)),
    "norm beyond the bound": (too_long, norm(1)),
    "malformed root of squares": (
        forged((5, 1, regrouped(root=keccak(NORM_JUNK)))),
        norm(1, NORM_JUNK),
    ),
    "squares of a leaf": (forged((5, 1, regrouped(tree=smaller_leaf))), squares(1, 0)),
    "squares of the top": (forged((5, 1, regrouped(tree=smaller_top))), squares(1, None)),
    "weight in a group": (forged((1, 9, heavier)), node(1, 9)),
    "weight of a group": (forged((5, 1, heavier)), node(5, 1)),
    "weight of the top": (forged((6, 0, heavier)), node(6, 0)),
    "another aggregate": (other_aggregate, node(6, 0)),
    "malformed node": (forged((2, 4, with_preimage(lambda one: one + b"\0"))), node(2, 4)),
    "a group that is none": (forged((5, 0, with_preimage(lambda one: b"\x09" + one[1:]))), node(5, 0)),
    "a group without squares": (forged((5, 0, regrouped(root=EMPTY))), node(5, 0)),
    "a leaf without sums": (
        forged((0, 3, with_preimage(lambda one: one[:9] + bytes(32) + one[41:]))),
        node(0, 3),
    ),
    "a leaf too many": (forged((0, 9, added)), node(0, 9)),
    "a leaf missing": (forged((0, 7, missing)), node(0, 7)),
    "a node missing": (forged((1, 0, missing)), node(1, 0)),
    "weight of a leaf": (at_leaf(PART, heavier), leaf(PART)),
    "record of a leaf": (at_leaf(PART, with_preimage(lambda one: one[:41] + bytes(32))), leaf(PART)),
    "sum in a group": (forged((1, 9, with_sums(one_more(70)))), total(1, 9, 1)),
    "sum over one child": (forged((1, 4, with_sums(one_more(7)))), total(1, 4, 0)),
    "sum at the top": (forged((6, 0, with_sums(one_more(7)))), total(6, 0, 0)),
    "mean": (partial(state, more=1), mean(1)),
    "vector with a malformed node": (
        forged((0, 2, junk_vector(b"junk"))),
        lambda said: proofs.malformed_vector(said.tree.node(0, 2), VectorNode(0, b"junk", ())),
    ),
    "vector with a malformed root": (
        forged((0, 2, with_preimage(lambda one: one[:9] + keccak(b"junk") + one[41:]))),
        vector_root(0, 2, b"junk"),
    ),
}

LIES_OF_THREE: Mapping[str, tuple[Callable[[Game], Stated], Prove]] = {
    "weight above two groups": (forged((5, 0, heavier)), node(5, 0)),
    "weight above one group": (forged((5, 1, heavier)), node(5, 1)),
    "weight of the last group": (forged((4, 2, heavier)), node(4, 2)),
    "a group too many": (forged((4, 3, added)), node(4, 3)),
    "a leaf too many, in a group too many": (forged((0, 24, added)), node(0, 24)),
    "a group missing": (forged((4, 1, missing)), node(4, 1)),
    "a node above groups missing": (forged((5, 0, missing)), node(5, 0)),
    "a malformed node above groups": (
        forged((5, 1, with_preimage(lambda one: b"\x3c" + one[1:]))),
        node(5, 1),
    ),
    "sum above two groups": (forged((5, 0, with_sums(one_more(2)))), total(5, 0, 0)),
    "sum above one group": (forged((5, 1, with_sums(one_more(80)))), total(5, 1, 1)),
    "reading of the last group": (forged((4, 2, regrouped(sums=one_more(5)))), reading(2, 0)),
}

NODE_LIES: Mapping[str, Callable[[Game], tuple[Stated, SubmittedNode]]] = {
    "a chunk of another index": partial(forged_masked, lambda at, payload, k: masked_leaf(at, 0, payload, k)),
    "a chunk of another update": partial(
        forged_masked, lambda at, payload, k: masked_leaf(bytes(32), 1, payload, k)
    ),
    "a chunk that is too short": partial(
        forged_masked, lambda at, payload, k: masked_leaf(at, 1, payload[k:], k)
    ),
    "a chunk of wider lanes": partial(
        forged_masked, lambda at, payload, k: masked_leaf(at, 1, payload[: 35 * k], k) + payload[35 * k :]
    ),
    "a revealed seed that is missing": lambda game: forged_seed(game, lambda at, rank: (EMPTY, b"")),
    "a seed of another rank": lambda game: forged_seed(
        game, lambda at, rank: _hashed(SEED + at + bytes([rank + 1]) + bytes(32))
    ),
    "a seed that is too long": lambda game: forged_seed(
        game, lambda at, rank: _hashed(SEED + at + bytes([rank]) + bytes(33))
    ),
}


def _hashed(preimage: bytes) -> tuple[bytes, bytes]:
    return keccak(preimage), preimage
