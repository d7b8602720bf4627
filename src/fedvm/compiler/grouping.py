"""Decides which contract runs which steps: contract after contract is filled with code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fedvm.compiler.errors import CompileError
from fedvm.compiler.steps import DenseStep, Key, Measured, Measurer, Step, Written
from fedvm.evm.limits import CODE_LIMIT

CALL_BYTES = 80
"""Code bytes an entry keeps free for each call of a part."""
PART_BYTES = 32
"""Code bytes a part needs beside its steps."""


@dataclass
class Group:
    """Steps that one contract runs."""

    steps: list[Step] = field(default_factory=list)
    size: int = 0

    def add(self, measured: Measured) -> None:
        self.steps.append(measured.step)
        self.size += measured.size


def group_steps(steps: Sequence[Measured], measure: Measurer, overhead: int) -> list[Group]:
    """Fill contract after contract; a step that does not fit is cut so that its first part does, if that is worth it.

    The first group is the entry's, the others are parts'. overhead: code bytes of the entry in addition to its steps.
    Raises CompileError if a step cannot be cut small enough.
    """
    calls = 8
    while True:
        groups = _fill(steps, measure, CODE_LIMIT - overhead - CALL_BYTES * calls)
        if len(groups) - 1 <= calls:
            return groups
        calls = len(groups) + 1


def returned(group: Group, groups: Sequence[Group], kept: set[Key]) -> list[Written]:
    """What a part returns: the regions it wrote that others read (or that are in `kept`), as its last step left
    them."""
    others = {key for g in groups if g is not group for s in g.steps for key in s.reads} | kept
    written = {w.key: w for step in group.steps for w in step.writes}
    return [w for key, w in written.items() if key in others]


def _fill(steps: Sequence[Measured], measure: Measurer, entry_budget: int) -> list[Group]:
    groups = [Group()]
    todo = list(steps)
    part_budget = CODE_LIMIT - PART_BYTES
    while todo:
        measured = todo.pop(0)
        step, size = measured.step, measured.size
        fits = len(groups) == 1 or _joins(groups[-1], step)
        budget = (entry_budget if len(groups) == 1 else part_budget) - groups[-1].size if fits else 0
        if size <= budget:
            groups[-1].add(measured)
            continue
        # cutting a dense layer costs little; a cut convolution loads its input words a second time
        worth = (
            2000 if isinstance(step, DenseStep) else part_budget // 3 if size > part_budget else part_budget
        )
        cut = step.split(size, budget, measure.size) if budget >= worth else None
        if cut is not None:
            groups[-1].steps.append(cut[0])
            todo.insert(0, measure(cut[1]))
        elif groups[-1].steps or len(groups) == 1:
            todo.insert(0, measured)
        else:
            raise CompileError(
                f"layer {step.name!r} needs {size} bytes of code, more than the {part_budget} of a contract, and "
                'cannot be cut further: try optimize="deploy", which makes shorter code, or give the layer fewer '
                "units or a smaller input"
            )
        groups.append(Group())
    return groups


def _joins(group: Group, step: Step) -> bool:
    """Whether a part can run `step` too: it has written all of what the step reads, or none of it, and no other piece
    of what the step writes a piece of, since it returns one stretch of each region."""
    written = [w for earlier in group.steps for w in earlier.writes]
    whole = all(w.offset == 0 and w.size == w.key.bytes for w in written if w.key in step.reads)
    pieces = {w.key for w in step.writes if w.size < w.key.bytes}
    return whole and not any(w.key in pieces for w in written)
