"""Chooses the layout of a network: several are planned and measured, and the cheapest is taken.

Lanes lie along the width of the maps, or, in the same network with its axes exchanged, along their height. A program
of little code is compared with the one of little gas, too, which is sometimes the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedvm.compiler.canonical import canonical
from fedvm.compiler.defaults import OPTIMIZE, Optimize
from fedvm.compiler.errors import CompileError
from fedvm.compiler.graph import IntegerGraph
from fedvm.compiler.layout import Plan, plan_layers
from fedvm.compiler.link import measured_steps
from fedvm.compiler.memory import allocate, lives
from fedvm.compiler.moves import prove_moves
from fedvm.compiler.steps import Measured, Measurer, PackedStep
from fedvm.compiler.transposition import is_symmetric, transposed
from fedvm.compiler.view import WORD_BYTES
from fedvm.evm.gas import memory_gas


@dataclass(frozen=True)
class Planned:
    """A proved layout with its measured steps, unsplit."""

    plan: Plan
    steps: list[Measured]
    measure: Measurer

    @property
    def gas(self) -> int:
        """Gas of the steps and the memory: of a prediction but for calls between contracts."""
        _, total = allocate(self.plan, lives([m.step for m in self.steps]))
        return sum(m.gas for m in self.steps) + memory_gas(total // WORD_BYTES)

    @property
    def bytes(self) -> int:
        """Bytes of the code and of the weights in data contracts."""
        data = (len(part) for m in self.steps if isinstance(m.step, PackedStep) for part in m.step.data())
        return sum(m.size for m in self.steps) + sum(data)


def plan_network(graph: IntegerGraph, optimize: Optimize = OPTIMIZE) -> Planned:
    """The cheapest layout that was found, in gas or with "deploy" in bytes; of equals the first, which is that of the
    file's own axes.

    Raises CompileError if no layout can be made: that of the file's axes.
    """
    found: list[Planned] = []
    refusals: list[CompileError] = []
    for oriented, aim in candidates(graph, optimize):
        try:
            found += _planned(oriented, aim)
        except CompileError as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    return min(found, key=lambda p: (p.bytes, p.gas) if optimize == "deploy" else (p.gas, p.bytes))


def _planned(graph: IntegerGraph, optimize: Optimize) -> Iterator[Planned]:
    """Layouts with lanes along the graph's width: narrow lanes for many rows in a word, and lanes as wide as those of
    their neighbours. Raises CompileError if there is none, AssemblyError if one loses a value."""
    formed = canonical(graph)
    plans = [plan_layers(formed, optimize, narrow) for narrow in (True, False)]
    lanes = [[layer.lane_bits for layer in plan.layers] for plan in plans]
    for plan in plans if lanes[0] != lanes[1] else plans[:1]:
        prove_moves(plan)
        measure = Measurer(plan)
        yield Planned(plan, measured_steps(plan, measure), measure)


def candidates(graph: IntegerGraph, optimize: Optimize) -> Iterator[tuple[IntegerGraph, Optimize]]:
    """The networks to plan, with what each plan is to keep small."""
    aims: tuple[Optimize, ...] = ("deploy", "run") if optimize == "deploy" else ("run",)
    for oriented in (graph,) if is_symmetric(graph) else (graph, transposed(graph)):
        for aim in aims:
            yield oriented, aim
