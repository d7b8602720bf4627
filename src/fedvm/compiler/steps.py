"""The program as a list of steps: each reads regions, writes one, and can be measured, split and placed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from fedvm.compiler.assembler import Assembler
from fedvm.compiler.graph import Input
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.kernels.conv import Scratch, emit_conv
from fedvm.compiler.kernels.dense import emit_dense
from fedvm.compiler.kernels.pack import emit_pack
from fedvm.compiler.kernels.packed import Layout, data_of, emit_packed, layout_of
from fedvm.compiler.kernels.table import room
from fedvm.compiler.layout import ConvPlan, DensePlan, LayerPlan, Plan
from fedvm.compiler.view import View

RAW = "input"
"""Region key of the raw input bytes; every other region is the View it holds."""

Key: TypeAlias = View | str


@dataclass(frozen=True)
class Written:
    """Part of a region: `size` bytes from `offset` on."""

    key: View
    offset: int
    size: int


@dataclass(frozen=True)
class PackStep:
    """Spread the raw input bytes into the words of one view, or those of some of its channels. unrolled: whether a turn
    of the loop may take several rows."""

    raw: Input
    bits: int
    view: View
    channels: range
    unrolled: bool

    @property
    def name(self) -> str:
        return "input"

    @property
    def reads(self) -> tuple[Key, ...]:
        return (RAW,)

    @property
    def writes(self) -> tuple[Written, ...]:
        own = self.view.channel_bytes
        return (Written(self.view, self.channels.start * own, len(self.channels) * own),)

    @property
    def scratch_bytes(self) -> int:
        return 0

    def emit(
        self, a: Assembler, places: Mapping[Key, Place], targets: Mapping[View, int], scratch: int
    ) -> None:
        source, target = places[RAW], targets[self.view]
        emit_pack(a, self.raw, self.bits, self.view, source, target, self.channels, unrolled=self.unrolled)

    def split(self, whole: int, budget: int, cost: Callable[[Step], int]) -> tuple[Step, Step] | None:
        """A step with as many channels as cost at most `budget`, and one with the rest."""
        cut = _cut(self.channels, whole, budget, lambda part: cost(replace(self, channels=part)))
        return None if cut is None else (replace(self, channels=cut[0]), replace(self, channels=cut[1]))


@dataclass(frozen=True)
class ConvStep:
    """A convolutional layer, or some of its output channels."""

    plan: ConvPlan
    outputs: range

    @property
    def name(self) -> str:
        return self.plan.layer.name

    @property
    def reads(self) -> tuple[Key, ...]:
        return tuple(dict.fromkeys(term.view for term in self.plan.terms))

    @property
    def writes(self) -> tuple[Written, ...]:
        return tuple(
            Written(v, self.outputs.start * v.channel_bytes, len(self.outputs) * v.channel_bytes)
            for v in self.plan.outputs
        )

    @property
    def scratch_bytes(self) -> int:
        return Scratch.bytes(self.plan, len(self.outputs))

    def emit(
        self, a: Assembler, places: Mapping[Key, Place], targets: Mapping[View, int], scratch: int
    ) -> None:
        views = {term.view: places[term.view] for term in self.plan.terms}
        emit_conv(a, self.plan, views, dict(targets), Scratch.allocate(self.plan, len(self.outputs), scratch),
                  self.outputs)  # fmt: skip

    def split(self, whole: int, budget: int, cost: Callable[[Step], int]) -> tuple[Step, Step] | None:
        """A step with about as many channels as cost at most `budget`, and one with the rest; together they cost
        `whole`."""
        cut = _cut(self.outputs, whole, budget, lambda part: cost(replace(self, outputs=part)))
        return None if cut is None else (replace(self, outputs=cut[0]), replace(self, outputs=cut[1]))


def _cut(
    channels: range, whole: int, budget: int, cost: Callable[[range], int]
) -> tuple[range, range] | None:
    """About as many channels as cost at most `budget`, and the rest; together they cost `whole`. None if one is too
    many."""
    count = len(channels)
    if count < 2:
        return None
    take = _most(min(count - 1, budget * count // whole), budget, lambda n: cost(channels[:n]))
    return (channels[:take], channels[take:]) if take > 0 else None


def _most(take: int, budget: int, cost: Callable[[int], int]) -> int:
    """The largest n ≤ `take` with cost(n) ≤ budget, 0 if there is none; cost grows with n.

    Costs are nearly linear, so interpolation between what fits and what does not leads there in a few trials.
    """
    found = cost(take) if take > 0 else 0
    if found <= budget:
        return max(take, 0)
    fits, too_many, cheap, dear = 0, take, 0, found
    while too_many - fits > 1:
        guess = fits + (too_many - fits) * (budget - cheap) // (dear - cheap)
        guess = min(max(guess, fits + 1), too_many - 1)
        found = cost(guess)
        if found <= budget:
            fits, cheap = guess, found
        else:
            too_many, dear = guess, found
    return fits


@dataclass(frozen=True)
class DenseStep:
    """A dense layer, or the products of some of its activations. finishes: whether it makes the outputs of the sums."""

    plan: DensePlan
    span: range
    finishes: bool = True

    @property
    def name(self) -> str:
        return self.plan.layer.name

    @property
    def reads(self) -> tuple[Key, ...]:
        sources: list[Key] = [RAW if view is None else view for _, view, _ in self.plan.terms]
        if self.span.start:
            sources.append(self.plan.native)
        return tuple(dict.fromkeys(sources))

    @property
    def writes(self) -> tuple[Written, ...]:
        return (Written(self.plan.native, 0, self.plan.native.bytes),)

    @property
    def scratch_bytes(self) -> int:
        return _table_room(self.plan)

    def emit(
        self, a: Assembler, places: Mapping[Key, Place], targets: Mapping[View, int], scratch: int
    ) -> None:
        native = self.plan.native
        partial = places[native] if self.span.start else None
        emit_dense(a, self.plan, places, partial, targets[native], self.span, self.finishes, scratch)

    def split(self, whole: int, budget: int, cost: Callable[[Step], int]) -> tuple[Step, Step] | None:
        """A step with as many whole blocks of activations as cost at most `budget`, and one with the rest; the products
        and what is made of the sums, if one block is all there is."""
        block = self.plan.block
        starts = range(0, len(self.span), block)
        blocks = [self.span[i : i + block] for i in starts]
        costs = [
            cost(replace(self, span=b, finishes=self.finishes and b.stop == self.span.stop)) for b in blocks
        ]
        fits = [i for i, total in enumerate(accumulate(costs), start=1) if total <= budget]
        cut = (fits[-1] if fits else 0) * block
        if 0 < cut < len(self.span):
            return replace(self, span=self.span[:cut], finishes=False), replace(self, span=self.span[cut:])
        products = replace(self, finishes=False)
        if self.finishes and 0 < len(self.span) <= block and cost(products) <= budget:
            return products, replace(self, span=range(self.span.stop, self.span.stop))
        return None


@dataclass(frozen=True)
class PackedStep:
    """A dense layer whose weights lie in data contracts."""

    plan: DensePlan
    layout: Layout
    raw: Input

    @property
    def name(self) -> str:
        return self.plan.layer.name

    @property
    def reads(self) -> tuple[Key, ...]:
        return tuple(dict.fromkeys(RAW if view is None else view for _, view, _ in self.plan.terms))

    @property
    def writes(self) -> tuple[Written, ...]:
        return (Written(self.plan.native, 0, self.plan.native.bytes),)

    @property
    def scratch_bytes(self) -> int:
        return self.layout.scratch_bytes + _table_room(self.plan)

    @property
    def symbols(self) -> list[str]:
        """Names of the data contracts."""
        return [f"{self.name}_data{i}" for i in range(1, len(self.layout.blocks) + 1)]

    def emit(
        self, a: Assembler, places: Mapping[Key, Place], targets: Mapping[View, int], scratch: int
    ) -> None:
        target = targets[self.plan.native]
        emit_packed(a, self.plan, self.layout, places, self.symbols, target, scratch)

    def split(self, whole: int, budget: int, cost: Callable[[Step], int]) -> tuple[Step, Step] | None:
        return None

    def unpacked(self) -> DenseStep:
        """The same layer with its weights in the code."""
        return DenseStep(self.plan, range(len(self.plan.scalars)))

    def data(self) -> list[bytes]:
        """The contents of the data contracts."""
        return data_of(self.plan, self.layout)


def _table_room(plan: DensePlan) -> int:
    return 0 if plan.requant.table is None else room(len(plan.requant.table))


Step: TypeAlias = PackStep | ConvStep | DenseStep | PackedStep


def steps_of(plan: Plan) -> list[Step]:
    """The whole network, unsplit, in order."""
    spec = plan.graph.input
    unrolled = any(isinstance(layer, ConvPlan) and layer.unroll_bytes for layer in plan.layers)
    steps: list[Step] = [
        PackStep(spec, plan.graph.input_high.bit_length(), view, range(spec.shape[0]), unrolled)
        for view in plan.input_views
    ]
    for layer in plan.layers:
        if isinstance(layer, ConvPlan):
            steps.append(ConvStep(layer, range(layer.layer.shape[0])))
        elif layer.packed:
            steps.append(PackedStep(layer, layout_of(layer, spec), spec))
        else:
            steps.append(DenseStep(layer, range(len(layer.scalars))))
    return steps


@dataclass(frozen=True)
class Measured:
    """A step with its bytes of code, its gas and Filecoin gas (memory apart)."""

    step: Step
    size: int
    gas: int
    filecoin: int


class Measurer:
    """Measures the steps of one plan by assembling them, with addresses as long as any may become; so sizes and gas are
    close upper bounds. Measurements are cached."""

    def __init__(self, plan: Plan) -> None:
        views = [*plan.input_views, *(view for layer in plan.layers for view in layer.outputs)]
        self._far = 0x8000 if sum(view.bytes for view in views) < 0x8000 else 0x10000
        self._pieces: dict[tuple[int, range] | tuple[int, range, bool], tuple[LayerPlan, Measured]] = {}

    def __call__(self, step: Step) -> Measured:
        if not isinstance(step, ConvStep | DenseStep):
            return self._measured(step)
        # plans hold arrays, so they are known by identity; keeping the plan keeps its id from being used again
        piece = (
            (id(step.plan), step.outputs)
            if isinstance(step, ConvStep)
            else (id(step.plan), step.span, step.finishes)
        )
        if piece not in self._pieces:
            self._pieces[piece] = (step.plan, self._measured(step))
        return self._pieces[piece][1]

    def _measured(self, step: Step) -> Measured:
        a = Assembler()
        places: dict[Key, Place] = dict.fromkeys(step.reads, Place("CALLDATALOAD", self._far))
        step.emit(a, places, {w.key: self._far for w in step.writes}, self._far)
        sections = a.sections.values()
        filecoin = round(sum(s.filecoin for s in sections))
        return Measured(step, a.size, sum(s.gas for s in sections), filecoin)

    def size(self, step: Step) -> int:
        """Bytes of code."""
        return self(step).size
