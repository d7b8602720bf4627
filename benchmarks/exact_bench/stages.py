"""Programs cut into stages at every place, whatever that costs: what an InferenceSession would run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedvm.chain.revm import RevmProgram
from fedvm.compiler.compiled import Unit
from fedvm.compiler.defaults import Optimize
from fedvm.compiler.graph import IntegerGraph
from fedvm.compiler.planning import plan_network
from fedvm.compiler.stages import Planner, Stage, link_cuts
from fedvm.evm.revm import decode_scores

GAS = 10**12
"""More than any stage takes; what limits a chain sets is not the subject."""


def cut_everywhere(graph: IntegerGraph, halve: bool, optimize: Optimize = "run") -> tuple[Stage, ...]:
    """A stage for every step; with `halve`, steps are cut in two first where they can be."""
    planned = plan_network(graph, optimize)
    plan, steps, measure = planned.plan, planned.steps, planned.measure
    if halve:
        halves = []
        for m in steps:
            cut = m.step.split(m.gas, m.gas * 2 // 3, lambda step: measure(step).gas)
            halves += [m] if cut is None else [measure(cut[0]), measure(cut[1])]
        steps = halves
    planner = Planner(plan, steps, "ethereum")
    return link_cuts(planner, range(len(steps) + 1), measure)


def staged_scores(stages: Sequence[Sequence[Unit]], batch: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Scores `[N, O]` of inputs `[N, ...]`, each stage run on what the one before returned."""
    machines = [_machine(units) for units in stages]
    rows = []
    for row in batch:
        state = row.tobytes()
        for machine in machines:
            outcome = machine.call(state, gas=GAS)
            if not outcome.success:
                raise RuntimeError(f"a stage ended: {outcome.halt or outcome.output.hex()}")
            state = outcome.output
        rows.append(decode_scores(state).astype(np.int64))
    return np.stack(rows)


def _machine(units: Sequence[Unit]) -> RevmProgram:
    addresses = {unit.name: f"0x{0x57A6E << 136 | i:040x}" for i, unit in enumerate(units, 1)}
    codes = {addresses[unit.name]: unit.linked(addresses) for unit in units}
    return RevmProgram(codes, addresses[units[-1].name])
