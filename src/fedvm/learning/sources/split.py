"""Set test examples aside when a data set has no test split of its own."""

from __future__ import annotations

import numpy as np

from fedvm.learning.data import Split
from fedvm.learning.errors import DataError


def stratified_split(examples: Split, test_fraction: float, seed: int) -> tuple[Split, Split]:
    """Split so that each class gives the same share to the test set.

    The test set has round(N · fraction) examples; the remainder after equal shares goes to the classes with
    the largest fractional part (largest-remainder method), so that sizes are exact and depend on no library.

    Returns:
        (train, test), each in the original order.

    Raises:
        DataError: too few examples for two non-empty splits.
    """
    count = len(examples)
    wanted = round(count * test_fraction)
    if not 0 < wanted < count:
        raise DataError(f"{count} examples are too few to set {test_fraction:.0%} aside for testing")
    classes, sizes = np.unique(examples.labels, return_counts=True)
    shares = sizes * wanted / count
    quotas = np.floor(shares).astype(int)
    short = wanted - int(quotas.sum())
    # Stable sort of the negated remainders: ties go to the lower class, on every machine.
    quotas[np.argsort(quotas - shares, kind="stable")[:short]] += 1

    rng = np.random.default_rng(seed)
    held_out = np.zeros(count, bool)
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(examples.labels == label)
        held_out[rng.permutation(members)[:quota]] = True
    return examples.take(np.flatnonzero(~held_out)), examples.take(np.flatnonzero(held_out))
