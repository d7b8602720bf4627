"""ONNX → integer graph → EVM: compile a trained network so that a contract computes its predictions bit for bit.

compiled = compile_model("model.onnx", calibration=images)
compiled.save("program/")                                   # fedvm.chain.program puts it on a chain

Names are imported when first used, so that reading `fedvm.compiler.defaults` loads no ONNX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedvm.compiler.compile import CompileOptions, compile_integer, compile_model
    from fedvm.compiler.compiled import ABI, CompiledModel
    from fedvm.compiler.errors import (
        CalibrationError,
        CompileError,
        CompilerDefect,
        ExactnessError,
        FidelityError,
        ModelError,
        QualityError,
        RangeError,
        StageError,
        UnsupportedOperator,
    )
    from fedvm.compiler.input_range import quantize_input
    from fedvm.compiler.version import COMPILER_VERSION, known_faults, verdict_on, version_of

    __all__ = [
        "ABI",
        "COMPILER_VERSION",
        "CalibrationError",
        "CompileError",
        "CompileOptions",
        "CompiledModel",
        "CompilerDefect",
        "ExactnessError",
        "FidelityError",
        "ModelError",
        "QualityError",
        "RangeError",
        "StageError",
        "UnsupportedOperator",
        "compile_integer",
        "compile_model",
        "known_faults",
        "quantize_input",
        "verdict_on",
        "version_of",
    ]

_HOME = {
    "ABI": "compiled",
    "COMPILER_VERSION": "version",
    "CalibrationError": "errors",
    "CompileError": "errors",
    "CompileOptions": "compile",
    "CompiledModel": "compiled",
    "CompilerDefect": "errors",
    "ExactnessError": "errors",
    "FidelityError": "errors",
    "ModelError": "errors",
    "QualityError": "errors",
    "RangeError": "errors",
    "StageError": "errors",
    "UnsupportedOperator": "errors",
    "compile_integer": "compile",
    "compile_model": "compile",
    "known_faults": "version",
    "quantize_input": "input_range",
    "verdict_on": "version",
    "version_of": "version",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
