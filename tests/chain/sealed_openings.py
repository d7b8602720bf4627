"""What each proof of a sealed federation opens of a stated round; all of it fails against a true one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sealed_game import ELEMENTS, Game, Play, play
from stated_tree import Forge, StatedTree

from fedvm.chain import sealed_proofs as proofs
from fedvm.chain.court import Evidence
from fedvm.chain.epochs import roster_proof
from fedvm.chain.sealed_proofs import (
    LaneProof,
    NormNode,
    RangeNode,
    Reading,
    RevealedSeeds,
    SubmittedNode,
    VectorNode,
)
from fedvm.protocol.commitments import COMMITMENT_NODE
from fedvm.protocol.proofs import open_plain
from fedvm.protocol.sealed.aggregation import GroupNode
from fedvm.protocol.sealed.trees import (
    SEED,
    masked_leaf,
    masked_tree,
    norm_leaf,
    norm_node,
    seeds_tree,
)
from fedvm.protocol.trees import model_tree

# Of twenty members, place 4 is not ready: of group 0 nine are included. Of group 1 places 11 and 17 are absent.
NOT_READY, ABSENT = (4,), (11, 17)
WHOLE, PART, LAST = 2, 12, 16
"""Indices among those that count: one of a group without absent members, one of a group with two, and the last, which
is a peak of its own."""


@dataclass(frozen=True)
class Stated:
    """A proposed round, and the tree behind it."""

    play: Play
    tree: StatedTree
    model: np.ndarray

    @property
    def game(self) -> Game:
        return self.play.game

    @property
    def group_level(self) -> int:
        return self.tree.height + 1

    def spot(self, index: int) -> tuple[int, int, int]:
        """Group, rank in the group and position in the tree of one that counts."""
        place = self.play.order[index]
        number = self.game.epoch.draw.grouping.group_of(place)
        group_rank = self.play.counting.index(number)
        before = sum(len(self.play.close.groups[one].included) for one in self.play.counting[:group_rank])
        rank = self.game.epoch.draw.grouping.rank_of(place)
        return number, rank, (group_rank << self.tree.height) + index - before

    def context(self, index: int) -> bytes:
        """Context of the update of one that counts."""
        member = self.game.member(self.play.order[index])
        return self.game.epoch.draw.domain.place(self.play.number, member).context(self.game.base.size)


Prove = Callable[[Stated], Evidence]


def state(game: Game, forge: Forge | None = None, more: int = 0, **playing: Any) -> Stated:
    """A round of which all but the forged nodes, or the last element of the model, is true."""
    played = play(game, ABSENT, **playing)
    played.roll_up()
    return propose(played, forge, more)


def propose(
    played: Play, forge: Forge | None = None, more: int = 0, aggregate: bytes | None = None
) -> Stated:
    """Propose a round that is rolled up. more: what is added to the last element of the model."""
    game = played.game
    height, k = game.epoch.draw.grouping.height, game.terms.lane_bytes
    tree = StatedTree.build(played.unmasked(), height, k, forge)
    model = (game.base + tree.top.sums.vector // np.int64(tree.top.weight)).astype(np.int32)
    model[-1] += more
    root = aggregate or tree.top.preimage[9:41]
    played.propose(tree.top.hash, root, model)
    return Stated(played, tree, model)


# What each proof opens.


def record(index: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        roster = roster_proof(said.game.epoch.draw, said.game.member(said.play.order[index]))
        return proofs.wrong_record(said.play.shape, said.play.seat(index), roster)

    return prove


def range_node(level: int, position: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        levels = said.play.file.range.peaks[4]
        submission = b""
        if level == 0:
            preimage = said.play.file.records[position].preimage()
            submission = said.play.file.submissions[position]
        else:
            preimage = COMMITMENT_NODE + b"".join(levels[level - 1][2 * position : 2 * position + 2])
        siblings = tuple(levels[at][(position >> (at - level)) ^ 1] for at in range(level, 4))
        return proofs.malformed_range(RangeNode(4, position, preimage, siblings), submission)

    return prove


def masked_chunk(index: int, chunk: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        tree = masked(said, index)
        opening = tree.open(chunk)
        preimage = masked_leaf(tree.context, chunk, opening.payload, tree.lane_bytes)
        siblings = tuple(one.hash for one in opening.siblings)
        node = SubmittedNode(False, chunk, preimage, siblings)
        return proofs.malformed_submission(said.play.shape, said.play.seat(index), node)

    return prove


def seed(index: int, *, own: bool = True) -> Prove:
    """Own: the commitment to the member's own seed, which is revealed; else one that is hidden, as a bare hash."""

    def prove(said: Stated) -> Evidence:
        number, rank, _ = said.spot(index)
        group = said.play.close.groups[number]
        place = said.play.order[index]
        file = said.play.files[place]
        tree = seeds_tree(group.group, file.commitments)
        if own:
            revealed = said.play.seeds(number)[rank, rank]
            preimage = SEED + said.context(index) + bytes([rank]) + revealed
            node = SubmittedNode(True, rank, preimage, tree.siblings(rank))
        else:
            other = next(one for one in group.included if one != rank)
            node = SubmittedNode(True, other, b"", tree.siblings(other), file.commitments[other])
        return proofs.malformed_submission(said.play.shape, said.play.seat(index), node)

    return prove


def lane(index: int, chunk: int, block: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        number, rank, position = said.spot(index)
        group, seeds = said.play.close.groups[number], said.play.seeds(number)
        file = said.play.files[said.play.order[index]]
        tree = seeds_tree(group.group, file.commitments)
        others = sorted((rank, *group.absent))
        opened = RevealedSeeds(tuple(seeds[rank, other] for other in others), tree.siblings_of_all(others))
        sums = open_plain(said.tree.at(0, position).sums, chunk)
        proof = LaneProof(said.tree.node(0, position), block, masked(said, index).open(chunk), sums, opened)
        return proofs.wrong_lane(said.play.shape, said.play.seat(index), proof)

    return prove


def reading(group: int, chunk: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        node = group_at(said, group)
        child = said.tree.at(said.tree.height, group)
        opened = Reading(open_plain(child.sums, chunk), open_plain(node.sums, chunk), node.norm.open(chunk))
        stated = said.tree.node(said.group_level, group)
        return proofs.wrong_reading(stated, child.preimage, node.norm.root_preimage, opened)

    return prove


def norm(group: int, preimage: bytes | None = None) -> Prove:
    def prove(said: Stated) -> Evidence:
        root = group_at(said, group).norm.root_preimage if preimage is None else preimage
        return proofs.wrong_norm(said.play.shape, said.tree.node(said.group_level, group), root)

    return prove


def squares(group: int, chunk: int | None) -> Prove:
    """chunk: a leaf; None for the top of the tree."""

    def prove(said: Stated) -> Evidence:
        tree = group_at(said, group).norm
        if chunk is None:
            node = NormNode(0, norm_node(*tree.levels[0]), tree.squares, ())
        else:
            stated = tree.levels[0][chunk][1]
            preimage = norm_leaf(chunk, stated, tree.open(chunk).payload)
            node = NormNode(chunk, preimage, stated, (tree.levels[0][chunk ^ 1],))
        stated_group = said.tree.node(said.group_level, group)
        return proofs.wrong_squares(stated_group, tree.root_preimage, node)

    return prove


def node(level: int, position: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        left, right = children(said, level, position)
        return proofs.wrong_node(said.play.shape, said.tree.node(level, position), left, right)

    return prove


def leaf(index: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        stated = said.tree.node(0, said.spot(index)[2])
        return proofs.wrong_leaf(said.play.shape, stated, said.play.seat(index))

    return prove


def total(level: int, position: int, chunk: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        below = [said.tree.levels[level - 1][2 * position + side] for side in (0, 1)]
        chunks = [None if one is None else open_plain(one.sums, chunk) for one in below]
        assert chunks[0] is not None
        sums = open_plain(said.tree.at(level, position).sums, chunk)
        pair = children(said, level, position)
        return proofs.wrong_sum(said.tree.node(level, position), pair, sums, chunks[0], chunks[1])

    return prove


def mean(chunk: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        trees = model_tree(said.game.base), said.tree.top.sums, model_tree(said.model)
        return proofs.wrong_mean(*(open_plain(tree, chunk) for tree in trees))

    return prove


def vector_chunk(level: int, position: int) -> Prove:
    def prove(said: Stated) -> Evidence:
        tree = said.tree.at(level, position).sums
        preimage = tree.kind.node + tree.levels[0].tobytes()
        holder = said.tree.node(level, position)
        return proofs.malformed_vector(holder, VectorNode(0, preimage, ()))

    return prove


def vector_root(level: int, position: int, preimage: bytes | None = None) -> Prove:
    def prove(said: Stated) -> Evidence:
        tree = said.tree.at(level, position).sums
        true = tree.kind.root + ELEMENTS.to_bytes(8) + tree.levels[-1].tobytes()
        return proofs.malformed_root(said.tree.node(level, position), preimage or true)

    return prove


def masked(said: Stated, index: int) -> Any:
    file = said.play.files[said.play.order[index]]
    return masked_tree(file.lanes, said.play.game.terms.lane_bytes, said.context(index))


def group_at(said: Stated, group: int) -> GroupNode:
    found = said.tree.at(said.group_level, group)
    assert isinstance(found, GroupNode)
    return found


def children(said: Stated, level: int, position: int) -> tuple[bytes, bytes]:
    if level == 0:
        return b"", b""
    if level == said.group_level:
        return said.tree.preimage(level - 1, position), b""
    return said.tree.preimage(level - 1, 2 * position), said.tree.preimage(level - 1, 2 * position + 1)


def node_evidence(said: Stated, node: SubmittedNode) -> Evidence:
    """The proof against what member ``PART`` submitted."""
    return proofs.malformed_submission(said.play.shape, said.play.seat(PART), node)


TRUE: Mapping[str, Prove] = {
    "record, none absent": record(WHOLE),
    "record, two absent": record(PART),
    "range node": range_node(2, 1),
    "range record": range_node(0, WHOLE),
    "masked chunk": masked_chunk(PART, 1),
    "masked chunk, full": masked_chunk(PART, 0),
    "seed, own": seed(PART),
    "seed, hidden": seed(PART, own=False),
    "lane, none absent": lane(WHOLE, 0, 2),
    "lane, two absent": lane(PART, 0, 7),
    "lane, of the last block": lane(PART, 1, 4),
    "lane, beyond the chunk": lane(PART, 1, 5),
    "reading": reading(1, 0),
    "norm": norm(1),
    "squares, leaf": squares(1, 0),
    "squares, short leaf": squares(1, 1),
    "squares, top": squares(1, None),
    "node, leaf": node(0, 2),
    "node, empty": node(0, 9),
    "node, empty inside": node(2, 3),
    "node, in a group": node(1, 9),
    "node, with one child": node(1, 4),
    "node, of a group": node(5, 1),
    "node, top": node(6, 0),
    "leaf": leaf(PART),
    "sum, in a group": total(1, 9, 1),
    "sum, with one child": total(1, 4, 0),
    "sum, top": total(6, 0, 0),
    "mean": mean(1),
    "vector": vector_chunk(5, 1),
    "vector root": vector_root(0, 2),
}

# Of 24 members in three groups of eight: the trees of groups have three levels, over their nodes there are two.
TRUE_OF_THREE: Mapping[str, Prove] = {
    "record": record(20),
    "lane": lane(20, 0, 1),
    "reading": reading(2, 0),
    "norm": norm(2),
    "squares": squares(2, 0),
    "leaf": leaf(20),
    "node above two groups": node(5, 0),
    "node above one group": node(5, 1),
    "top": node(6, 0),
    "last group": node(4, 2),
    "empty group": node(4, 3),
    "sum above two groups": total(5, 0, 0),
    "sum above one group": total(5, 1, 1),
}
