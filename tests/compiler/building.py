"""Compiling what Hypothesis drew: programs, or refusals that are clear."""

from __future__ import annotations

from hypothesis import assume, event

from fedvm.compiler import CompileOptions, RangeError, UnsupportedOperator, compile_integer
from fedvm.compiler.compiled import CompiledModel
from fedvm.compiler.defaults import Optimize
from fedvm.compiler.graph import IntegerGraph

AIMS: tuple[Optimize, ...] = ("run", "deploy")


def compile_or_skip(graph: IntegerGraph, optimize: Optimize = "run") -> CompiledModel:
    """The program. Only clear refusals are let through, and they are counted."""
    try:
        return compile_integer(graph, options=CompileOptions(optimize=optimize))
    except RangeError as error:
        assert "float32" in str(error) or "does not fit a 256-bit word" in str(error)
        event("refused: range")
    except UnsupportedOperator as error:
        event(f"refused: {str(error).split(':')[-1]}")
    assume(False)
    raise AssertionError
