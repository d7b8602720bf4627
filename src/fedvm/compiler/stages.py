"""A network cut into stages: functions from the bytes of one state to those of the next, each small enough for a
transaction of its own.

The cuts are those with the least gas in all: keeping a byte of state costs more than a multiply-accumulate, so they
fall where the network is narrow. Where steps are too large they are cut by output channels or by activations.
A state is what later steps read, one region after the other, folded (`kernels/fold.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from fedvm.compiler.assembler import Assembler
from fedvm.compiler.contract import Linked
from fedvm.compiler.defaults import Target
from fedvm.compiler.errors import StageError
from fedvm.compiler.layout import Plan
from fedvm.compiler.link import Interface, link_stage
from fedvm.compiler.memory import region_bytes
from fedvm.compiler.state import State, States
from fedvm.compiler.steps import Measured, Measurer, PackedStep
from fedvm.compiler.transactions import Work, stage_gas
from fedvm.compiler.view import WORD_BYTES
from fedvm.evm.gas import COLD_ACCOUNT_GAS, memory_gas
from fedvm.evm.opcodes import OPCODES

ATTEMPTS = 6
"""How often the cuts are made anew because a stage came out dearer than estimated."""
CALL_GAS = 200
"""Opcodes around the call of a part."""
FULL = 20_000
"""Bytes of a contract that are filled on average."""
SMALL = 8
"""A step below limit / SMALL is not cut: then what is dear is the state."""
FAR = 0x8000
"""An address whose PUSH costs as much as that of any other."""
SPREAD = 1.25
"""Memory of an entry over what lives in it at once."""


@dataclass(frozen=True)
class Stage:
    """One stage. takes and gives: bytes of its calldata and of what it returns (the scores' encoding in the last);
    transaction: gas limit of the transaction that runs it, in the unit of the target."""

    linked: Linked
    layers: tuple[str, ...]
    takes: int
    gives: int
    transaction: int


def link_stages(
    plan: Plan, steps: Sequence[Measured], measure: Measurer, limit: int, target: Target
) -> tuple[Stage, ...]:
    """Stages whose transactions take `limit` gas at most.

    Raises StageError if that cannot be done: a step that cannot be cut, or a state that is too dear to keep.
    """
    margin = 0
    for _ in range(ATTEMPTS):
        planner, cuts = _cheapest(plan, steps, measure, limit - margin, target)
        stages = link_cuts(planner, cuts, measure)
        over = max(stage.transaction for stage in stages) - limit
        if over <= 0:
            return stages
        # the assembled stages cost at most this much more than estimated, as far as is known
        estimates = (planner.cost(first, last) for first, last in pairwise(cuts))
        margin = max(stage.transaction - cost for stage, cost in zip(stages, estimates, strict=True))
    raise StageError(
        f"no cut into stages of {limit:,} gas was found; the last one exceeds it by {over:,}: raise max_gas"
    )


def link_cuts(planner: Planner, cuts: Sequence[int], measure: Measurer) -> tuple[Stage, ...]:
    """The stages between cuts: positions in the planner's steps, 0 and their number among them."""
    return tuple(
        _link(planner, first, last, number, measure) for number, (first, last) in enumerate(pairwise(cuts))
    )


@dataclass(frozen=True)
class _Folding:
    """Gas and Filecoin gas of unfolding and of folding a state."""

    take: int
    give: int
    take_filecoin: int
    give_filecoin: int

    @classmethod
    def of(cls, state: State) -> _Folding:
        take, give = Assembler(), Assembler()
        for kept in state.kept:
            with take.section("state"), give.section("state"):
                kept.emit_take(take, FAR, FAR)
                kept.emit_give(give, FAR, FAR)
        return cls(_gas(take), _gas(give), _filecoin(take), _filecoin(give))


def _gas(a: Assembler) -> int:
    return sum(s.gas for s in a.sections.values())


def _filecoin(a: Assembler) -> int:
    return round(sum(s.filecoin for s in a.sections.values()))


class Planner:
    """Upper estimates of the cost of any run of consecutive steps as a stage."""

    def __init__(self, plan: Plan, steps: Sequence[Measured], target: Target) -> None:
        self.plan, self.steps, self.target = plan, list(steps), target
        self._states = States(plan, [m.step for m in steps])
        life = self._states.life
        sizes = {key: region_bytes(plan, key) for key in life}
        self._foldings: dict[int, _Folding] = {}
        self._memory = [
            memory_gas((sum(w.size for w in m.step.writes) + m.step.scratch_bytes) // WORD_BYTES + 1)
            for m in steps
        ]
        self._alive = [
            sum(sizes[key] for key, life_ in life.items() if life_.born <= i <= life_.dies)
            + steps[i].step.scratch_bytes
            for i in range(len(steps))
        ]

    def state(self, cut: int) -> State:
        """The state between step cut − 1 and step `cut`."""
        return self._states.before(cut)

    def _folding(self, cut: int) -> _Folding:
        """Cost of reading and writing the state before step `cut`."""
        if cut not in self._foldings:
            self._foldings[cut] = _Folding.of(self.state(cut))
        return self._foldings[cut]

    def work(self, first: int, last: int) -> Work:
        """The work of a stage that runs steps first … last − 1."""
        run = self.steps[first:last]
        takes, gives, scores = self.edges(first, last)
        data = sum(len(m.step.symbols) for m in run if isinstance(m.step, PackedStep))
        parts = sum(m.size for m in run) // FULL + data + 1
        words = round(SPREAD * max(self._alive[first:last]) + takes + gives) // WORD_BYTES
        gas = sum(m.gas for m in run) + sum(self._memory[first:last]) + memory_gas(words)
        gas += parts * (COLD_ACCOUNT_GAS + CALL_GAS) + 3 * words
        filecoin = sum(m.filecoin for m in run) + parts * OPCODES["STATICCALL"].filecoin
        gas += self._folding(first).take + (0 if scores else self._folding(last).give)
        filecoin += self._folding(first).take_filecoin + (0 if scores else self._folding(last).give_filecoin)
        dearest = max(m.gas for m in run)
        return Work(
            gas, gas + dearest // 63, filecoin, parts + 1, takes, 0 if scores else gives, scores, first == 0
        )

    def edges(self, first: int, last: int) -> tuple[int, int, int]:
        """(bytes taken, bytes given, scores given) of a stage."""
        takes = self.state(first).size
        if last < len(self.steps):
            return takes, self.state(last).size, 0
        scores = prod(self.plan.layers[-1].layer.shape)
        return takes, 64 + WORD_BYTES * scores, scores

    def cost(self, first: int, last: int) -> int:
        return stage_gas(self.target, self.work(first, last))

    def reachable(self, limit: int) -> list[tuple[int, int] | None]:
        """For every cut the least gas with which stages within the limit reach it, and the cut before it; None if none
        do."""
        best: list[tuple[int, int] | None] = [(0, 0)]
        for last in range(1, len(self.steps) + 1):
            options = []
            execution = 0
            for first in range(last - 1, -1, -1):
                execution += weigh(self.steps[first], self.target)
                if execution > limit:
                    break
                before = best[first]
                if before is not None and (cost := self.cost(first, last)) <= limit:
                    options.append((before[0] + cost, first))
            best.append(min(options, default=None))
        return best


def _cheapest(
    plan: Plan, steps: Sequence[Measured], measure: Measurer, limit: int, target: Target
) -> tuple[Planner, list[int]]:
    """The cuts with the least gas in all. Where no cut is within reach, steps are halved until one is."""
    steps = list(steps)
    while True:
        planner = Planner(plan, steps, target)
        best = planner.reachable(limit)
        if best[-1] is not None:
            break
        stuck = max(i for i, found in enumerate(best) if found is not None)
        at, halves = _halves(planner, stuck, measure, limit)
        steps[at : at + 1] = halves
    cuts = [len(steps)]
    while cuts[-1]:
        found = best[cuts[-1]]
        assert found is not None
        cuts.append(found[1])
    return planner, cuts[::-1]


def _halves(planner: Planner, stuck: int, measure: Measurer, limit: int) -> tuple[int, list[Measured]]:
    """The first step from `stuck` on that is large enough for its halves to help, and these."""
    execution = 0
    for at in range(stuck, len(planner.steps)):
        measured = planner.steps[at]
        weight = weigh(measured, planner.target)
        if weight > limit // SMALL:
            cut = measured.step.split(weight, weight * 2 // 3, lambda s: weigh(measure(s), planner.target))
            if cut is not None:
                return at, [measure(cut[0]), measure(cut[1])]
        execution += weight
        if execution > limit:
            break
    raise StageError(_too_dear(planner, stuck, limit))


def weigh(measured: Measured, target: Target) -> int:
    """Gas of a step in the target's unit."""
    return measured.filecoin if target == "filecoin" else measured.gas


def _too_dear(planner: Planner, stuck: int, limit: int) -> str:
    last = min(range(stuck + 1, len(planner.steps) + 1), key=lambda cut: planner.cost(stuck, cut))
    run = planner.steps[stuck:last]
    names = list(dict.fromkeys(m.step.name for m in run))
    takes, gives, _ = planner.edges(stuck, last)
    return (
        f"from layer {names[0]!r} to {names[-1]!r} a stage takes {planner.cost(stuck, last):,} gas at least: "
        f"{sum(weigh(m, planner.target) for m in run):,} to compute, the rest to read {takes:,} bytes and to keep "
        f"{gives:,}. The limit is {limit:,}: raise max_gas, or take fewer activation bits"
    )


def _link(planner: Planner, first: int, last: int, number: int, measure: Measurer) -> Stage:
    plan, steps = planner.plan, planner.steps
    name = f"stage{number}"
    gives = planner.state(last) if last < len(steps) else None
    interface = Interface(name, f"{name}_", planner.state(first), 0, gives)
    linked = link_stage(plan, steps[first:last], measure, interface)
    takes, given, scores = planner.edges(first, last)
    work = Work.of(linked, takes, 0 if scores else given, scores, first=first == 0)
    layers = tuple(dict.fromkeys(m.step.name for m in steps[first:last]))
    return Stage(linked, layers, takes, given, stage_gas(planner.target, work))
