"""How closely the integers follow the network, measured before any deployment on inputs that they were not fitted to.

Scores are compared by Lin's concordance correlation (Lin 1989, "A concordance correlation coefficient to evaluate
reproducibility"): Pearson's, lowered by differences of mean and of scale, and pooled over the outputs, each about its
own mean, so that scores which hardly depend on the input do not look alike because their means do. Classes are
compared on the inputs for which the network itself has decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedvm.compiler.calibration import accumulate, activate, max_pool, squash
from fedvm.compiler.errors import CalibrationError, CompileError, QualityError
from fedvm.compiler.graph import INPUT, FloatArray, FloatGraph, IntegerGraph
from fedvm.compiler.interpreter import as_chw, in_order
from fedvm.compiler.quantize import QuantizeOptions, macs, quantize, rows_used

WORK = 200_000_000
"""Multiply-accumulates spent on measuring; large networks are measured on fewer inputs, but no fewer than LEAST."""
LEAST = 64
FEW = 20
"""Fewer inputs than this are all needed for the fit: none is held back."""
SHARE = 4
"""One input in so many is held back, where the fit would use all."""
CHUNK = 32
TIE = 0.1
"""A network has decided where its best score leads the second by so much of the scores' deviation over the inputs. What
is nearer falls either way by the smallest change of the weights, in the network as in the integers."""
NORMAL = 1.4826
"""Deviation of a normal distribution, in medians of the distance from its middle."""
LEAST_SHARE = 0.1
"""Few inputs of huge scores make the deviation huge. What most inputs have counts instead, but no less than this share
of it."""
STEADY = 0.1
"""Scores that deviate over the inputs by less than this share of their deviation from each other give one class always:
what little they vary says nothing, and they are compared as they stand beside each other."""
ENOUGH = 32
"""From so many inputs on the figures are taken as they are."""
NEARLY_ONE = 1 - 1e-9
DECIDED = 0.1
"""Where it decides for a smaller share of the inputs than this, its classes mean nothing and are not judged."""


@dataclass(frozen=True)
class Bars:
    """The minimum that a compilation must reach, each 0..1; 0 for no minimum. agreement: share of the inputs for which
    the network has decided that have its class; correlation: of the scores."""

    agreement: float = 0.90
    correlation: float = 0.98

    def __post_init__(self) -> None:
        for name, value in (("min_agreement", self.agreement), ("min_correlation", self.correlation)):
            if not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise CompileError(f"{name} is {value!r}; choose 0..1")


@dataclass(frozen=True)
class Measured:
    """The integers compared with the network on some inputs.

    agreement: share of the inputs for which both have the same class, None where there are no classes; decided: for how
    many the network has decided; decided_agreement: the share among those, None without any; correlation: of the
    scores, None if the network's do not vary; layers: that of every layer's outputs; accuracy: of the network and of
    the integers, None without labels; steady: the network's scores hardly depend on the input; choices: how many
    classes were compared, one an input unless there is one for each position.
    """

    inputs: int
    agreement: float | None
    decided: int
    decided_agreement: float | None
    correlation: float | None
    layers: dict[str, float | None]
    accuracy: tuple[float, float] | None = None
    steady: bool = False
    choices: int = 0

    def falls_short(self, bars: Bars) -> bool:
        """Whether it misses a bar; on few inputs, by more than the standard error that they leave: of a share by the
        binomial distribution, of a correlation by Fisher's z (Fisher 1915, "Frequency distribution of the values of the
        correlation coefficient in samples from an indefinitely large population")."""
        few = self.inputs < ENOUGH
        if self.decided_agreement is not None and self.decided >= DECIDED * self.choices:
            error = math.sqrt(bars.agreement * (1 - bars.agreement) / self.decided) if few else 0.0
            if self.decided_agreement < bars.agreement - error:
                return True
        if self.correlation is None or bars.correlation == 0:
            return False
        error = 1 / math.sqrt(max(1, self.inputs - 3)) if few else 0.0
        return self.correlation < math.tanh(math.atanh(min(bars.correlation, NEARLY_ONE)) - error)


@dataclass(frozen=True)
class Quality:
    """measured: on `held_back` inputs that the fit has not seen, or if there are too few for that (0) on all. fitted:
    the program itself on inputs that it has been fitted to."""

    held_back: int
    measured: Measured
    fitted: Measured

    def manifest(self) -> dict[str, Any]:
        """Plain data for JSON."""
        m = self.measured
        return {
            "held_back": self.held_back,
            "inputs": m.inputs,
            "agreement": m.agreement,
            "decided": m.decided,
            "decided_agreement": m.decided_agreement,
            "correlation": m.correlation,
            "steady": m.steady,
            "accuracy": None if m.accuracy is None else {"network": m.accuracy[0], "integers": m.accuracy[1]},
            "fitted": {"agreement": self.fitted.agreement, "correlation": self.fitted.correlation},
            "layers": m.layers,
        }


def check_quality(
    graph: FloatGraph,
    integer: IntegerGraph,
    data: NDArray[np.uint8],
    options: QuantizeOptions,
    bars: Bars,
    labels: NDArray[np.int64] | None = None,
) -> Quality:
    """Measure how closely `integer`, fitted to `data` (uint8 `[N, *onnx_shape]`) with `options`, follows the network.

    Inputs that the fit did not use measure it. If it used all, every fourth is held back from a second fit, which is
    measured in place of the first. labels: the class of each input, `[N]`. Raises QualityError if a figure is below its
    minimum, CalibrationError for labels that do not fit.
    """
    count, competing = math.prod(graph.layers[-1].shape), graph.scores
    if labels is not None and competing.axis is not None and competing.shape[competing.axis] != count:
        raise CalibrationError(
            f"the model gives a class for each of {count // competing.shape[competing.axis]} positions of an input; "
            "labels, one for each input, do not fit: leave them out"
        )
    check_labels(count, len(data), labels)
    if len(data) > 1 and (bars.agreement or bars.correlation) and (data == data[0]).all():
        raise CalibrationError(
            f"all {len(data)} calibration inputs are the same, by which nothing can be judged; give typical inputs, "
            "which vary"
        )
    used = rows_used(graph, len(data))
    rows = np.arange(len(data))
    limit = max(LEAST, WORK // max(1, macs(graph)))
    fitted = measure(graph, integer, data, labels, rows[:used][: limit // 2])
    if len(data) - used >= LEAST:
        held = rows[used:][:limit]
        measured = measure(graph, integer, data, labels, held)
    elif len(data) >= FEW:
        held = rows[SHARE - 1 :: SHARE][:limit]
        trial = quantize(graph, np.delete(data, rows[SHARE - 1 :: SHARE], axis=0), options)
        measured = measure(graph, trial, data, labels, held)
    else:
        held, measured = rows[:0], fitted
    quality = Quality(len(held), measured, fitted)
    if measured.falls_short(bars):
        raise QualityError(_refusal(graph, quality, bars))
    return quality


def measure(
    graph: FloatGraph,
    integer: IntegerGraph,
    data: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    rows: NDArray[np.int64],
) -> Measured:
    """Compare the integers and the network on the chosen rows of `data`."""
    sums = {layer.name: _Moments() for layer in graph.layers}
    real, whole = [], []
    for start in range(0, len(rows), CHUNK):
        x = as_chw(graph.input, data[rows[start : start + CHUNK]])
        wanted: dict[str, Any] = {INPUT: x.astype(np.float64)}
        got: dict[str, Any] = {INPUT: (x >> integer.input_shift).astype(np.float32)}
        for layer, fit in zip(graph.layers, integer.layers, strict=True):
            total = accumulate(layer.terms, layer.bias, wanted)
            wanted[layer.name] = activate(layer, max_pool(layer.pool, total))
            steps = accumulate(fit.terms, fit.bias, got)
            got[layer.name] = squash(fit, max_pool(fit.pool, steps))
            held = (got[layer.name].astype(np.float64) - fit.zero) * fit.scale[None, :, None, None]
            sums[layer.name].add(wanted[layer.name], held)
        real.append(_rivals(graph, wanted[graph.layers[-1].name]))
        whole.append(_rivals(graph, held))
    layers = {name: moments.concordance() for name, moments in sums.items()}
    scores, integers = np.concatenate(real), np.concatenate(whole)
    known: NDArray[np.int64] | Literal[False] | None = False
    if _has_classes(graph, labels):
        known = None if labels is None else labels[rows]
    result = compare(scores, integers, layers, layers[graph.layers[-1].name], known)
    return replace(result, inputs=len(rows))


def compare(
    scores: FloatArray,
    integers: FloatArray,
    layers: dict[str, float | None],
    correlation: float | None,
    labels: NDArray[np.int64] | Literal[False] | None,
) -> Measured:
    """Compare scores of the network and of the integers, both as real numbers: `[R, K]`, a row for each choice.

    layers, correlation: of the outputs of layers and of the scores; labels: the class of each row, `[R]`, None if it
    is not known, False if the largest score names no class.
    """
    result = Measured(len(scores), None, 0, None, correlation, layers)
    if labels is False:
        return result
    same = scores.argmax(axis=1) == integers.argmax(axis=1)
    best = np.sort(scores, axis=1)
    spread = math.sqrt(float(scores.var(axis=0).mean()))
    decided = best[:, -1] - best[:, -2] > TIE * _usual(scores, spread)
    accuracy = None
    if labels is not None:
        right = [float((s.argmax(axis=1) == labels).mean()) for s in (scores, integers)]
        accuracy = right[0], right[1]
    beside, held = (s - s.mean(axis=1, keepdims=True) for s in (scores, integers))
    steady = spread < STEADY * float(beside.std())
    if steady:
        result = replace(result, correlation=concordance(beside.reshape(-1, 1), held.reshape(-1, 1)))
    return replace(
        result,
        steady=steady,
        choices=len(scores),
        agreement=float(same.mean()),
        decided=int(decided.sum()),
        decided_agreement=float(same[decided].mean()) if decided.any() else None,
        accuracy=accuracy,
    )


def _rivals(graph: FloatGraph, scores: FloatArray) -> FloatArray:
    """Scores `[N, C, H, W]` as `[R, K]`, a row for each choice between K classes; an input's in one row, if none is
    stated."""
    given = in_order(graph.scores, scores)
    if graph.scores.axis is None:
        return given.reshape(len(scores), -1)
    moved = np.moveaxis(given.reshape(len(scores), *graph.scores.shape), graph.scores.axis + 1, -1)
    return moved.reshape(-1, moved.shape[-1])


def concordance(x: FloatArray, y: FloatArray) -> float | None:
    """Lin's coefficient of two tables `[N, O]`, pooled over the columns; None if the first does not vary."""
    moments = _Moments()
    moments.add(x[:, :, None, None], y[:, :, None, None])
    return moments.concordance()


class _Moments:
    """Sums from which the concordance of two tensors `[N, C, H, W]` follows, chunk by chunk."""

    def __init__(self) -> None:
        self._count = 0
        self._origin: FloatArray | None = None
        self._sums: FloatArray | None = None

    def add(self, x: FloatArray, y: FloatArray) -> None:
        """Take account of more samples."""
        if self._origin is None:
            self._origin = x.mean(axis=(0, 2, 3), keepdims=True)  # keeps the squares small
        x, y = x - self._origin, y - self._origin
        sums = np.stack([v.sum(axis=(0, 2, 3)) for v in (x, y, x * x, y * y, x * y)])
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += x.size // x.shape[1]

    def concordance(self) -> float | None:
        """Lin's coefficient, pooled over the channels; None if the first tensor does not vary."""
        assert self._sums is not None and self._origin is not None
        mx, my, xx, yy, xy = self._sums / self._count
        variance = float((xx - mx * mx).sum())
        if variance <= 1e-12 * float(xx.sum() + np.square(self._origin).sum()):
            return None
        spread = (xx - mx * mx) + (yy - my * my) + np.square(mx - my)
        return float(2 * (xy - mx * my).sum() / spread.sum())


def _usual(scores: FloatArray, spread: float) -> float:
    """How far the scores `[N, O]` of most inputs deviate: `spread`, their deviation, unless few inputs make it up."""
    distance = np.sqrt(np.square(scores - np.median(scores, axis=0)).mean(axis=1))
    return min(spread, max(LEAST_SHARE * spread, NORMAL * float(np.median(distance))))


def _has_classes(graph: FloatGraph, labels: NDArray[np.int64] | None) -> bool:
    """Whether the largest score names a class. Labels, a softmax or an argmax say so. Otherwise as many scores as
    inputs, or a map, are taken for a reconstruction, and a head such as a tanh for a regression's."""
    shape = graph.layers[-1].shape
    count = math.prod(shape)
    if count < 2:
        return False
    return (
        graph.scores.axis is not None
        or labels is not None
        or (graph.head in ("", "sigmoid") and shape[1:] == (1, 1) and count < math.prod(graph.input.shape))
    )


def check_labels(scores: int, inputs: int, labels: NDArray[np.int64] | None) -> None:
    """Raise CalibrationError unless labels are classes of `scores` scores, one for each of `inputs` inputs."""
    if labels is None:
        return
    if labels.shape != (inputs,) or labels.dtype.kind not in "iu":
        raise CalibrationError(
            f"labels are {labels.dtype} {list(labels.shape)}; give one whole number for each of {inputs} inputs"
        )
    if scores < 2 or labels.min() < 0 or labels.max() >= scores:
        raise CalibrationError(
            f"labels reach from {labels.min()} to {labels.max()}; the model has {scores} scores, counted from 0"
        )


def _refusal(graph: FloatGraph, quality: Quality, bars: Bars) -> str:
    result = quality.measured
    kind = "held-back calibration" if quality.held_back else "calibration"
    text = f"on {result.inputs} {kind} inputs the integers "
    if result.decided_agreement is not None:
        text += (
            f"have the network's class in {result.decided_agreement:.1%} of the {result.decided} for which it has "
            f"decided (bar {bars.agreement:.1%}), and "
        )
    shown = "none" if result.correlation is None else f"{result.correlation:.3f}"
    text += f"scores that correlate by {shown} (bar {bars.correlation}). "
    if result.accuracy is not None:
        text += (
            f"Accuracy: {result.accuracy[0]:.1%} of the network, {result.accuracy[1]:.1%} of the integers. "
        )
    name, before, after = _worst(graph, result.layers)
    text += (
        f"Most is lost in layer {name} ({before:.3f} to {after:.3f}). Try more activation_bits (up to 8) or "
        "weight_bits, and more or more typical calibration inputs; check that they are what the model expects "
        "(preprocess, input_range). To take the program as it is, lower min_agreement and min_correlation"
    )
    return text


def _worst(graph: FloatGraph, layers: dict[str, float | None]) -> tuple[str, float, float]:
    """The layer whose outputs correlate worse than what it reads by the most, with both figures."""
    held = {INPUT: 1.0} | {name: 1.0 if value is None else value for name, value in layers.items()}
    losses = []
    for layer in graph.layers:
        before = min(held[term.source] for term in layer.terms)
        losses.append((before - held[layer.name], layer.name, before, held[layer.name]))
    _, name, before, after = max(losses)
    return name, before, after


def as_labels(labels: Sequence[int] | NDArray[Any] | None) -> NDArray[np.int64] | None:
    """Labels as an array. Raises CalibrationError if they are not whole numbers."""
    if labels is None:
        return None
    try:
        array = np.asarray(labels)
        whole = array.astype(np.int64)
        same = bool((whole == array).all())
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same:
        raise CalibrationError("labels must be whole numbers, one for each calibration input")
    return whole
