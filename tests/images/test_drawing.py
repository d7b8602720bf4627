"""The preparation `drawing`: strokes found on any ground, and read by a network that has seen MNIST alone."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from drawings_bench.digits import FACES, drawn
from PIL import Image

from fedvm.images.prepare import Preparation, load_image
from fedvm.learning.data import ImageData
from fedvm.learning.datasets import load_dataset
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.recipes import default_recipe
from fedvm.learning.training import evaluate, train

SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def mnist() -> ImageData:
    return load_dataset("mnist")


def test_digits_of_mnist_pass_unchanged(mnist: ImageData) -> None:
    for pixels in mnist.test.images:
        image = load_image(Image.fromarray(pixels[0]), SHAPE, Preparation.DRAWING)
        assert image.notes == () and np.array_equal(image.pixels, pixels)


def test_what_is_prepared_is_prepared_for_good() -> None:
    for digit in (0, 1, 4, 7):
        for name, picture in drawn(FACES[0], digit, seed=digit):
            once = load_image(picture, SHAPE, Preparation.DRAWING)
            twice = load_image(Image.fromarray(once.pixels[0]), SHAPE, Preparation.DRAWING)
            assert np.array_equal(once.pixels, twice.pixels), (digit, name)


def test_strokes_are_bright_and_in_the_middle_whatever_they_are_drawn_with() -> None:
    for name, picture in drawn(FACES[0], 4, seed=1):
        pixels = load_image(picture, SHAPE, Preparation.DRAWING).pixels[0].astype(float)
        rows, columns = np.flatnonzero(pixels.max(axis=1) > 64), np.flatnonzero(pixels.max(axis=0) > 64)
        middle = [pixels.sum(axis=1) @ np.arange(28), pixels.sum(axis=0) @ np.arange(28)] / pixels.sum()
        assert pixels.max() > 200 and pixels[:2].max() == 0, name
        assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - 20) <= 1, name
        assert np.abs(middle - 14).max() < 0.3, name


def test_what_holds_no_strokes_is_blank() -> None:
    rng = np.random.default_rng(0)
    slope = np.tile(np.linspace(0, 255, 280), (280, 1))
    for name, values in {
        "black": np.zeros((28, 28)),
        "white": np.full((280, 280), 255),
        "one pixel": np.full((1, 1), 7),
        "a line": np.full((1, 300), 9),
        "a slope": slope,
        "noise": rng.integers(0, 256, (280, 280)),
        "small noise": rng.integers(0, 256, (28, 28)),
        "bare paper": np.clip(100 + slope / 2 + rng.normal(0, 7, (280, 280)), 0, 255),
        "clear": np.zeros((28, 28, 4)),
    }.items():
        image = load_image(Image.fromarray(values.astype(np.uint8)), SHAPE, Preparation.DRAWING)
        assert image.blank and not image.pixels.any(), name
        assert "blank" in str(image.notes[-1]), name


def test_a_stroke_may_end_at_the_border() -> None:
    paper = np.full((200, 200), 230, np.uint8)
    paper[0:60, 94:106] = paper[80:180, 94:106] = 30  # two strokes, the first of them cut off
    pixels = load_image(Image.fromarray(paper), SHAPE, Preparation.DRAWING).pixels[0]
    inked = pixels.max(axis=1) > 128
    first, last = np.flatnonzero(inked)[[0, -1]]
    assert last - first >= 17 and not inked[first:last].all()  # both, and the gap between them


def test_a_drawing_of_three_channels_is_the_same_in_each() -> None:
    (_, picture), *_ = drawn(FACES[0], 2, seed=0)
    grey = load_image(picture, SHAPE, Preparation.DRAWING).pixels
    assert np.array_equal(
        load_image(picture, (3, 28, 28), Preparation.DRAWING).pixels, np.repeat(grey, 3, axis=0)
    )


@pytest.mark.slow
def test_a_network_that_has_seen_mnist_reads_every_kind_of_drawing(mnist: ImageData) -> None:
    """The demo's network and recipe, its clients' images in one place; `benchmarks/bench_drawings.py` asks a run's."""
    model = build_model(ModelSpec("lenet", SHAPE, 10), seed=7)
    recipe = default_recipe("mnist")
    for epoch in range(6):
        train(
            model,
            mnist.train.images,
            mnist.train.labels,
            epochs=1,
            batch_size=recipe.batch_size,
            lr=recipe.lr,
            seed=epoch,
        )
    kinds = defaultdict[str, list[tuple[np.ndarray, int]]](list)
    for face in FACES[1::4]:
        for digit in range(10):
            for name, picture in drawn(face, digit, seed=digit):
                kinds[name].append((load_image(picture, SHAPE, Preparation.DRAWING).pixels, digit))
    shares = {}
    for name, pairs in kinds.items():
        images, labels = np.stack([pixels for pixels, _ in pairs]), np.array([digit for _, digit in pairs])
        shares[name] = evaluate(model, images, labels).accuracy
    # However it is drawn, it is read as well as the plainest drawing, give or take two of these 30.
    assert len(shares) == 16 and min(shares.values()) >= max(0.7, shares["white ink, full size"] - 0.07), (
        shares
    )
