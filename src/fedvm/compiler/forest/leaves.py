"""The leaves' values as small integers whose sums stay exact."""

from __future__ import annotations

import numpy as np

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.forest.cuts import Ranked
from fedvm.compiler.forest.integer import Branch, IntegerForest, Leaf, Score, Tree
from fedvm.compiler.frontend.tabular import ensemble as real
from fedvm.compiler.frontend.tabular.ensemble import Votes
from fedvm.compiler.graph import FloatArray

ONE_BITS = 16
"""Bits of a leaf's value where a tree adds to one output: they cost a byte of code."""
PACKED_BITS = 8
"""The same where the leaves of a tree have values of several outputs, which share a word."""
SUM_BITS = 23
"""The reference carries integers in float32: below 2²⁴ they are exact."""
WORD = 256
GRID = 1 << 10
"""Leaves that are whole multiples of a number, at most so many times it, are held exactly, as votes are."""
GRID_ERROR = 1e-3


def integer_forest(ranked: Ranked, votes: Votes) -> IntegerForest:
    """The ensemble with whole numbers in its leaves. Raises UnsupportedOperator for too many outputs."""
    ensemble = ranked.ensemble
    matrix, bias = votes.matrix, votes.bias + votes.matrix @ ensemble.base
    pair = ensemble.outputs == 1 and len(matrix) == 2 and matrix[0, 0] == -matrix[1, 0] != 0
    factor = float(abs(matrix[1, 0])) if pair else 1.0
    fold = np.array([[1.0]]) if pair else matrix
    tables = [
        np.array([fold @ n.values for n in tree if isinstance(n, real.Leaf)]) for tree in ensemble.trees
    ]
    outputs = len(fold)
    bits, step = _step(tables, outputs)
    whole = [np.rint(table / step).astype(np.int64) for table in tables]
    least = [table.min(axis=0) for table in whole]
    base = np.sum(least, axis=0)
    trees = tuple(
        _tree(tree, table - low) for tree, table, low in zip(ensemble.trees, whole, least, strict=True)
    )
    scale = step * factor
    offsets = np.rint(bias / scale).astype(np.int64)
    if pair:
        sign = 1 if matrix[1, 0] > 0 else -1
        scores = tuple(
            Score(0, s, int(o) + s * int(base[0])) for s, o in zip((-sign, sign), offsets, strict=True)
        )
    else:
        scores = tuple(
            Score(k, 1, int(o) + int(b)) for k, (o, b) in enumerate(zip(offsets, base, strict=True))
        )
    if max(abs(score.bias) for score in scores) >= 1 << SUM_BITS:
        raise UnsupportedOperator(
            "the trees' base value is too large beside what the leaves add to it; train on a target that is centred"
        )
    notes = (f"leaves of {bits} bits" if bits else "leaves held exactly",)
    head = "shares" if ensemble.positive and not votes.head and len(scores) > 1 else votes.head
    return IntegerForest(ranked.size, ranked.slots, trees, scores, scale, head, notes)


def _step(tables: list[FloatArray], outputs: int) -> tuple[int, float]:
    """Bits of a leaf (0 if all are held exactly), and the real number that 1 stands for."""
    room = min(SUM_BITS, WORD // outputs)
    grid = _grid(tables)
    if grid and _sum_bits(tables, grid) <= room:
        return 0, grid
    widest = max(float(np.ptp(table, axis=0).max()) for table in tables) or 1.0
    single = all((np.ptp(table, axis=0) > 0).sum() < 2 for table in tables)
    for bits in range(ONE_BITS if single else PACKED_BITS, 2, -1):
        step = widest / ((1 << bits) - 1)
        if _sum_bits(tables, step) <= room:
            return bits, step
    raise UnsupportedOperator(
        f"{outputs} outputs of {len(tables)} trees do not fit a word of {WORD} bits; use fewer trees or classes"
    )


def _sum_bits(tables: list[FloatArray], step: float) -> int:
    """Bits of the largest sum of any output."""
    most = np.sum([np.ptp(np.rint(table / step), axis=0) for table in tables], axis=0)
    return int(most.max()).bit_length()


def _grid(tables: list[FloatArray]) -> float:
    """The number of which all leaves are whole multiples, 0 if there is none."""
    values = np.unique(np.abs(np.concatenate([table.ravel() for table in tables])))
    values = values[values > 1e-9 * max(values.max(initial=0.0), 1e-30)]
    if not len(values):
        return 1.0
    step = float(values[0])
    times = values / step
    exact = times.max() <= GRID and np.abs(times - np.rint(times)).max() < GRID_ERROR
    return float(values[-1] / np.rint(times[-1])) if exact else 0.0


def _tree(tree: real.Tree, values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Tree:
    rows = iter(values.tolist())
    made: list[Branch | Leaf] = []
    for node in tree:
        if isinstance(node, real.Leaf):
            made.append(Leaf(tuple(next(rows))))
        else:
            made.append(Branch(node.feature, node.test, int(node.threshold), node.yes, node.no))
    return tuple(made)
