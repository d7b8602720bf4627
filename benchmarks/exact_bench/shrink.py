"""A network that shows a defect, made as small as it can be while it shows it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from exact_bench.generator import torch_can
from exact_bench.recipe import Impossible, Recipe, Step, macs, reached, sizes


def shrink(recipe: Recipe, shows: Callable[[Recipe], bool], trials: int = 500) -> Recipe:
    """The smallest recipe found within `trials` calls of `shows` (whether a recipe still shows the defect)."""
    while True:
        for candidate in sorted(simpler(recipe), key=_weight):
            if trials == 0:
                return recipe
            trials -= 1
            if shows(candidate):
                recipe = candidate
                break
        else:
            return recipe


def _weight(recipe: Recipe) -> tuple[int, int]:
    return len(recipe.steps) + len(recipe.options), macs(recipe)


def simpler(recipe: Recipe) -> list[Recipe]:
    """Recipes with one thing less, simplest first: a step taken out, an option left out, fewer columns or channels."""
    found: list[Recipe] = []
    for step in recipe.steps:
        others = [other for other in recipe.steps if other is not step]
        for source in dict.fromkeys(step.reads):
            redirected = tuple(
                replace(o, reads=tuple(source if n == step.number else n for n in o.reads)) for o in others
            )
            if redirected:
                found.append(replace(recipe, steps=reached(redirected)))
    found += [
        replace(recipe, options={k: v for k, v in recipe.options.items() if k != name})
        for name in recipe.options
    ]
    for axis, n in enumerate(recipe.size):
        for less in dict.fromkeys((1, n // 2, n - 1)):
            if 0 < less < n:
                found.append(replace(recipe, size=(*recipe.size[:axis], less, *recipe.size[axis + 1 :])))
    for step in recipe.steps:
        for name, least in (("outputs", 1), ("stride", 1), ("pads", 0), ("kernel", 1), ("groups", 1)):
            found += [_with(recipe, step, name, value) for value in _less(step.settings.get(name), least)]
    if recipe.layout != "first":
        found.append(replace(recipe, layout="first"))
    if recipe.writer != "onnx":
        found.append(replace(recipe, writer="onnx"))
    return [one for one in found if _fit_each_other(one)]


def _less(value: Any, least: int) -> list[Any]:
    if isinstance(value, str):
        return [least]
    if isinstance(value, int):
        return [least] if value > least else []
    if isinstance(value, tuple):
        return [(*value[:i], n - 1, *value[i + 1 :]) for i, n in enumerate(value) if n > least]
    return []


def _with(recipe: Recipe, step: Step, name: str, value: Any) -> Recipe:
    changed = replace(step, settings={**step.settings, name: value})
    return replace(recipe, steps=tuple(changed if s is step else s for s in recipe.steps))


def _fit_each_other(recipe: Recipe) -> bool:
    try:
        known = sizes(recipe)
    except Impossible:
        return False
    if recipe.writer == "torch" and not torch_can(recipe.steps):
        return False
    return all(min(size) > 0 for size in known.values()) and math.prod(known[recipe.output]) > 1
