"""The thresholds of each feature, moved through what stands before the trees, and the trees over ranks among them.

A scaler before the trees is an increasing (or decreasing) function of each feature. The largest feature that still
passes a threshold is found by bisection over all floating-point numbers, with ONNX Runtime itself as the function, so
that no rounding changes a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.errors import UnsupportedOperator
from fedvm.compiler.forest.integer import BYTE, Slot
from fedvm.compiler.frontend.tabular.ensemble import Branch, Ensemble, Leaf, Tree, Votes
from fedvm.compiler.frontend.tabular.read import Tabular
from fedvm.compiler.frontend.tabular.run import FileRunner, precision_of, run_rows
from fedvm.compiler.graph import FloatArray

Key: TypeAlias = tuple[int, float]
"""A column of the trees' input and a threshold."""
MOST_RANKS = BYTE**2 - 1


@dataclass(frozen=True)
class Cut:
    """What a threshold becomes: `column <= value` of the encoded row, whose answer is exchanged if `swapped`."""

    column: int
    value: float
    swapped: bool


@dataclass(frozen=True, eq=False)
class Ranked:
    """slots, size: of the program's input; ensemble: over slots, whose thresholds are ranks."""

    slots: tuple[Slot, ...]
    size: int
    ensemble: Ensemble


def ranked(tabular: Tabular, votes: Votes, *, missing: bool = False) -> Ranked:
    """The ensemble over ranks among its own thresholds.

    missing: values may be missing, so that a column about which trees disagree in that case is sent twice, once for
    each answer. Raises UnsupportedOperator for trees over mixed features.
    """
    ensemble = _single_tests(votes.ensemble)
    cuts = _cuts(tabular, votes, ensemble)
    values: dict[int, set[float]] = {}
    answers: dict[int, set[bool]] = {}
    for branch in _branches(ensemble):
        cut = cuts[branch.feature, branch.threshold]
        values.setdefault(cut.column, set()).add(cut.value)
        answers.setdefault(cut.column, set()).add(branch.missing_yes != cut.swapped)
    if not values:
        values[0], answers[0] = {0.0}, {False}  # trees without a comparison still take an input
    slots: list[Slot] = []
    position: dict[tuple[int, bool], int] = {}
    at = 0
    for column in sorted(values):
        ordered = tuple(sorted(values[column]))
        if len(ordered) > MOST_RANKS:
            raise UnsupportedOperator(
                f"a feature has {len(ordered):,} thresholds; at most {MOST_RANKS:,} have ranks"
            )
        width = 1 if len(ordered) < BYTE else 2
        goes = sorted(answers[column])
        apart = goes if missing or len(goes) == 1 else [None]
        for answer in apart:
            rank = None if answer is None else 0 if answer else len(ordered)
            for key in goes if answer is None else [answer]:
                position[column, key] = len(slots)
            slots.append(Slot(column, at, width, ordered, rank))
            at += width

    def place(branch: Branch) -> Branch:
        cut = cuts[branch.feature, branch.threshold]
        slot = position[cut.column, branch.missing_yes != cut.swapped]
        yes, no = (branch.no, branch.yes) if cut.swapped else (branch.yes, branch.no)
        code = float(np.searchsorted(np.array(slots[slot].cuts), cut.value))
        return replace(branch, feature=slot, threshold=code, yes=yes, no=no)

    return Ranked(tuple(slots), at, _mapped(ensemble, place))


def _branches(ensemble: Ensemble) -> Iterator[Branch]:
    return (node for tree in ensemble.trees for node in tree if isinstance(node, Branch))


def of_bytes(tabular: Tabular, votes: Votes, scale: FloatArray, offset: FloatArray) -> Ranked:
    """The ensemble over bytes q that stand for `scale · q + offset` of each feature, `[features]`."""
    if not tabular.plain:
        raise UnsupportedOperator("categories are no bytes: give calibration rows as they are, not uint8")
    ensemble = _single_tests(votes.ensemble)
    levels = np.arange(BYTE)[:, None] * scale + offset
    seen = levels if _untouched(tabular, votes) else run_rows(tabular.proto, [votes.source], levels)[0]
    values = np.asarray(seen, np.float32).astype(np.float64)
    columns = [_column_of(votes, feature) for feature in range(votes.columns.size)]
    slots = tuple(Slot(i, i, 1) for i in range(len(tabular.features)))

    def place(branch: Branch) -> Branch:
        hit = values[:, branch.feature] <= branch.threshold
        rising = bool(hit[0]) or not hit.any()
        count = int(hit.sum() if rising else (~hit).sum())
        yes, no = (branch.yes, branch.no) if rising else (branch.no, branch.yes)
        return replace(branch, feature=columns[branch.feature][0], threshold=float(count - 1), yes=yes, no=no)

    return Ranked(slots, len(slots), _mapped(ensemble, place))


def _mapped(ensemble: Ensemble, place: Callable[[Branch], Branch]) -> Ensemble:
    trees: list[Tree] = [
        tuple(place(node) if isinstance(node, Branch) else node for node in tree) for tree in ensemble.trees
    ]
    return replace(ensemble, trees=tuple(trees))


def _single_tests(ensemble: Ensemble) -> Ensemble:
    """The ensemble with comparisons "at most" only: equal to t is at most t and not at most the number before it."""
    return replace(ensemble, trees=tuple(_without_equal(tree) for tree in ensemble.trees))


def _without_equal(tree: Tree) -> Tree:
    if not any(isinstance(node, Branch) and node.test == "==" for node in tree):
        return tree
    made: list[Branch | Leaf] = []

    def add(position: int) -> int:
        node, here = tree[position], len(made)
        made.append(node)
        if isinstance(node, Leaf):
            return here
        if node.test == "<=":
            yes, no = add(node.yes), add(node.no)
            made[here] = replace(node, yes=yes, no=no)
            return here
        below = float(np.nextafter(np.float32(node.threshold), np.float32(-np.inf)))
        inner = len(made)
        made.append(node)
        first, yes = add(node.no), add(node.yes)
        # a missing value is equal to nothing
        made[inner] = Branch(node.feature, "<=", below, first, yes, True)
        made[here] = Branch(node.feature, "<=", node.threshold, inner, add(node.no), node.missing_yes)
        return here

    add(0)
    return tuple(made)


def _column_of(votes: Votes, feature: int) -> tuple[int, float]:
    """The one column that a feature of the trees depends on, and its factor; factor 0 if it depends on none."""
    if not 0 <= feature < votes.columns.size:
        raise UnsupportedOperator(f"a tree compares feature {feature}; it has {votes.columns.size}")
    row = votes.columns.weight[feature]
    used = np.flatnonzero(row)
    if len(used) > 1:
        raise UnsupportedOperator(
            f"the trees compare sums of {len(used)} features (a PCA or another projection stands before them), which "
            "have no ranks; train the trees on the features themselves"
        )
    return (int(used[0]), float(row[used[0]])) if len(used) else (0, 0.0)


def _untouched(tabular: Tabular, votes: Votes) -> bool:
    return votes.source in {value.name for value in tabular.proto.graph.input}


def _cuts(tabular: Tabular, votes: Votes, ensemble: Ensemble) -> dict[Key, Cut]:
    """For every threshold of the trees where it lies among the numbers of its column."""
    keys = sorted({(branch.feature, branch.threshold) for branch in _branches(ensemble)})
    cuts: dict[Key, Cut] = {}
    through: dict[int, list[float]] = {}
    for feature, threshold in keys:
        column, factor = _column_of(votes, feature)
        bias = float(votes.columns.bias[feature])
        if factor == 0:
            cuts[feature, threshold] = Cut(column, np.inf if bias <= threshold else -np.inf, False)
        elif tabular.columns[column].plain and not _untouched(tabular, votes):
            through.setdefault(feature, []).append(threshold)
        else:
            cuts[feature, threshold] = Cut(column, (threshold - bias) / factor, factor < 0)
    if through:
        cuts |= _bisected(tabular, votes, through)
    return {key: _bounded(cut) for key, cut in cuts.items()}


def _bounded(cut: Cut) -> Cut:
    """The cut as a number that JSON holds."""
    most = float(np.finfo(np.float64).max)
    return replace(cut, value=float(np.clip(cut.value, -most, most)))


def _bisected(tabular: Tabular, votes: Votes, through: dict[int, list[float]]) -> dict[Key, Cut]:
    """The largest number of each column on the lower side of each threshold, by bisection over all floats."""
    precision = precision_of(tabular.proto)
    features = sorted(through)
    rows = max(len(values) for values in through.values())
    wanted = np.full((rows, len(features)), np.nan)
    for i, feature in enumerate(features):
        wanted[: len(through[feature]), i] = through[feature]
    columns, factors = zip(*(_column_of(votes, feature) for feature in features), strict=True)
    sources = [tabular.columns[column].feature for column in columns]
    if len(set(sources)) < len(sources):
        # two functions of one feature cannot be looked at in one run
        found: dict[Key, Cut] = {}
        for feature in features:
            if len(features) == 1:
                raise UnsupportedOperator("the trees' features repeat in a way that is not understood")
            found |= _bisected(tabular, votes, {feature: through[feature]})
        return found
    falling = np.array(factors) < 0
    top = _key_of(np.full(wanted.shape, np.finfo(precision).max), precision)
    low, high = -top, top.copy()
    runner = FileRunner(tabular.proto, [votes.source])
    blank = np.array([_any_row(tabular)] * rows, object)

    def passes(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        blank[:, sources] = _float_of(keys, precision).astype(np.float64)
        seen = np.asarray(runner.run(blank)[0], np.float64)[:, features]
        return np.where(falling, seen > wanted, seen <= wanted)

    at_bottom = passes(low)
    while (low < high - 1).any():
        middle = (low >> 1) + (high >> 1) + (low & high & 1)  # the difference may not fit 64 bits
        hit = passes(middle)
        low, high = np.where(hit, middle, low), np.where(hit, high, middle)
    low = np.where(passes(high), high, low)
    values = np.where(at_bottom, _float_of(low, precision).astype(np.float64), -np.inf)
    return {
        (feature, threshold): Cut(columns[i], float(values[r, i]), bool(falling[i]))
        for i, feature in enumerate(features)
        for r, threshold in enumerate(through[feature])
    }


def _any_row(tabular: Tabular) -> list[Any]:
    """A row that the file takes, with a category that it knows wherever it has categories."""
    row: list[Any] = ["" if feature.text else 0.0 for feature in tabular.features]
    for column in tabular.columns:
        if column.kind == "is":
            row[column.feature] = column.category
        elif column.kind == "map" and column.table:
            row[column.feature] = column.table[0][0]
    return row


def _key_of(values: NDArray[Any], precision: Any) -> NDArray[np.int64]:
    """Whole numbers in the order of the floats."""
    kind = np.int32 if precision is np.float32 else np.int64
    bits = values.astype(precision).view(kind).astype(np.int64)
    low = np.iinfo(kind).min
    return np.where(bits >= 0, bits, low - bits)


def _float_of(keys: NDArray[np.int64], precision: Any) -> NDArray[Any]:
    """Inverse of `_key_of`."""
    kind = np.int32 if precision is np.float32 else np.int64
    low = np.iinfo(kind).min
    return np.where(keys >= 0, keys, low - keys).astype(kind).view(precision)
