"""Linking: which contract runs which step, where regions lie in its memory, and the calls between contracts.

The entry contract checks the call, holds all regions in its memory and runs the first steps itself; each part is a
contract that runs some steps: its calldata is a stretch of the entry's memory, its return data what others read of
what it wrote. Parts are created first, so the entry's code names their addresses: the code alone is the function.

The same is done for the whole network, whose entry has the program's interface, and for a stage of it, whose entry
takes and returns the bytes of a state (`stages.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from fedvm.compiler.assembler import Assembler
from fedvm.compiler.contract import Contract, Linked, assembled
from fedvm.compiler.dispatch import (
    PART_FAILED,
    begin_program,
    begin_stage,
    end_last_stage,
    end_program,
    end_stage,
    require,
)
from fedvm.compiler.grouping import PART_BYTES, Group, group_steps, returned
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.layout import Plan
from fedvm.compiler.memory import Region, allocate, lives
from fedvm.compiler.state import State
from fedvm.compiler.steps import Key, Measured, Measurer, PackedStep, Step, Written, steps_of
from fedvm.compiler.view import WORD_BYTES, View
from fedvm.evm.calls import INPUT_AT
from fedvm.evm.limits import CODE_LIMIT


@dataclass(frozen=True)
class Program:
    """The compiled network: parts in order of creation, then the entry."""

    linked: Linked
    gas: int
    """Execution gas of predict(bytes): everything but the 21,000 and the calldata of a transaction."""
    classify_gas: int

    @property
    def contracts(self) -> tuple[Contract, ...]:
        return self.linked.contracts

    @property
    def filecoin(self) -> int:
        """Estimated Filecoin gas of predict(bytes) in a message of its own."""
        return self.linked.filecoin


@dataclass(frozen=True)
class Interface:
    """How an entry contract is called. takes: regions in its calldata, from `at` on; gives: regions it returns, None
    for the scores; name: the entry's; prefix: of the names of its parts."""

    name: str
    prefix: str
    takes: State
    at: int
    gives: State | None

    @property
    def is_program(self) -> bool:
        """Whether it is the interface of a program, with its two functions of `bytes`, not that of a stage."""
        return self.at == INPUT_AT


@dataclass(frozen=True)
class _Call:
    """A part, and the regions that it returns."""

    name: str
    group: Group
    returns: list[Written]


def link(plan: Plan, steps: Sequence[Measured], measure: Measurer) -> Program:
    """Split, place and assemble the whole network. Raises CompileError if a step cannot be split small enough."""
    whole = Interface("entry", "", State.of_input(plan), INPUT_AT, None)
    linked, endings = _link(plan, steps, measure, whole)
    gas = linked.gas
    return Program(linked, gas - endings["classify"], gas - endings["predict"])


def link_stage(plan: Plan, steps: Sequence[Measured], measure: Measurer, interface: Interface) -> Linked:
    """The same for consecutive steps of the network."""
    return _link(plan, steps, measure, interface)[0]


def measured_steps(plan: Plan, measure: Measurer) -> list[Measured]:
    """The whole network, unsplit, in order. A layer whose loop over packed weights does not fit a contract has them in
    the code, which can be cut."""
    measured = [measure(step) for step in steps_of(plan)]
    most = CODE_LIMIT - PART_BYTES
    return [
        measure(m.step.unpacked()) if isinstance(m.step, PackedStep) and m.size > most else m
        for m in measured
    ]


def _link(
    plan: Plan, steps: Sequence[Measured], measure: Measurer, interface: Interface
) -> tuple[Linked, dict[str, int]]:
    """The contracts, and the gas of each way to return that the other does not spend."""
    groups = group_steps(steps, measure, _overhead(plan, interface))
    regions, total = _place(plan, groups, interface)
    kept: set[Key] = {plan.layers[-1].native} if interface.gives is None else set(interface.gives.keys)
    calls = [
        _Call(f"{interface.prefix}part{i}", g, returned(g, groups, kept))
        for i, g in enumerate(groups[1:], start=1)
    ]
    data = [c for g in groups for s in g.steps if isinstance(s, PackedStep) for c in _data(s)]
    parts = data + [_part(call, regions) for call in calls]
    entry, endings = _entry(plan, groups[0], calls, regions, total, interface)
    linked = Linked((*parts,), entry)
    linked.require_sizes()
    return linked, endings


def _overhead(plan: Plan, interface: Interface) -> int:
    """Upper bound on the code bytes of an entry in addition to its steps and calls."""
    a = Assembler()
    _begin(a, plan, interface)
    if not interface.is_program:
        for kept in interface.takes.kept:
            kept.emit_take(a, 0x8000, 0x8000)
    if interface.gives is not None:
        for kept in interface.gives.kept:
            kept.emit_give(a, 0x8000, 0x8000)
    _end(a, plan, interface, Place("MLOAD", 0x8000), 0x8000)
    return a.size + 16


def _place(plan: Plan, groups: Sequence[Group], interface: Interface) -> tuple[dict[Key, Region], int]:
    """The regions in the entry's memory: those that it or a part writes, those that parts read, and those that arrive
    folded."""
    steps = [s for g in groups for s in g.steps]
    needed = {key for g in groups[1:] for s in g.steps for key in s.reads} | _written(steps)
    needed |= {
        kept.key for kept in interface.takes.kept if kept.folded and any(kept.key in s.reads for s in steps)
    }
    given = [key for key in interface.takes.keys if key in needed]
    kept: list[Key] = [plan.layers[-1].native]
    if interface.gives is not None:
        kept = [key for key in interface.gives.keys if key in _written(steps)]
    return allocate(plan, lives(steps, given, kept))


# -- contracts --------------------------------------------------------------------------------------------------------


def _span(group: Group, regions: Mapping[Key, Region]) -> tuple[int, int, tuple[Key, ...]]:
    """(first byte, end) of the entry's memory that a part needs, and the regions it reads from it."""
    made: set[Key] = set()
    needs: list[Key] = []
    for step in group.steps:
        needs += [key for key in step.reads if key not in made]
        made |= {w.key for w in step.writes}
    low = min(regions[k].base for k in needs)
    high = max(regions[k].end for k in needs)
    return low, high, tuple(dict.fromkeys(needs))


def _data(step: PackedStep) -> list[Contract]:
    """The data contracts of a step: a STOP, so that they cannot be run, and the weights."""
    return [
        Contract(name, b"\x00" + data, {}, {}, 0, f";; weights of {step.name}\n")
        for name, data in zip(step.symbols, step.data(), strict=True)
    ]


def _part(call: _Call, regions: Mapping[Key, Region]) -> Contract:
    low, _, needs = _span(call.group, regions)
    places: dict[Key, Place] = {key: Place("CALLDATALOAD", regions[key].base - low) for key in needs}
    bases: dict[View, int] = {}
    top = 0
    for w in [*call.returns, *(w for step in call.group.steps for w in step.writes)]:
        if w.key not in bases:
            bases[w.key] = top
            top += w.size
    scratch = top
    top += max(step.scratch_bytes for step in call.group.steps)
    a = Assembler()
    with a.section("calls"):
        _touch(a, top)
    for step in call.group.steps:
        with a.section(step.name):
            step.emit(a, places, {w.key: bases[w.key] for w in step.writes}, scratch)
        places |= {w.key: Place("MLOAD", bases[w.key]) for w in step.writes}
    with a.section("calls"):
        a.push(sum(w.size for w in call.returns))
        a.push(0)
        a.op("RETURN")
    return assembled(call.name, a, top)


def _touch(a: Assembler, top: int) -> None:
    """Grow the memory to its full size at the start, so that its cost is known."""
    if top:
        a.push(top - WORD_BYTES)
        a.op("MLOAD", "POP")


def _entry(
    plan: Plan, group: Group, parts: Sequence[_Call], regions: Mapping[Key, Region], total: int,
    interface: Interface,
) -> tuple[Contract, dict[str, int]]:  # fmt: skip
    a = Assembler()
    scratch = total
    top = scratch + max((step.scratch_bytes for step in group.steps), default=0)
    output, source = 0, Place("MLOAD", 0)
    if interface.gives is None:
        scores = regions[plan.layers[-1].native]
        size = 64 + WORD_BYTES * prod(plan.layers[-1].layer.shape)
        # the scores must not overwrite the lanes they are read from
        output, source = 0 if scores.base >= size else top, Place("MLOAD", scores.base)
        top = max(top, output + size)
    elif interface.gives.size:
        output = top
        top += interface.gives.size
    _begin(a, plan, interface)
    _touch(a, top)
    places: dict[Key, Place] = {key: Place("MLOAD", region.base) for key, region in regions.items()}
    changed = _written([*group.steps, *(step for call in parts for step in call.group.steps)])
    for kept in interface.takes.kept:
        at = interface.at + interface.takes.offsets[kept.key]
        if kept.folded is None and kept.key not in changed:
            places[kept.key] = Place("CALLDATALOAD", at)
        if kept.key in regions:
            with a.section("entry" if interface.is_program else "state"):
                kept.emit_take(a, at, regions[kept.key].base)
    for step in group.steps:
        with a.section(step.name):
            step.emit(a, places, {w.key: regions[w.key].base + w.offset for w in step.writes}, scratch)
    for call in parts:
        with a.section("calls"):
            _call(a, call, regions)
    if interface.gives is not None:
        with a.section("state"):
            for kept in interface.gives.kept:
                to = output + interface.gives.offsets[kept.key]
                if kept.key in changed:
                    kept.emit_give(a, regions[kept.key].base, to)
                else:
                    kept.emit_pass(a, interface.takes.offsets[kept.key], to)
    endings = _end(a, plan, interface, source, output)
    return assembled(interface.name, a, top), endings


def _written(steps: Sequence[Step]) -> set[Key]:
    return {w.key for step in steps for w in step.writes}


def _begin(a: Assembler, plan: Plan, interface: Interface) -> None:
    if interface.is_program:
        begin_program(a, prod(plan.graph.input.shape))
    else:
        begin_stage(a, interface.takes.size)


def _end(a: Assembler, plan: Plan, interface: Interface, source: Place, output: int) -> dict[str, int]:
    if interface.is_program:
        return end_program(a, plan, source, output)
    if interface.gives is None:
        end_last_stage(a, plan, source, output)
    else:
        end_stage(a, output, interface.gives.size)
    return {}


def _call(a: Assembler, call: _Call, regions: Mapping[Key, Region]) -> None:
    """Call a part with the stretch of memory it reads, and put what it returns into its regions."""
    low, high, _ = _span(call.group, regions)
    size = sum(w.size for w in call.returns)
    direct = len(call.returns) == 1
    a.push(size if direct else 0)
    a.push(regions[call.returns[0].key].base + call.returns[0].offset if direct else 0)
    a.push(high - low)
    a.push(low)
    a.push_symbol(call.name, 20)
    a.op("GAS", "STATICCALL", result="success")
    a.passed(high - low, size)
    a.op("RETURNDATASIZE")
    a.push(size)
    a.op("EQ", "AND", result="success")
    require(a, PART_FAILED)
    position = 0
    for w in [] if direct else call.returns:
        a.push(w.size)
        a.push(position)
        a.push(regions[w.key].base + w.offset)
        a.op("RETURNDATACOPY")
        a.copied(w.size // WORD_BYTES)
        position += w.size
