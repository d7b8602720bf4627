"""How to compile: the options of `compile_model`, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from fedvm.compiler.defaults import (
    ACTIVATION_BITS,
    INPUT_BITS,
    OPTIMIZE,
    TARGET,
    WEIGHT_BITS,
    Optimize,
    Target,
)
from fedvm.compiler.errors import CompileError
from fedvm.compiler.quality import Bars

Numbers = float | Sequence[float]
Range = tuple[Numbers, Numbers]


@dataclass(frozen=True)
class CompileOptions:
    """How to compile; each field as `compile_model` takes it. bars: its min_agreement and min_correlation."""

    weight_bits: Mapping[str, int] | int | None = WEIGHT_BITS[OPTIMIZE]
    activation_bits: Mapping[str, int] | int = ACTIVATION_BITS
    input_bits: int = INPUT_BITS
    lane_bits: Mapping[str, int] | int | None = None
    preprocess: tuple[Numbers, Numbers] | None = None
    input_range: Range | None = None
    optimize: Optimize = OPTIMIZE
    max_gas: int | None = None
    target: Target = TARGET
    verify: bool = True
    output: str | None = None
    bars: Bars = field(default_factory=Bars)
    max_accuracy_loss: float | None = None

    def __post_init__(self) -> None:
        for name, value, kind in (("optimize", self.optimize, Optimize), ("target", self.target, Target)):
            if value not in get_args(kind):
                raise CompileError(f"{name} is {value!r}; choose {' or '.join(get_args(kind))}")
        loss = self.max_accuracy_loss
        if loss is not None and (isinstance(loss, bool) or not 0 < loss < 100):
            raise CompileError(
                f"max_accuracy_loss is {loss!r}: give points of accuracy between 0 and 100, or None"
            )
        gas = self.max_gas
        if gas is not None and (not isinstance(gas, int) or isinstance(gas, bool) or gas < 1):
            raise CompileError(
                f"max_gas is {gas!r}: give the gas that a transaction may take, a whole number, or None for no limit"
            )
