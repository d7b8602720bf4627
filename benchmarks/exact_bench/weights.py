"""The numbers of a recipe's steps, the same whichever way its model is written."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from exact_bench.recipe import Recipe, Size, Step, groups_of

Floats = NDArray[np.float32]


def numbers_of(recipe: Recipe, step: Step, source: Size) -> dict[str, Floats]:
    """Weights of a step that reads a tensor of this size, by their name; most steps have none."""
    rng = recipe.weights(step.number)
    if step.op == "conv":
        return _conv(step, source, rng)
    if step.op == "dense":
        return _dense(step, source, rng)
    if step.op == "batchnorm":
        channels = source[0]
        return {
            "gamma": _floats(rng.uniform(0.5, 1.5, channels)), "beta": _floats(rng.normal(0, 0.2, channels)),
            "mean": _floats(rng.normal(0, 0.3, channels)), "variance": _floats(rng.uniform(0.5, 2, channels)),
        }  # fmt: skip
    if step.op == "scale":
        column = (source[0], *[1] * (len(source) - 1))
        return {
            "factor": _floats(rng.uniform(0.5, 1.5, column)), "shift": _floats(rng.normal(0, 0.3, column)),
        }  # fmt: skip
    return {}


def _conv(step: Step, source: Size, rng: np.random.Generator) -> dict[str, Floats]:
    groups = groups_of(step, source[0])
    depthwise = step.settings.get("groups") == "depthwise"
    outputs = source[0] * step.settings["multiple"] if depthwise else step.settings["outputs"]
    inside = source[0] // groups
    deviation = math.sqrt(2 / (inside * math.prod(step.settings["kernel"])))
    weight = _floats(rng.normal(0, deviation, (outputs, inside, *step.settings["kernel"])))
    return {"weight": weight, **_bias(step, outputs, rng)}


def _dense(step: Step, source: Size, rng: np.random.Generator) -> dict[str, Floats]:
    outputs = step.settings["outputs"]
    weight = _floats(rng.normal(0, math.sqrt(2 / source[0]), (outputs, source[0])))
    return {"weight": weight, **_bias(step, outputs, rng)}


def _bias(step: Step, outputs: int, rng: np.random.Generator) -> dict[str, Floats]:
    return {"bias": _floats(rng.normal(0, 0.2, outputs))} if step.settings.get("bias") else {}


def _floats(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)
