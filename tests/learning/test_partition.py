"""Dealing examples out among clients."""

from __future__ import annotations

import numpy as np
import pytest

from fedvm.learning.data import ImageData
from fedvm.learning.errors import PartitionError
from fedvm.learning.partition import SCHEMES, Partition, Scheme, partition


def _all(parts: tuple[Partition, ...]) -> np.ndarray:
    return np.concatenate([np.r_[part.train_indices, part.validation_indices] for part in parts])


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_each_example_goes_to_one_place_the_same_each_time(mnist: ImageData, name: str) -> None:
    labels = mnist.train.labels
    parts = partition(labels, 16, Scheme(name), seed=5)
    dealt = _all(parts)
    assert len(np.unique(dealt)) == len(dealt) <= len(labels)
    assert len(dealt) > len(labels) - (32 if name == "shard" else 1)
    again = partition(labels, 16, Scheme(name), seed=5)
    assert all(np.array_equal(a.train_indices, b.train_indices) for a, b in zip(parts, again, strict=True))
    assert all(
        np.array_equal(a.validation_indices, b.validation_indices) for a, b in zip(parts, again, strict=True)
    )
    other = partition(labels, 16, Scheme(name), seed=6)
    assert any(
        not np.array_equal(a.train_indices, b.train_indices) for a, b in zip(parts, other, strict=True)
    )


def test_iid_shares_are_equal_mixed_and_a_tenth_is_for_validation(mnist: ImageData) -> None:
    parts = partition(mnist.train.labels, 16, seed=0)
    assert {len(part) for part in parts} == {281, 282}
    assert {len(part.validation_indices) for part in parts} == {28}
    for part in parts:
        assert np.bincount(mnist.train.labels[part.train_indices], minlength=10).min() > 5


def test_a_smaller_alpha_is_more_one_sided(mnist: ImageData) -> None:
    def largest_share(alpha: float) -> float:
        parts = partition(mnist.train.labels, 8, Scheme("dirichlet", alpha=alpha), seed=1)
        counts = [np.bincount(mnist.train.labels[part.train_indices], minlength=10) for part in parts]
        return float(np.mean([count.max() / count.sum() for count in counts]))

    assert largest_share(0.1) > 0.4 > 0.2 > largest_share(100.0)


def test_pathological_and_shard_limit_the_classes(mnist: ImageData) -> None:
    for part in partition(mnist.train.labels, 10, Scheme("pathological", classes=3), seed=0):
        assert len(np.unique(mnist.train.labels[part.train_indices])) == 3
    for part in partition(mnist.train.labels, 10, Scheme("shard", shards=1), seed=0):
        assert len(np.unique(mnist.train.labels[part.train_indices])) <= 2


def test_no_validation_when_the_fraction_is_zero(mnist: ImageData) -> None:
    parts = partition(mnist.train.labels, 4, seed=0, validation_fraction=0)
    assert [len(part.validation_indices) for part in parts] == [0] * 4
    assert len(_all(parts)) == 4500


def test_errors_say_what_to_do(mnist: ImageData) -> None:
    labels = mnist.train.labels
    with pytest.raises(PartitionError, match=r"20 examples are too few for 16 clients.*fewer clients"):
        partition(labels[:20], 16, seed=0)
    with pytest.raises(PartitionError, match="cannot deal 4500 examples"):
        partition(labels, 16, Scheme("dirichlet", alpha=0.001), seed=0)
    with pytest.raises(PartitionError, match="gives client 0 1 examples"):
        partition(labels[:1500], 16, Scheme("square"), seed=0)
    with pytest.raises(PartitionError, match="did you mean 'dirichlet'"):
        Scheme("dirichelt")
    with pytest.raises(PartitionError, match="alpha must be positive"):
        Scheme("dirichlet", alpha=0)
    with pytest.raises(PartitionError, match="at least 1 client"):
        partition(labels, 0, seed=0)
