"""Data sets by name and their validation."""

from __future__ import annotations

import datasets.config
import numpy as np
import pytest

from fedvm.learning.data import ImageData, Split
from fedvm.learning.datasets import load_dataset
from fedvm.learning.errors import DataError
from fedvm.learning.sources import idx
from fedvm.learning.sources.split import stratified_split


def _split(count: int, classes: int = 2, shape: tuple[int, int, int] = (1, 4, 4)) -> Split:
    return Split(np.zeros((count, *shape), np.uint8), np.arange(count, dtype=np.int64) % classes)


def test_mnist_is_split_evenly_by_class_and_by_seed(mnist: ImageData) -> None:
    assert (mnist.shape, len(mnist.train), len(mnist.test)) == ((1, 28, 28), 4500, 500)
    assert np.bincount(mnist.test.labels).tolist() == [50] * 10
    assert np.bincount(mnist.train.labels).tolist() == [450] * 10
    assert mnist.train.images.max() == 255 and mnist.train.images.dtype == np.uint8
    again, other = load_dataset(seed=0), load_dataset(seed=1)
    assert np.array_equal(again.test.images, mnist.test.images)
    assert not np.array_equal(other.test.images, mnist.test.images)


def test_mnist_train_and_test_share_no_image(mnist: ImageData) -> None:
    together = np.concatenate([mnist.train.images, mnist.test.images]).reshape(5000, -1)
    assert len(np.unique(together, axis=0)) == 5000


def test_normalisation_maps_bytes_to_minus_one_to_one(mnist: ImageData) -> None:
    scale, offset = mnist.normalisation.scale, mnist.normalisation.offset
    assert 0 * scale + offset == -1 and 255 * scale + offset == pytest.approx(1, abs=1e-12)


def test_size_resizes_every_image() -> None:
    data = load_dataset("mnist", size=(16, 20))
    assert data.shape == (1, 16, 20)
    assert data.train.images.std() > 30


def test_a_typo_gets_the_near_name() -> None:
    with pytest.raises(DataError, match=r"did you mean 'fashion-mnist'.*Known: cifar10"):
        load_dataset("fashon-mnist")


def test_a_hub_data_set_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"uoft-cs/cifar10.*--data PATH.*'mnist' needs no network"):
        load_dataset("cifar10")


def test_a_split_refuses_wrong_dtypes_and_lengths() -> None:
    with pytest.raises(DataError, match="images must be uint8"):
        Split(np.zeros((2, 1, 4, 4), np.float32), np.zeros(2, np.int64))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"labels must be int64 \[2\]"):
        Split(np.zeros((2, 1, 4, 4), np.uint8), np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("train", "test", "names", "message"),
    [
        (_split(4), _split(0), ("a", "b"), "test split .* is empty"),
        (_split(4), _split(4, shape=(1, 5, 4)), ("a", "b"), "one size"),
        (_split(4, 3), _split(4), ("a", "b"), r"labels span 0\.\.2"),
        (_split(4), _split(4), ("a",), "it has 1"),
    ],
)
def test_image_data_refuses_what_does_not_fit(
    train: Split, test: Split, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ImageData("x", train, test, names)


def test_stratified_split_has_exact_size_with_uneven_classes() -> None:
    labels = np.repeat(np.arange(3), (7, 11, 15)).astype(np.int64)
    examples = Split(np.arange(33, dtype=np.uint8).reshape(33, 1, 1, 1), labels)
    train, test = stratified_split(examples, 0.3, seed=4)
    assert (len(train), len(test)) == (23, 10)
    assert np.bincount(test.labels).tolist() == [2, 3, 5]
    assert sorted([*train.images.flat, *test.images.flat]) == list(range(33))
    with pytest.raises(DataError, match="too few"):
        stratified_split(examples.take(np.arange(2)), 0.1, seed=0)


@pytest.mark.skipif(not idx.FASHION_MNIST.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_from_debians_package() -> None:
    data = load_dataset("fashion-mnist")
    assert (data.shape, len(data.train), len(data.test)) == ((1, 28, 28), 60_000, 10_000)
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
