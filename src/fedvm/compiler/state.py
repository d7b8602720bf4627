"""States: the bytes that one stage passes to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from fedvm.compiler.assembler import Assembler
from fedvm.compiler.kernels.fold import Folded, emit_fold, emit_unfold
from fedvm.compiler.layout import Plan
from fedvm.compiler.memory import lives, region_bytes
from fedvm.compiler.moves import prove_fold
from fedvm.compiler.steps import RAW, ConvStep, DenseStep, Key, Step
from fedvm.compiler.view import WORD_BYTES, View


@dataclass(frozen=True)
class Kept:
    """One region of a state: `size` bytes, folded or not."""

    key: Key
    size: int
    folded: Folded | None = None

    def emit_take(self, a: Assembler, at: int, base: int) -> None:
        """Append the code that restores the region at `base` in memory from `at` in the calldata."""
        if self.folded is not None:
            emit_unfold(a, self.folded, at, base)
        else:
            self.emit_pass(a, at, base)

    def emit_give(self, a: Assembler, base: int, to: int) -> None:
        """Append the code that writes the region at `base` in memory to `to` in memory, as it is kept."""
        if self.folded is not None:
            emit_fold(a, self.folded, base, to)
        else:
            self._copy(a, "MCOPY", base, to)

    def emit_pass(self, a: Assembler, at: int, to: int) -> None:
        """Append the code that copies what is kept at `at` in the calldata to `to` in memory."""
        self._copy(a, "CALLDATACOPY", at, to)

    def _copy(self, a: Assembler, copy: str, source: int, to: int) -> None:
        a.push(self.size)
        a.push(source)
        a.push(to)
        a.op(copy)
        a.copied(-(-self.size // WORD_BYTES))


@dataclass(frozen=True)
class State:
    """Regions one after the other, in this order."""

    kept: tuple[Kept, ...]
    offsets: Mapping[Key, int]
    size: int

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(k.key for k in self.kept)

    @classmethod
    def of(cls, kept: Sequence[Kept]) -> State:
        offsets, at = {}, 0
        for k in kept:
            offsets[k.key] = at
            at += k.size
        return cls(tuple(kept), offsets, at)

    @classmethod
    def of_input(cls, plan: Plan) -> State:
        """The input itself: not padded to words."""
        size = prod(plan.graph.input.shape)
        return cls((Kept(RAW, region_bytes(plan, RAW)),), {RAW: 0}, size)


class States:
    """The states between the steps of a network."""

    def __init__(self, plan: Plan, steps: Sequence[Step]) -> None:
        self._plan, self._steps = plan, steps
        self.life = lives(steps, (RAW,), (plan.layers[-1].native,))
        self._made: dict[int, State] = {0: State.of_input(plan)}

    def before(self, cut: int) -> State:
        """The state between step cut − 1 and step `cut`."""
        if cut not in self._made:
            keys = [key for key, life in self.life.items() if life.born < cut <= life.dies]
            self._made[cut] = State.of([self._kept(key, cut) for key in keys])
        return self._made[cut]

    def _kept(self, key: Key, cut: int) -> Kept:
        size = region_bytes(self._plan, key)
        if not isinstance(key, View):
            return Kept(key, size)
        writers = [s for s in self._steps[:cut] if any(w.key == key for w in s.writes)]
        last = writers[-1]
        unfinished = isinstance(last, DenseStep) and any(
            w.key == key for s in self._steps[cut:] for w in s.writes
        )
        scores = key.tensor == self._plan.graph.layers[-1].name
        if unfinished or scores:  # sums fill their lanes, so they are not folded
            return Kept(key, size)
        channels = last.outputs.stop if isinstance(last, ConvStep) else key.channels
        folded = Folded(key, channels, self._plan.graph.high_of(key.tensor).bit_length())
        prove_fold(folded)
        return Kept(key, folded.bytes, folded)
