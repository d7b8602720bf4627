"""Random networks as strangers write them: a recipe for every seed.

Rows of 1 to 70 columns, in one or two dimensions; tensors with several readers (joined again by a sum, a concatenation,
or only in the scores); pools of any window before and after everything; normalisation before and after the
activation; every layout of the input; every option of the compiler that shapes the program.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from exact_bench.recipe import INPUT, Impossible, Recipe, Size, Step, macs, reached, size_of, sizes

WIDEST = 70
WIDEST_TENSOR = 8_000
"""Numbers in a tensor at most, so that a program takes a fraction of a second."""
WIDEST_DENSE = 1_500
"""Inputs of a dense layer at most, for the same reason."""
ATTEMPTS = 2000
"""Recipes drawn for a seed until one fits its limits; nearly always a few."""
STAGED = 50
"""Of so many seeds one is a network large enough for stages."""
EXPORTED = 25
"""Of so many seeds one is written by PyTorch's exporter."""


def random_recipe(seed: int) -> Recipe:
    """The network of this seed."""
    for attempt in range(ATTEMPTS):
        draw = _Draw(np.random.default_rng((seed, attempt)), large=seed % STAGED == STAGED - 1)
        recipe = draw.recipe(seed)
        if recipe is not None:
            return recipe
    raise Impossible(f"no network for seed {seed}")


def torch_can(steps: tuple[Step, ...]) -> bool:
    """Whether PyTorch has all these operations: it pads windows alike on both sides, by half of them at most."""
    for step in steps:
        if step.op.endswith("_pool"):
            kernel, pads = step.settings["kernel"], step.settings["pads"]
            half = len(kernel)
            if pads[:half] != pads[half:] or any(2 * p > k for p, k in zip(pads, kernel, strict=False)):
                return False
    return True


class _Draw:
    def __init__(self, rng: np.random.Generator, *, large: bool) -> None:
        self._rng, self._large = rng, large
        self._steps: list[Step] = []
        self._sizes: dict[int, Size] = {}

    def recipe(self, seed: int) -> Recipe | None:
        """One recipe, or None if it is not of a useful size."""
        size = self._input_size()
        self._sizes[INPUT] = size
        for _ in range(self._integer(0, 7) if len(size) > 1 else 0):
            self._image_block()
        self._heads()
        steps = reached(tuple(self._steps))
        data = self._choice(
            ("bytes", "bytes", "uint8", "preprocess", "normal", "normal", "unit", "offset", "features")
        )
        layout = self._choice(("flat", "first", "first", "last"))
        writer: Literal["onnx", "torch"] = "torch" if seed % EXPORTED == 0 else "onnx"
        if writer == "torch" and not torch_can(steps):
            writer = "onnx"
        if writer == "torch" and data == "uint8":
            data = "bytes"
        recipe = Recipe(seed, size, layout, data, steps, self._options(), writer)
        known = sizes(recipe)
        dense = max((known[step.reads[0]][0] for step in steps if step.op == "dense"), default=0)
        scores = math.prod(known[recipe.output])
        least, most = (400_000, 2_000_000) if self._large else (1, self._choice((3_000, 20_000, 60_000)))
        widest = max(math.prod(size) for size in known.values())
        fits = dense <= WIDEST_DENSE and widest <= WIDEST_TENSOR and least <= macs(recipe) <= most
        return recipe if fits and 1 < scores <= 60 else None

    # -- the input and the options ------------------------------------------------------------------------------

    def _input_size(self) -> Size:
        if self._large:
            return (self._integer(1, 4), self._integer(8, 16), self._integer(8, 20))
        kind = self._integer(0, 11)
        width = self._integer(1, WIDEST)
        if kind == 0:
            return (self._integer(2, WIDEST),)
        if kind <= 3:
            return (self._integer(1, 6), width)
        return (self._integer(1, 4), self._integer(1, 6), width)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"optimize": self._choice(("run", "run", "run", "deploy"))}
        if self._integer(0, 3) == 0:
            options["weight_bits"] = self._integer(5, 8)
        if self._integer(0, 2) == 0:
            options["activation_bits"] = self._integer(4, 8)
        if self._integer(0, 5) == 0:
            options["input_bits"] = self._integer(5, 8)
        if self._integer(0, 3) == 0:
            options["lane_bits"] = self._integer(14, 24)
        if self._large:
            options["max_gas"] = self._integer(700, 1200) * 1000
        elif self._integer(0, 9) == 0:
            options["max_gas"] = self._integer(100, 400) * 1000
        return options

    # -- image steps --------------------------------------------------------------------------------------------

    def _image_block(self) -> None:
        kind = self._integer(0, 19)
        if kind < 9:
            self._conv_block()
        elif kind < 12:
            self._add(
                self._choice(("max_pool", "average_pool")),
                self._pick(),
                **self._pool_settings(self._last_pick),
            )
        elif kind < 14:
            self._join()
        elif kind < 15:
            self._add("pad", self._pick(), pads=self._pads(self._last_pick, 2))
        elif kind < 16 and self._sizes[self._pick()][0] > 1:
            channels = self._sizes[self._last_pick][0]
            start = self._integer(0, channels - 1)
            self._add("slice", self._last_pick, start=start, end=self._integer(start + 1, channels))
        else:
            self._unary(self._pick())

    def _conv_block(self) -> None:
        """A convolution, and around it what commonly stands there, in any order."""
        source = self._pick()
        if self._integer(0, 3) == 0:
            source = self._add("batchnorm", source)
        number = self._add("conv", source, **self._conv_settings(source))
        residual = self._integer(0, 1) == 1
        if residual and self._sizes[number] == self._sizes[source]:
            number = self._add("add", number, source)
        after = self._choice((
            ("relu",), ("batchnorm", "relu"), ("relu", "batchnorm"), ("clip",), ("leaky",), (), ("batchnorm",),
            ("relu", "batchnorm", "average_pool"), ("max_pool", "relu"), ("relu", "max_pool"), ("average_pool", "relu"),
        ))  # fmt: skip
        for op in after:
            if op.endswith("pool"):
                number = self._add(op, number, **self._pool_settings(number))
            else:
                number = self._add(op, number, **self._unary_settings(op))

    def _join(self) -> None:
        """A sum or a concatenation of what several steps made of one tensor (a diamond) or of tensors that fit."""
        first = self._pick()
        size = self._sizes[first]
        fitting = [n for n in self._images() if n != first and self._sizes[n][1:] == size[1:]]
        if fitting and self._integer(0, 1):
            others = [int(self._choice(fitting)) for _ in range(self._integer(1, 2))]
        else:
            others = []
            for _ in range(self._integer(1, 2)):
                same = [self._choice((1, 3)) for _ in size[1:]]
                same = [k if n > 1 else 1 for k, n in zip(same, size[1:], strict=True)]
                pads = tuple(k // 2 for k in same)
                outputs = size[0] if self._integer(0, 1) else self._integer(1, 5)
                conv = self._add(
                    "conv", first, outputs=outputs, kernel=tuple(same), stride=(1,) * len(same), pads=pads * 2,
                    groups=1, bias=bool(self._integer(0, 1)),
                )  # fmt: skip
                others.append(self._add("relu", conv) if self._integer(0, 1) else conv)
        alike = [n for n in others if self._sizes[n] == size]
        if alike and self._integer(0, 1):
            joined = self._add("add", first, alike[0])
            if self._integer(0, 1):
                self._add("relu", joined)
        else:
            self._add("concat", *self._shuffled([first, *others]))

    def _unary(self, source: int) -> int:
        op = self._choice(
            (
                "relu",
                "clip",
                "leaky",
                "hard_sigmoid",
                "batchnorm",
                "batchnorm",
                "scale",
                "negate",
                "round_trip",
            )
        )
        return self._add(op, source, **self._unary_settings(op))

    def _unary_settings(self, op: str) -> dict[str, Any]:
        return (
            {"low": self._choice((0.0, 0.0, -1.0)), "high": self._choice((6.0, 1.0, 2.5))}
            if op == "clip"
            else {}
        )

    def _conv_settings(self, source: int) -> dict[str, Any]:
        channels, *space = self._sizes[source]
        most = 24 if self._large else 6
        groups: Any = 1
        outputs = self._integer(1, most)
        kind = self._integer(0, 5)
        if kind == 0:
            groups = "depthwise"
        elif kind == 1:
            groups = int(self._choice([g for g in range(1, channels + 1) if channels % g == 0]))
            outputs = groups * self._integer(1, max(1, most // groups))
        pads = self._pads(source, 2) if self._integer(0, 1) else (0,) * 2 * len(space)
        kernel = self._kernel(space, pads, 5)
        stride = tuple(self._integer(1, 3) for _ in space) if self._integer(0, 2) == 0 else (1,) * len(space)
        return {
            "outputs": outputs, "multiple": self._integer(1, 2), "groups": groups, "kernel": kernel, "stride": stride,
            "pads": pads, "bias": bool(self._integer(0, 2)),
        }  # fmt: skip

    def _pool_settings(self, source: int) -> dict[str, Any]:
        """Any window: often two, sometimes the whole row."""
        _, *space = self._sizes[source]
        if self._integer(0, 2):
            kernel = tuple(min(2, n) for n in space)
            stride = kernel
        elif self._integer(0, 3) == 0:
            kernel, stride = tuple(space), (1,) * len(space)
        else:
            kernel = tuple(self._integer(1, min(n, 9)) for n in space)
            stride = tuple(self._integer(1, k + 1) for k in kernel)
        pads = [0] * 2 * len(space)
        if self._integer(0, 3) == 0:
            half = [k // 2 for k in kernel]
            begin = [self._integer(0, h) for h in half]
            end = begin if self._integer(0, 1) else [self._integer(0, h) for h in half]
            pads = [*begin, *end]
        return {
            "kernel": kernel, "stride": stride, "pads": tuple(pads), "ceil": self._integer(0, 7) == 0,
            "include_pad": bool(self._integer(0, 3)),
        }  # fmt: skip

    def _pads(self, source: int, most: int) -> tuple[int, ...]:
        axes = len(self._sizes[source]) - 1
        if self._integer(0, 1):
            return tuple(self._integer(0, most) for _ in range(axes)) * 2
        return tuple(self._integer(0, most) for _ in range(2 * axes))

    def _kernel(self, space: list[int], pads: tuple[int, ...], most: int) -> tuple[int, ...]:
        axes = len(space)
        if self._integer(0, 2):
            return tuple(min(3, n + pads[i] + pads[i + axes]) for i, n in enumerate(space))
        return tuple(self._integer(1, min(most, n + pads[i] + pads[i + axes])) for i, n in enumerate(space))

    # -- to the scores ------------------------------------------------------------------------------------------

    def _heads(self) -> None:
        """Vectors of one to three tensors, joined, then dense layers; or a map of scores."""
        if self._images() and self._integer(0, 7) == 0:
            self._score_map()
            return
        sources = [self._latest(), *(self._pick_any() for _ in range(max(0, self._integer(-3, 2))))]
        vectors = [self._vector(n) for n in dict.fromkeys(sources)]
        while len(vectors) > 1:
            if self._integer(0, 1):
                outputs = self._integer(2, 12)
                vectors = [self._dense(n, outputs) for n in vectors[:2]] + vectors[2:]
                vectors = [self._add("add", *vectors[:2]), *vectors[2:]]
            else:
                vectors = [self._add("concat", *self._shuffled(vectors[:2])), *vectors[2:]]
        vector = vectors[0]
        for _ in range(self._integer(0, 2)):
            vector = self._dense(vector, self._integer(1, 24))
            for op in self._choice((("relu",), ("batchnorm", "relu"), ("relu", "batchnorm"), ("clip",), ())):
                vector = self._add(op, vector, **self._unary_settings(op))
        vector = self._dense(vector, self._integer(2, 12))
        if self._integer(0, 5) == 0:
            self._add(self._choice(("softmax", "argmax")), vector)

    def _score_map(self) -> None:
        source = self._add("conv", self._latest(), **self._conv_settings(self._latest()))
        if self._integer(0, 1):
            ending = self._choice(("global_average", "global_max", "reduce_mean", "reduce_max"))
            source = self._add(ending, source)
        if len(self._sizes[source]) > 1:
            self._add("flatten", source)

    def _vector(self, source: int) -> int:
        if len(self._sizes[source]) == 1:
            return source
        ending = self._choice(
            ("flatten", "flatten", "global_average", "global_max", "reduce_mean", "reduce_max")
        )
        vector = self._add(ending, source)
        return self._add("flatten", vector) if ending.startswith("global") else vector

    def _dense(self, source: int, outputs: int) -> int:
        return self._add(
            "dense", source, outputs=outputs, bias=bool(self._integer(0, 3)), gemm=bool(self._integer(0, 1))
        )

    # -- drawing ------------------------------------------------------------------------------------------------

    def _add(self, op: str, *reads: int, **settings: Any) -> int:
        """Number of a new step; of its first source if it cannot be."""
        step = Step(len(self._steps) + 1, op, reads, settings)
        try:
            size = size_of(step, [self._sizes[n] for n in reads])
        except Impossible:
            return reads[0]
        if min(size) < 1 or math.prod(size) > 10_000:
            return reads[0]
        self._steps.append(step)
        self._sizes[step.number] = size
        return step.number

    def _images(self) -> list[int]:
        return [n for n, size in self._sizes.items() if len(size) > 1]

    def _latest(self) -> int:
        return max(self._sizes)

    def _pick(self) -> int:
        """A tensor to read: mostly the last one, so that networks are deep."""
        images = self._images()
        self._last_pick = images[-1] if self._integer(0, 3) else int(self._choice(images))
        return self._last_pick

    def _pick_any(self) -> int:
        return int(self._choice(list(self._sizes)))

    def _integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def _choice(self, options: Any) -> Any:
        return options[int(self._rng.integers(len(options)))]

    def _shuffled(self, values: list[int]) -> list[int]:
        return [values[i] for i in self._rng.permutation(len(values))]
