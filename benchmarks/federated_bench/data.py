"""The images of the benchmark: decoded once into arrays on disk, then mapped by every process alike."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federated_bench.recipe import SEED


def prepare(source: Path, target: Path) -> None:
    """Decode CIFAR-10's parquet files in `source` into `target`, in a random order that is always the same."""
    from fedvm.learning.datasets import load_dataset

    if (target / "labels.npy").exists():
        return
    train = load_dataset("cifar10", source, seed=SEED).train
    order = np.random.default_rng(SEED).permutation(len(train))
    target.mkdir(parents=True, exist_ok=True)
    np.save(target / "images.npy", train.images[order])
    np.save(target / "labels.npy", train.labels[order])


@cache
def arrays(folder: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images and labels, mapped into memory once in a process."""
    return np.load(f"{folder}/images.npy", mmap_mode="r"), np.load(f"{folder}/labels.npy", mmap_mode="r")


def share(folder: str, partition: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`size` images uint8 (size, 3, 32, 32) and labels int64 (size,) of one client."""
    images, labels = arrays(folder)
    mine = place(partition, size, len(labels))
    return np.array(images[mine]), np.array(labels[mine])


def place(partition: int, size: int, total: int) -> slice:
    """Where among `total` images one client's are.

    Clients beyond the end of the data begin again at its start, so that there can be any number of them.
    """
    at = partition * size % (total - size + 1)
    return slice(at, at + size)
