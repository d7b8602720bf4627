"""ONNX → integer graph → EVM: compile a trained network so that a contract computes its predictions bit for bit.

compiled = compile_model("model.onnx", calibration=images)
deployed = compiled.deploy(w3, sender)
"""

from fedvm.compiler.compile import CompileOptions, compile_integer, compile_model
from fedvm.compiler.compiled import ABI, CompiledModel, Deployed, DeployedStages, creation_code
from fedvm.compiler.errors import (
    CalibrationError,
    CompileError,
    ModelError,
    RangeError,
    StageError,
    UnsupportedOperator,
)

__all__ = [
    "ABI",
    "CalibrationError",
    "CompileError",
    "CompileOptions",
    "CompiledModel",
    "Deployed",
    "DeployedStages",
    "ModelError",
    "RangeError",
    "StageError",
    "UnsupportedOperator",
    "compile_integer",
    "compile_model",
    "creation_code",
]
