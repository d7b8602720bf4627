"""Finds the first wrong layer of a wrong program.

Each of the program's own steps is linked as a stage, with the same layout, so that a layer's output can be read from
the state that the stage returns. This runs only after a program was found to be wrong, so it may be slow.

"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler import interpreter
from fedvm.compiler.compiled import units_of
from fedvm.compiler.graph import IntArray, IntegerGraph
from fedvm.compiler.kernels.fold import Folded
from fedvm.compiler.layout import Plan
from fedvm.compiler.link import measured_steps
from fedvm.compiler.probe import Program, reference_scores
from fedvm.compiler.reference import build_reference
from fedvm.compiler.stages import Planner, link_cuts
from fedvm.compiler.state import State
from fedvm.compiler.steps import Measurer
from fedvm.compiler.view import WORD_BYTES


def wrong_layer_of_reference(graph: IntegerGraph, inputs: NDArray[np.uint8]) -> str:
    """Name of the first layer whose sums ONNX Runtime and the interpreter compute differently, "" if there is none."""
    for number, layer in enumerate(graph.layers):
        sums = replace(layer, high=None, table=None, shift=np.zeros_like(layer.shift))
        cut = replace(graph, layers=(*graph.layers[:number], sums))
        found = reference_scores(build_reference(cut).SerializeToString(), inputs)
        if not np.array_equal(found, interpreter.run(cut, inputs).reshape(len(inputs), -1)):
            return layer.name
    return ""


def wrong_layer_of_program(plan: Plan, graph: IntegerGraph, inputs: NDArray[np.uint8]) -> str:
    """Name of the first layer whose output the program computes differently than the interpreter, "" if there is none.

    plan: the layout of the program; graph: the network as it was given; inputs: uint8 `[N, *onnx_shape]`.
    """
    wanted = interpreter.run_all(plan.graph, inputs)
    scores = graph.layers[-1].name
    if not np.array_equal(interpreter.run(plan.graph, inputs), interpreter.run(graph, inputs)):
        return "(all: the canonical form of the network is another network)"
    measure = Measurer(plan)
    steps = measured_steps(plan, measure)
    planner = Planner(plan, steps, "ethereum")
    stages = link_cuts(planner, range(len(steps) + 1), measure)
    programs = [Program(units_of(stage.linked.contracts)) for stage in stages]
    for number, row in enumerate(inputs):
        state = row.tobytes()
        for cut, program in enumerate(programs[:-1], start=1):
            state = program.call(state).output
            for tensor, found in read_state(planner.state(cut), state):
                expected = wanted[tensor][number].reshape(found.shape[0], -1)
                if not np.array_equal(found, expected[: found.shape[0]].reshape(found.shape)):
                    return tensor
    return scores


def read_state(state: State, data: bytes) -> list[tuple[str, IntArray]]:
    """The finished tensors in a state, by name, as `[channels written so far, height · width]`; sums are left out."""
    return [
        (kept.folded.view.tensor, read_folded(kept.folded, data[state.offsets[kept.key] :][: kept.size]))
        for kept in state.kept
        if kept.folded is not None
    ]


def read_folded(folded: Folded, data: bytes) -> IntArray:
    """A folded tensor as int64 `[channels, height · width]`."""
    view, values = folded.view, []
    words = [int.from_bytes(data[at : at + WORD_BYTES], "big") for at in range(0, len(data), WORD_BYTES)]
    per_fold = len(folded.shifts)
    for element in range(folded.channels * view.height * view.width):
        channel, rest = divmod(element, view.height * view.width)
        row, column = divmod(rest, view.width)
        word = next(w for w in range(view.words) if view.owns(w, column))
        plane = word if folded.is_vector else channel
        fold, slot = divmod(plane, per_fold)
        at = (
            fold * view.height * folded.row_words + row * folded.row_words + (0 if folded.is_vector else word)
        )
        shift = view.bit(word, column) + folded.shifts[slot]
        values.append(words[at] >> shift & ((1 << folded.bits) - 1))
    return np.array(values, np.int64).reshape(folded.channels, view.height * view.width)
