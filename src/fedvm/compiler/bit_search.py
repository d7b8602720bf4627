"""Chooses the bits of the input, of outputs and of lanes by what they cost and by the accuracy that is measured.

A layer's gas falls in steps: where its lanes become so narrow that its rows, or its outputs, take fewer words. The
search goes down these steps, the one that saves most first. A step is taken if the integers, fitted to some of the
calibration inputs, lose at most the accuracy that was allowed on others; if they lose more, the layer's sources give
up bits, too, which leaves more for its weights; a layer for which nothing helps keeps its lanes.

Accuracy on some thousand inputs is itself uncertain, and the best of many trials is a little worse than it looks. So
the loss counts with one standard error of the paired difference (McNemar 1947). In the end it is measured on inputs
that neither the fit nor the search has seen, and steps are taken back until it is within bounds there, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fedvm.compiler.calibration import accumulate, activate, max_pool
from fedvm.compiler.errors import CalibrationError, RangeError
from fedvm.compiler.graph import INPUT, Conv, FloatGraph, FloatLayer
from fedvm.compiler.interpreter import as_chw
from fedvm.compiler.policy import conv_work
from fedvm.compiler.quality import check_labels
from fedvm.compiler.quantize import QuantizeOptions, macs, quantize
from fedvm.compiler.reference import build_reference
from fedvm.compiler.tiling import WORD_BITS
from fedvm.compiler.transposition import is_symmetric, transposed

LEAST_ROWS = 100
"""Labelled calibration inputs that a search needs."""
WORK = 60_000_000_000
"""Multiply-accumulates that a trial may take to be judged; large networks are judged on fewer inputs."""
FIT_ROWS = 500
"""Inputs that a trial is fitted to, at most."""
FEWEST_BITS = 4
"""Bits of outputs and of the input below which no trial goes."""
WORTH = 0.005
"""Share of the network's gas that a step must save."""
PRODUCT = 18
"""Gas of a product of a dense layer, its share in calls of contracts included."""
CHUNK = 500


@dataclass(frozen=True)
class Bits:
    """A choice. outputs, lanes: by layer name."""

    input_bits: int
    outputs: Mapping[str, int]
    lanes: Mapping[str, int]


@dataclass(frozen=True)
class Loss:
    """Accuracy lost on some inputs, in points, with its standard error."""

    rows: int
    points: float
    error: float

    @classmethod
    def of(cls, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Loss:
        """before, after: which inputs were right, `[N]`."""
        difference = before.astype(np.float64) - after
        return cls(
            len(difference),
            100 * float(difference.mean()),
            100 * float(difference.std()) / math.sqrt(len(difference)),
        )

    def within(self, most: float) -> bool:
        """Whether it is at most `most` points, with a standard error to spare."""
        return self.points + self.error <= most


@dataclass(frozen=True)
class Choice:
    """The bits that were found. searched: their loss on the inputs of the search; fresh: on those kept for the end;
    trials: how many choices were judged."""

    bits: Bits
    searched: Loss
    fresh: Loss
    trials: int

    def manifest(self, most: float) -> dict[str, float | int]:
        """Plain data for JSON. most: points that were allowed."""
        return {
            "allowed": most,
            "rows": self.searched.rows,
            "loss": self.searched.points,
            "error": self.searched.error,
            "fresh_rows": self.fresh.rows,
            "fresh_loss": self.fresh.points,
            "fresh_error": self.fresh.error,
            "trials": self.trials,
        }


def choose_bits(
    graph: FloatGraph,
    data: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    options: QuantizeOptions,
    most: float,
) -> Choice:
    """The bits with the least gas that lose at most `most` points of accuracy, from those of `options` down.

    data: uint8 `[N, *onnx_shape]`; labels: `[N]`. Raises CalibrationError without enough labelled inputs, or if
    already the bits of `options` lose more.
    """
    search = _Search(graph, data, labels, options, most)
    assert isinstance(options.activation_bits, Mapping) and isinstance(options.lane_bits, Mapping)
    bits = Bits(options.input_bits, dict(options.activation_bits), dict(options.lane_bits))
    start = search.judge(bits)
    if start is None or not start.within(most):
        lost = (
            "cannot be represented"
            if start is None
            else f"lose {start.points:.2f} ± {start.error:.2f} points"
        )
        raise CalibrationError(
            f"the integers {lost} already before any bit is given up, on {search.judged} calibration inputs; "
            f"max_accuracy_loss allows {most}: allow more, give more labelled inputs, or more activation_bits"
        )
    path = search.descend(bits, start)
    while True:
        found, loss = path.pop()
        fresh = search.fresh(found)
        if fresh.points <= most or not path:
            return Choice(found, loss, fresh, search.trials)


class _Search:
    def __init__(
        self,
        graph: FloatGraph,
        data: NDArray[np.uint8],
        labels: NDArray[np.int64] | None,
        options: QuantizeOptions,
        most: float,
    ) -> None:
        if labels is None or len(data) < LEAST_ROWS:
            raise CalibrationError(
                f"max_accuracy_loss needs labels of at least {LEAST_ROWS} calibration inputs; there are "
                f"{len(data)} inputs{'' if labels is not None else ' without labels'}"
            )
        check_labels(math.prod(graph.layers[-1].shape), len(data), labels)
        self._graph, self._options, self._most = graph, options, most
        fit = min(FIT_ROWS, len(data) // 4)
        fresh = (len(data) - fit) // 3
        room = max(LEAST_ROWS, WORK // max(1, macs(graph)))
        judged = slice(fit, min(len(data) - fresh, fit + room))
        unseen = slice(len(data) - fresh, min(len(data), len(data) - fresh + room))
        self._fit = data[:fit]
        self._judged = data[judged], labels[judged]
        self._unseen = data[unseen], labels[unseen]
        self._right = self._right_answers(*self._judged)
        self.judged, self.trials = len(self._judged[1]), 0
        self._axes = (graph,) if is_symmetric(graph) else (graph, transposed(graph))

    def _right_answers(self, data: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For which inputs the network itself gives the label."""
        answers = []
        for start in range(0, len(data), CHUNK):
            values = {INPUT: as_chw(self._graph.input, data[start : start + CHUNK]).astype(np.float64)}
            for layer in self._graph.layers:
                total = accumulate(layer.terms, layer.bias, values)
                values[layer.name] = activate(layer, max_pool(layer.pool, total))
            answers.append(values[self._graph.layers[-1].name].reshape(len(values[INPUT]), -1).argmax(axis=1))
        right: NDArray[np.bool_] = np.concatenate(answers) == labels
        return right

    def judge(self, bits: Bits) -> Loss | None:
        """What the integers with these bits lose; None if some sum does not fit its lane."""
        self.trials += 1
        return self._loss(bits, *self._judged, self._right)

    def fresh(self, bits: Bits) -> Loss:
        """What they lose on the inputs kept for the end."""
        loss = self._loss(bits, *self._unseen, self._right_answers(*self._unseen))
        assert loss is not None, "these bits have been judged before"
        return loss

    def _loss(
        self, bits: Bits, data: NDArray[np.uint8], labels: NDArray[np.int64], right: NDArray[np.bool_]
    ) -> Loss | None:
        how = replace(
            self._options, input_bits=bits.input_bits, activation_bits=bits.outputs, lane_bits=bits.lanes
        )
        try:
            integer = quantize(self._graph, self._fit, how)
        except RangeError:
            return None
        model = build_reference(integer).SerializeToString()
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        scores = [
            session.run(None, {name: data[i : i + CHUNK]})[0].reshape(len(data[i : i + CHUNK]), -1)
            for i in range(0, len(data), CHUNK)
        ]
        return Loss.of(right, np.concatenate(scores).argmax(axis=1) == labels)

    # -- steps --------------------------------------------------------------------------------------------------------

    def descend(self, bits: Bits, loss: Loss) -> list[tuple[Bits, Loss]]:
        """The choices on the way down while a step is worth it and within what may be lost, `bits` first."""
        path = [(bits, loss)]
        kept: set[str] = set()
        while True:
            total = sum(self._work(layer.name, bits.lanes[layer.name]) for layer in self._graph.layers)
            steps = [
                (saved, position, lane_bits)
                for position, layer in enumerate(self._graph.layers)
                if layer.name not in kept
                for saved, lane_bits in [self._step(layer, bits.lanes[layer.name])]
                if saved > WORTH * total
            ]
            if not steps:
                return path
            _, position, lane_bits = max(steps)
            layer = self._graph.layers[position]
            for trial in self._variants(layer, bits, lane_bits):
                found = self.judge(trial)
                if found is not None and found.within(self._most):
                    bits = trial
                    path.append((trial, found))
                    break
            else:
                kept.add(layer.name)

    def _step(self, layer: FloatLayer, lane_bits: int) -> tuple[float, int]:
        """(gas saved, lane bits) of the widest lanes that save a word somewhere."""
        before = self._work(layer.name, lane_bits)
        for narrower in range(lane_bits - 1, 9, -1):
            saved = before - self._work(layer.name, narrower)
            if saved > 0.04 * before:
                return saved, narrower
        return 0.0, lane_bits

    def _work(self, name: str, lane_bits: int) -> float:
        """About the gas of a layer, along the cheaper axis."""
        works = []
        for graph in self._axes:
            layer = next(each for each in graph.layers if each.name == name)
            if isinstance(layer.terms[0], Conv):
                works.append(conv_work(graph, layer, lane_bits))
            else:
                inputs = sum(term.weight.shape[1] for term in layer.terms)
                works.append(PRODUCT * inputs * -(-layer.shape[0] // (WORD_BITS // lane_bits)))
        return min(works)

    def _variants(self, layer: FloatLayer, bits: Bits, lane_bits: int) -> Iterator[Bits]:
        """The step alone, and with fewer bits of what the layer reads."""
        narrow = replace(bits, lanes={**bits.lanes, layer.name: lane_bits})
        yield narrow
        sources = {term.source for term in layer.terms}
        tried = {(bits.input_bits, *narrow.outputs.values())}
        for fewer in (1, 2, 3):
            outputs = {
                name: max(FEWEST_BITS, count - fewer) if name in sources else count
                for name, count in narrow.outputs.items()
            }
            free = INPUT in sources and not self._graph.input.float_input
            input_bits = max(FEWEST_BITS, bits.input_bits - fewer) if free else bits.input_bits
            key = (input_bits, *outputs.values())
            if key not in tried:
                tried.add(key)
                yield replace(narrow, outputs=outputs, input_bits=input_bits)
