"""A coordinator that lies: builds every tree by hand, with one thing in it that does not follow.

Written over bytes and integers, apart from `fedvm.protocol`'s builders, so that it can build what those refuse.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from fedvm.protocol import Commitment

EMPTY = bytes(32)
MODEL, SUMS = 2, 5


@dataclass
class Book:
    """Every preimage the liar has hashed."""

    preimages: dict[bytes, bytes] = field(default_factory=dict)

    def hash(self, preimage: bytes) -> bytes:
        digest = keccak(preimage)
        self.preimages[digest] = preimage
        return digest

    def vector(
        self,
        kind: int,
        values: Sequence[int],
        *,
        leaf: Callable[[int, bytes], bytes] = lambda index, preimage: preimage,
        node: Callable[[bytes], bytes] = lambda preimage: preimage,
        padding: bytes = EMPTY,
        elements: int | None = None,
        hidden: int | None = None,
    ) -> bytes:
        """Root of a vector; `leaf`, `node`, `padding` and `elements` twist it, and 0 stands for chunk `hidden`."""
        width = 4 if kind == MODEL else 8
        chunks = [values[at : at + 64] for at in range(0, len(values), 64)]
        level = []
        for index, chunk in enumerate(chunks):
            payload = b"".join(value.to_bytes(width, signed=True) for value in chunk)
            preimage = bytes([kind]) + index.to_bytes(4) + len(chunk).to_bytes(4) + payload
            level.append(EMPTY if index == hidden else self.hash(leaf(index, preimage)))
        level += [padding] * ((1 << (len(chunks) - 1).bit_length()) - len(chunks))
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [self.hash(node(bytes([kind + 1]) + a + b)) for a, b in pairs]
        return self.hash(bytes([kind + 2]) + (elements or len(values)).to_bytes(8) + level[0])


@dataclass(frozen=True)
class Facts:
    """What the round was given: base, commitments and vectors of the accepted updates."""

    base: list[int]
    commitments: list[Commitment]
    vectors: list[list[int]]

    @property
    def weight(self) -> int:
        return sum(commitment.weight for commitment in self.commitments)


@dataclass(frozen=True)
class Lie:
    """A proposal's three roots and what they are the hashes of."""

    aggregation_root: bytes
    aggregate_root: bytes
    model_root: bytes
    preimages: dict[bytes, bytes]


@dataclass
class _Node:
    weight: int
    values: list[int]
    sums: bytes
    hash: bytes


class Liar:
    """Builds the proposal of `facts`, honest but for the hooks that a lie sets."""

    def __init__(self, facts: Facts, rng: random.Random) -> None:
        self.facts, self.rng, self.book = facts, rng, Book()
        count = len(facts.commitments)
        self.height = (count - 1).bit_length()
        self.at = (rng.randrange(self.height + 1), 0)
        self.at = (self.at[0], rng.randrange(max(1, -(-count >> self.at[0]) or 1)))
        self.client = rng.randrange(count)
        self.element = rng.randrange(len(facts.base))
        self.delta = rng.choice([-1, 1, rng.randrange(1, 2**20), -rng.randrange(1, 2**20)])
        self.leaf_weight = {index: c.weight for index, c in enumerate(facts.commitments)}
        self.leaf_commitment = {index: c.digest() for index, c in enumerate(facts.commitments)}
        self.vectors = [list(vector) for vector in facts.vectors]
        self.absent: set[int] = set()
        self.extra: dict[int, _Node] = {}
        self.twist_sums: dict[str, object] = {}
        self.twist_node: Callable[[bytes], bytes] = lambda preimage: preimage
        self.has_sums = True
        self.node_weight = 0
        self.node_value = 0
        self.aggregate: Callable[[list[int]], list[int]] = lambda values: values
        self.quotient: Callable[[int, int], int] = lambda total, weight: total // weight
        self.base = list(facts.base)
        self.model_value = 0
        self.twist_model: dict[str, object] = {}

    def build(self) -> Lie:
        level: list[_Node | None] = []
        for index in range(1 << self.height):
            if index < len(self.vectors) and index not in self.absent:
                weight = self.leaf_weight[index]
                values = [self.facts.commitments[index].weight * d for d in self.vectors[index]]
                level.append(self._node(0, index, weight, values, 8, self.leaf_commitment[index]))
            else:
                level.append(self.extra.get(index))
        for height in range(1, self.height + 1):
            below = level
            level = []
            for position in range(len(below) // 2):
                left, right = below[2 * position], below[2 * position + 1]
                children = [child for child in (left, right) if child is not None]
                if not children:
                    level.append(None)
                    continue
                values = [sum(column) for column in zip(*(c.values for c in children), strict=True)]
                hashes = b"".join(EMPTY if c is None else c.hash for c in (left, right))
                weight = sum(child.weight for child in children)
                level.append(self._node(height, position, weight, values, 9, hashes))
        top = level[0]
        assert top is not None
        stated = self.aggregate(top.values)
        own = stated == top.values and top.sums != EMPTY
        aggregate_root = top.sums if own else self.book.vector(SUMS, stated)
        model = [b + self.quotient(s, self.facts.weight) for b, s in zip(self.base, stated, strict=True)]
        model[self.element] += self.model_value
        model_root = self.book.vector(MODEL, model, **self.twist_model)  # type: ignore[arg-type]
        return Lie(top.hash, aggregate_root, model_root, self.book.preimages)

    def _node(
        self, level: int, position: int, weight: int, values: list[int], kind: int, rest: bytes
    ) -> _Node:
        here = (level, position) == self.at
        if here:
            weight += self.node_weight
            values = list(values)
            values[self.element] += self.node_value
        twist = self.twist_sums if here else {}
        sums = self.book.vector(SUMS, values, **twist)  # type: ignore[arg-type]
        if here and not self.has_sums:
            sums = EMPTY
        preimage = bytes([kind]) + weight.to_bytes(8) + sums + rest
        return _Node(weight, values, sums, self.book.hash(self.twist_node(preimage) if here else preimage))


def _wrong_product_or_sum(liar: Liar) -> None:
    liar.node_value = liar.delta


def _other_update(liar: Liar) -> None:
    liar.vectors[liar.client] = [value + liar.delta for value in liar.vectors[liar.client]]


def _omitted_update(liar: Liar) -> None:
    liar.vectors[liar.client] = [0] * len(liar.base)
    liar.vectors[liar.client][liar.element] = 1 + abs(liar.delta)


def _wrong_weight(liar: Liar) -> None:
    liar.node_weight = 1 + abs(liar.delta)


def _absent_leaf(liar: Liar) -> None:
    liar.absent = {liar.client}


def _foreign_commitment(liar: Liar) -> None:
    liar.leaf_commitment[liar.client] = liar.rng.randbytes(32)


def _swapped_leaves(liar: Liar) -> None:
    first, second = liar.client, (liar.client + 1) % len(liar.vectors)
    for table in (liar.leaf_commitment, liar.leaf_weight):
        table[first], table[second] = table[second], table[first]  # type: ignore[index]
    if first == second:
        _foreign_commitment(liar)


def _padded_with_a_leaf(liar: Liar) -> None:
    index = len(liar.vectors)
    if index == 1 << liar.height:
        _foreign_commitment(liar)
        return
    values = [liar.rng.randrange(-99, 99) for _ in liar.base]
    sums = liar.book.vector(SUMS, values)
    preimage = b"\x08" + (5).to_bytes(8) + sums + liar.rng.randbytes(32)
    liar.extra[index] = _Node(5, values, sums, liar.book.hash(preimage))


def _cut_node(liar: Liar) -> None:
    liar.twist_node = lambda preimage: preimage[:-1]


def _long_node(liar: Liar) -> None:
    liar.twist_node = lambda preimage: preimage + b"\x00"


def _node_of_another_kind(liar: Liar) -> None:
    liar.twist_node = lambda preimage: bytes([preimage[0] ^ 1]) + preimage[1:]


def _other_aggregate(liar: Liar) -> None:
    def change(values: list[int]) -> list[int]:
        return [v + liar.delta if i == liar.element else v for i, v in enumerate(values)]

    liar.aggregate = change


def _wrong_model(liar: Liar) -> None:
    liar.model_value = liar.delta


def _division_toward_zero(liar: Liar) -> None:
    quotients = [v * 1 for v in range(3)]
    liar.quotient = lambda total, weight: int(total / weight) if quotients else 0
    totals = [
        sum(c.weight * v[i] for c, v in zip(liar.facts.commitments, liar.facts.vectors, strict=True))
        for i in range(len(liar.base))
    ]
    if all(t >= 0 or t % liar.facts.weight == 0 for t in totals):
        liar.model_value = 1


def _division_upward(liar: Liar) -> None:
    liar.quotient = lambda total, weight: total // weight + 1


def _other_base(liar: Liar) -> None:
    liar.base[liar.element] += liar.delta


def _chunk_index(liar: Liar) -> dict[str, object]:
    wrong = liar.element // 64

    def leaf(index: int, preimage: bytes) -> bytes:
        return preimage[:1] + (index + 1).to_bytes(4) + preimage[5:] if index == wrong else preimage

    return {"leaf": leaf}


def _chunk_count(liar: Liar) -> dict[str, object]:
    wrong = liar.element // 64

    def leaf(index: int, preimage: bytes) -> bytes:
        return preimage[:5] + (7).to_bytes(4) + preimage[9:] if index == wrong else preimage

    return {"leaf": leaf}


def _chunk_length(liar: Liar) -> dict[str, object]:
    wrong = liar.element // 64
    return {"leaf": lambda index, preimage: preimage[:-1] if index == wrong else preimage}


def _vector_node(liar: Liar) -> dict[str, object]:
    if len(liar.base) <= 64:
        return _chunk_index(liar)
    return {"node": lambda preimage: preimage[:1] + preimage[33:] + preimage[1:33] + b"!"}


def _vector_padding(liar: Liar) -> dict[str, object]:
    chunks = -(-len(liar.base) // 64)
    return {"padding": b"\x01" * 32} if chunks & (chunks - 1) else _chunk_index(liar)


def _hidden_chunk(liar: Liar) -> dict[str, object]:
    return {"hidden": liar.element // 64}


def _vector_size(liar: Liar) -> dict[str, object]:
    return {"elements": len(liar.base) + 1}


VECTOR_TWISTS = (
    _chunk_index,
    _chunk_count,
    _chunk_length,
    _vector_node,
    _vector_padding,
    _hidden_chunk,
    _vector_size,
)


def _no_sums(liar: Liar) -> None:
    liar.at, liar.has_sums = (0, liar.client), False


def _chunk_that_nobody_can_show(liar: Liar) -> None:
    liar.model_value, liar.twist_model = liar.delta, _hidden_chunk(liar)


def _malformed_sums(liar: Liar) -> None:
    liar.twist_sums = liar.rng.choice(VECTOR_TWISTS)(liar)


def _malformed_model(liar: Liar) -> None:
    liar.twist_model = liar.rng.choice(VECTOR_TWISTS)(liar)


LIES: tuple[Callable[[Liar], None], ...] = (
    _wrong_product_or_sum,
    _other_update,
    _omitted_update,
    _wrong_weight,
    _absent_leaf,
    _foreign_commitment,
    _swapped_leaves,
    _padded_with_a_leaf,
    _cut_node,
    _long_node,
    _node_of_another_kind,
    _other_aggregate,
    _wrong_model,
    _division_toward_zero,
    _division_upward,
    _other_base,
    _no_sums,
    _chunk_that_nobody_can_show,
    _malformed_sums,
    _malformed_model,
)


def honest(facts: Facts) -> Lie:
    """No lie: what the encodings of the package must equal."""
    return Liar(facts, random.Random(0)).build()


def tell(lie: Callable[[Liar], None], facts: Facts, rng: random.Random) -> Lie:
    """A proposal with one lie in it."""
    liar = Liar(facts, rng)
    lie(liar)
    if liar.absent == set(range(len(facts.vectors))):  # nothing would be left to propose
        liar.absent = set()
        _foreign_commitment(liar)
    return liar.build()


def random_roots(rng: random.Random) -> Lie:
    """Roots of nothing."""
    return Lie(rng.randbytes(32), rng.randbytes(32), rng.randbytes(32), {})
