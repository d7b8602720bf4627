"""One function an ONNX operator: from lowered inputs to lowered outputs (semantics: ONNX operator schemas)."""

from __future__ import annotations

from fedvm.compiler.frontend.operators.arrange import ARRANGE
from fedvm.compiler.frontend.operators.bounds import BOUNDS
from fedvm.compiler.frontend.operators.linear import LINEAR
from fedvm.compiler.frontend.operators.node import Lowering
from fedvm.compiler.frontend.operators.pooling import POOLING
from fedvm.compiler.frontend.operators.reductions import REDUCTIONS
from fedvm.compiler.frontend.operators.sums import SUMS

OPERATORS: dict[str, Lowering] = {
    **ARRANGE,
    **SUMS,
    **BOUNDS,
    **LINEAR,
    **POOLING,
    **REDUCTIONS,
}
