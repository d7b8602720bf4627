"""Chooses the layout of a network: several are planned and measured, and the cheapest is taken.

Lanes lie along the width of the maps, or, in the same network with its axes exchanged, along their height. A program
of little code is compared with the one of little gas, too, which is sometimes the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from fedvm.compiler.canonical import canonical
from fedvm.compiler.defaults import OPTIMIZE, Optimize
from fedvm.compiler.errors import CompileError
from fedvm.compiler.filtering import can_filter
from fedvm.compiler.graph import IntegerGraph
from fedvm.compiler.grouping import group_steps
from fedvm.compiler.kernels.conv import macs
from fedvm.compiler.layout import ConvPlan, Plan, plan_layers
from fedvm.compiler.link import link, measured_steps
from fedvm.compiler.memory import allocate, lives
from fedvm.compiler.moves import prove_moves
from fedvm.compiler.steps import ConvStep, Measured, Measurer, PackedStep
from fedvm.compiler.transposition import is_symmetric, transposed
from fedvm.compiler.view import WORD_BYTES
from fedvm.evm.gas import memory_gas
from fedvm.evm.limits import CODE_LIMIT

CONTRACT_GAS = 3_000
"""Gas of calling one contract more."""
ENTRY_BYTES = 400
"""Code of an entry beside its steps, about."""
SMALL = 3_000_000
"""Multiply-accumulates of a network up to which every layout is planned both with and without pairs of rows."""


@dataclass(frozen=True)
class Planned:
    """A proved layout with its measured steps, unsplit."""

    plan: Plan
    steps: list[Measured]
    measure: Measurer

    @cached_property
    def gas(self) -> int:
        """Gas of a prediction, of a large network about: of the steps, the memory and the calls between contracts."""
        if _macs(self.plan) <= SMALL:
            return link(self.plan, self.steps, self.measure).gas
        _, total = allocate(self.plan, lives([m.step for m in self.steps]))
        calls = CONTRACT_GAS * (len(group_steps(self.steps, self.measure, ENTRY_BYTES)) - 1)
        return sum(m.gas for m in self.steps) + memory_gas(total // WORD_BYTES) + calls

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
    their neighbours; each of a small network with and without pairs of rows, and with and without the columns that
    strides skip. Raises CompileError if there is none, AssemblyError if one loses a value."""
    formed = canonical(graph)
    plans = [plan_layers(formed, optimize, narrow) for narrow in (True, False)]
    convs = [layer for plan in plans for layer in plan.layers if isinstance(layer, ConvPlan)]
    if _macs(plans[0]) <= SMALL and any(term.view.every > 1 for conv in convs for term in conv.terms):
        plans += [plan_layers(formed, optimize, narrow, skip=False) for narrow in (True, False)]
    for plan in _different(plans):
        found = _with_filters(plan) if optimize == "run" else plan
        if found is not plan:
            yield _proved(found)
            if _macs(plan) > SMALL:
                continue
        yield _proved(plan)


def _different(plans: list[Plan]) -> Iterator[Plan]:
    """The plans without those that have lanes and views of one before."""
    seen = []
    for plan in plans:
        layout = [
            (layer.lane_bits, [term.view for term in layer.terms] if isinstance(layer, ConvPlan) else None)
            for layer in plan.layers
        ]
        if layout not in seen:
            seen.append(layout)
            yield plan


def _proved(plan: Plan) -> Planned:
    prove_moves(plan)
    measure = Measurer(plan)
    return Planned(plan, measured_steps(plan, measure), measure)


def _macs(plan: Plan) -> int:
    """Multiply-accumulates of the convolutions."""
    return sum(macs(layer) for layer in plan.layers if isinstance(layer, ConvPlan))


def _with_filters(plan: Plan) -> Plan:
    """The plan with those layers filtered that take less gas so, the calls of the contracts for their code included."""
    measure = Measurer(plan)
    layers = [
        min((layer, replace(layer, filtered=True)), key=lambda way: _conv_gas(way, measure))
        if isinstance(layer, ConvPlan) and can_filter(layer)
        else layer
        for layer in plan.layers
    ]
    filtered = any(isinstance(layer, ConvPlan) and layer.filtered for layer in layers)
    return replace(plan, layers=tuple(layers)) if filtered else plan


def _conv_gas(plan: ConvPlan, measure: Measurer) -> float:
    """About the gas of a layer in as many contracts as its code fills, with memory of its own."""
    outputs = plan.layer.shape[0]
    step = ConvStep(plan, range(outputs))
    whole = measure(step)
    parts = -(-whole.size // CODE_LIMIT)
    if parts == 1:
        memory = memory_gas(step.scratch_bytes // WORD_BYTES)
        return whole.gas + memory + CONTRACT_GAS * whole.size / CODE_LIMIT
    part = measure(ConvStep(plan, range(-(-outputs // parts))))
    return (
        (part.gas + CONTRACT_GAS)
        * outputs
        / len(part.step.outputs if isinstance(part.step, ConvStep) else ())
    )


def candidates(graph: IntegerGraph, optimize: Optimize) -> Iterator[tuple[IntegerGraph, Optimize]]:
    """The networks to plan, with what each plan is to keep small."""
    aims: tuple[Optimize, ...] = ("deploy", "run") if optimize == "deploy" else ("run",)
    for oriented in (graph,) if is_symmetric(graph) else (graph, transposed(graph)):
        for aim in aims:
            yield oriented, aim
