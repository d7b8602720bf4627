"""Real data for the tests of `fedvm.learning`: MNIST-5k, and the CIFAR-10 files beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedvm.learning.data import ImageData
from fedvm.learning.datasets import load_dataset


@pytest.fixture(scope="session")
def mnist() -> ImageData:
    return load_dataset("mnist", seed=0)


@pytest.fixture(scope="session")
def cifar10_folder() -> Path:
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/cifar10")
    return folder
