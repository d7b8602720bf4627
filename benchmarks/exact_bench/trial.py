"""A recipe or a seed to its verdict."""

from __future__ import annotations

import numpy as np

from exact_bench.generator import random_recipe
from exact_bench.judge import INPUTS, Question, Verdict, judge
from exact_bench.onnx_writer import write_onnx
from exact_bench.recipe import Recipe, samples

CALIBRATION, HELD_BACK = 160, 64
"""Inputs a network is calibrated with, and others like them that its integers are judged on."""
CUT = 6
"""Of so many programs one is tried with a stage for every step too."""
PREPROCESS = (1 / 64, -1.75)


def question_of(recipe: Recipe) -> Question:
    """The recipe's model with its inputs and options. Impossible if the steps do not fit each other."""
    options = dict(recipe.options)
    if recipe.data == "preprocess":
        options["preprocess"] = PREPROCESS
    if recipe.writer == "torch":
        from exact_bench.torch_writer import write_torch  # PyTorch takes seconds to import and few need it

        model = write_torch(recipe)
    else:
        model = write_onnx(recipe)
    calibration, held_back = samples(recipe, CALIBRATION, 0), samples(recipe, HELD_BACK, 1)
    return Question(
        model, np.asarray(calibration), np.asarray(held_back), options, recipe.seed, recipe.seed % CUT == 1
    )


def try_recipe(recipe: Recipe, inputs: int = INPUTS) -> Verdict:
    """What becomes of the recipe's network. Impossible if its steps do not fit each other."""
    return judge(question_of(recipe), inputs)


def try_seed(seed: int) -> Verdict:
    """What becomes of the random network of this seed."""
    return try_recipe(random_recipe(seed))
