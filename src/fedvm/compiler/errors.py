"""Errors of the compiler. Each message says which node is meant and what to do next."""

from __future__ import annotations


class CompileError(ValueError):
    """The model cannot be compiled as asked."""


class ModelError(CompileError):
    """The ONNX file is damaged, malformed or unsafe (truncated, cyclic, external paths, NaN weights, ...)."""


class UnsupportedOperator(CompileError):
    """The graph uses an operator, or a form of one, that has no kernel."""


class CalibrationError(CompileError):
    """The calibration data does not fit the model."""


class StageError(CompileError):
    """The program cannot be cut into stages within the gas limit."""


class RangeError(CompileError):
    """The interval proof failed: some lane could overflow."""


class FidelityError(CompileError):
    """The float layers do not compute what the file does: a fault of the compiler, found before it does harm."""


class QualityError(CompileError):
    """The integers do not follow the network as closely as was asked for."""


class CompilerDefect(AssertionError):
    """The compiler made, or was about to make, a wrong program. The model is never the cause. No program is
    returned."""


class ExactnessError(CompilerDefect):
    """The finished program, ONNX Runtime on the reference and the integer network do not give the same scores."""
