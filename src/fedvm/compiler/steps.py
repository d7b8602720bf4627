"""The program as a list of steps: each reads regions, writes one, and can be measured, split and placed anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from fedvm.compiler.assembler import Assembler
from fedvm.compiler.graph import Input
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.kernels.conv import Scratch, emit_conv
from fedvm.compiler.kernels.dense import elements, emit_dense
from fedvm.compiler.kernels.pack import emit_pack
from fedvm.compiler.kernels.packed import Layout, data_of, emit_packed, layout_of
from fedvm.compiler.layout import ConvPlan, DensePlan, Plan, View

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
    """Spread the raw input bytes into the words of one view."""

    raw: Input
    bits: int
    view: View

    @property
    def name(self) -> str:
        return "input"

    @property
    def reads(self) -> tuple[Key, ...]:
        return (RAW,)

    @property
    def writes(self) -> tuple[Written, ...]:
        return (Written(self.view, 0, self.view.bytes),)

    @property
    def scratch_bytes(self) -> int:
        return 0

    def emit(
        self, a: Assembler, places: Mapping[Key, Place], targets: Mapping[View, int], scratch: int
    ) -> None:
        emit_pack(a, self.raw, self.bits, self.view, places[RAW], targets[self.view])

    def split(self, size: int, budget: int, far: int) -> tuple[Step, Step] | None:
        return None


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

    def split(self, size: int, budget: int, far: int) -> tuple[Step, Step] | None:
        """About as many channels as fit `budget` bytes of code, and the rest; all of them take `size`."""
        count = len(self.outputs)
        if count < 2:
            return None
        take = min(count - 1, budget * count // size)
        while take > 0 and measure(replace(self, outputs=self.outputs[:take]), far) > budget:
            take -= 1
        if take < 1:
            return None
        return replace(self, outputs=self.outputs[:take]), replace(self, outputs=self.outputs[take:])


@dataclass(frozen=True)
class DenseStep:
    """A dense layer, or the products of some of its activations."""

    plan: DensePlan
    raw: Input
    span: range

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
        return 0

    def emit(
        self, a: Assembler, places: Mapping[Key, Place], targets: Mapping[View, int], scratch: int
    ) -> None:
        native = self.plan.native
        partial = places[native] if self.span.start else None
        emit_dense(a, self.plan, self.raw, places, partial, targets[native], self.span)

    def split(self, size: int, budget: int, far: int) -> tuple[Step, Step] | None:
        """As many whole blocks of activations as fit `budget` bytes of code, and the rest."""
        block = self.plan.block
        starts = range(0, len(self.span), block)
        sizes = [measure(replace(self, span=self.span[i : i + block]), far) for i in starts]
        fits = [i for i, total in enumerate(accumulate(sizes), start=1) if total <= budget]
        cut = (fits[-1] if fits else 0) * block
        if not 0 < cut < len(self.span):
            return None
        return replace(self, span=self.span[:cut]), replace(self, span=self.span[cut:])


@dataclass(frozen=True)
class PackedStep:
    """A dense layer whose weights lie in data contracts."""

    plan: DensePlan
    layout: Layout

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
        return self.layout.scratch_bytes

    @property
    def symbols(self) -> list[str]:
        """Names of the data contracts."""
        return [f"{self.name}_data{i}" for i in range(1, len(self.layout.blocks) + 1)]

    def emit(
        self, a: Assembler, places: Mapping[Key, Place], targets: Mapping[View, int], scratch: int
    ) -> None:
        target = targets[self.plan.native]
        emit_packed(a, self.plan, self.layout, places, self.symbols, target, scratch)

    def split(self, size: int, budget: int, far: int) -> tuple[Step, Step] | None:
        return None

    def data(self) -> list[bytes]:
        """What the data contracts hold."""
        return data_of(self.plan, self.layout)


Step: TypeAlias = PackStep | ConvStep | DenseStep | PackedStep


def steps_of(plan: Plan) -> list[Step]:
    """The whole network, unsplit, in order."""
    steps: list[Step] = [
        PackStep(plan.graph.input, plan.graph.input_high.bit_length(), view) for view in plan.input_views
    ]
    for layer in plan.layers:
        if isinstance(layer, ConvPlan):
            steps.append(ConvStep(layer, range(layer.layer.shape[0])))
        elif layer.packed:
            steps.append(PackedStep(layer, layout_of(layer, plan.graph.input)))
        else:
            steps.append(DenseStep(layer, plan.graph.input, range(len(elements(layer)))))
    return steps


def far_address(plan: Plan) -> int:
    """An address whose PUSH is as long as that of any region may become."""
    views = [*plan.input_views, *(view for layer in plan.layers for view in layer.outputs)]
    return 0x8000 if sum(view.bytes for view in views) < 0x8000 else 0x10000


def measure(step: Step, far: int) -> int:
    """Bytes of code of a step, with addresses from `far` on."""
    a = Assembler()
    places: dict[Key, Place] = dict.fromkeys(step.reads, Place("CALLDATALOAD", far))
    step.emit(a, places, {w.key: far for w in step.writes}, far)
    return a.size
