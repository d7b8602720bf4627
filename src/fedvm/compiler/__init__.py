"""ONNX → integer graph → EVM: compile a trained network so that a contract computes its predictions bit for bit.

compiled = compile_model("model.onnx", calibration=images)
compiled.save("program/")                                   # fedvm.chain.program puts it on a chain
"""

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
