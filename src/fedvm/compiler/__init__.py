"""ONNX → integer graph → EVM: compile a trained network so that a contract computes its predictions bit for bit.

compiled = compile_model("model.onnx", calibration=images)
compiled.save("program/")                                   # fedvm.chain.program puts it on a chain

Names are imported when first used, so that reading `fedvm.compiler.defaults` loads no ONNX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedvm.lazy import importing

if TYPE_CHECKING:
    from fedvm.compiler.compile import compile_integer, compile_model
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
    from fedvm.compiler.options import CompileOptions
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

__getattr__ = importing(
    __name__,
    {
        "compile": ("compile_integer", "compile_model"),
        "compiled": ("ABI", "CompiledModel"),
        "errors": (
            "CalibrationError",
            "CompileError",
            "CompilerDefect",
            "ExactnessError",
            "FidelityError",
            "ModelError",
            "QualityError",
            "RangeError",
            "StageError",
            "UnsupportedOperator",
        ),
        "input_range": ("quantize_input",),
        "options": ("CompileOptions",),
        "version": ("COMPILER_VERSION", "known_faults", "verdict_on", "version_of"),
    },
)
