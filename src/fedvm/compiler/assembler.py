"""A macro assembler that tracks the stack.

Instructions are appended with `op`, `push`, `dup`, `swap`; stack items carry names, so that `dup("x3")` finds its
depth by itself and a wrong depth cannot be written. Loops are counted (their trip count is known when assembling),
so the assembler also knows how often each instruction runs and with that the exact gas of the program.

The stack is checked at every instruction, and at every label the stack must be the one the label was declared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fedvm.compiler.errors import CompilerDefect
from fedvm.evm.gas import (
    COPY_BYTE_FILECOIN,
    COPY_WORD_GAS,
    FALL_THROUGH_FILECOIN,
    GIVEN_BACK_BYTE_FILECOIN,
    PASSED_BYTE_FILECOIN,
    READ_BYTE_FILECOIN,
    scan_filecoin,
    shift_filecoin,
)
from fedvm.evm.opcodes import BY_BYTE, OPCODES

WORD = 2**256


class AssemblyError(CompilerDefect):
    """The code that is being assembled is wrong: its stack, or a move that would lose a value."""


@dataclass(frozen=True)
class Label:
    """A jump target; `stack` is what must lie on the stack there, bottom first."""

    name: str
    stack: tuple[str, ...]


@dataclass(slots=True)
class Instruction:
    """One instruction. immediate: the pushed number, or a label or link symbol that is resolved when assembling."""

    name: str
    immediate: int | Label | str | None = None
    size: int = 1
    section: str = ""
    comment: str = ""
    times: int = 1
    label: Label | None = None


@dataclass
class Section:
    """The cost of one part of the program (usually a layer): how often each opcode runs, and the number of copied
    words."""

    counts: dict[str, int] = field(default_factory=dict)
    copied_words: int = 0
    code_bytes: int = 0
    scan_filecoin: float = 0.0
    executed_filecoin: float = 0.0
    branch_gas: int = 0
    """Gas of code in which the input chooses the way, and every way costs the same."""

    @property
    def filecoin(self) -> float:
        """Estimated Filecoin gas: the opcodes as they run, copies, and reading and scanning the code before it
        runs."""
        return self.executed_filecoin + self.scan_filecoin + READ_BYTE_FILECOIN * self.code_bytes

    @property
    def gas(self) -> int:
        """EVM gas of the opcodes, including copies, without memory and cold accounts."""
        opcodes = sum(OPCODES[name].gas * n for name, n in self.counts.items())
        return opcodes + COPY_WORD_GAS * self.copied_words + self.branch_gas


class Assembler:
    """Collects the instructions of one contract."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.stack: list[str] = []
        self.sections: dict[str, Section] = {}
        self.size = 0
        """Bytes of code so far."""
        self._section = "entry"
        self._times = 1
        self._labels = 0

    # -- instructions ---------------------------------------------------------------------------------------------

    def op(self, *names: str, result: str = "_") -> None:
        """Append plain opcodes; the last one's result is named `result`."""
        for name in names:
            self._append(Instruction(name))
        if result != "_":
            self.rename(result)

    def push(self, value: int, *, name: str = "#", comment: str = "") -> None:
        """Push a number, taken modulo 2²⁵⁶, with the shortest PUSH."""
        value %= WORD
        size = (value.bit_length() + 7) // 8
        self._append(Instruction(f"PUSH{size}", value if size else None, 1 + size, comment=comment), name)

    def push_symbol(self, symbol: str, size: int) -> None:
        """Push `size` bytes that the linker fills in later (an address)."""
        self._append(Instruction(f"PUSH{size}", symbol, 1 + size, comment=symbol), symbol)

    def dup(self, name: str) -> None:
        """Duplicate the topmost stack item called `name`."""
        for depth, item in enumerate(reversed(self.stack), start=1):
            if item == name:
                if depth > 16:
                    raise AssemblyError(f"{name} lies {depth} deep, DUP16 is the deepest: {self.stack[-20:]}")
                self._append(Instruction(f"DUP{depth}"), name)
                return
        raise AssemblyError(f"no {name} on the stack {self.stack}")

    def swap(self, depth: int) -> None:
        """Exchange the top with the item `depth` below it."""
        if depth + 1 > len(self.stack) or not 1 <= depth <= 16:
            raise AssemblyError(f"SWAP{depth} on a stack of {len(self.stack)}")
        self._append(Instruction(f"SWAP{depth}"))
        self.stack[-1], self.stack[-1 - depth] = self.stack[-1 - depth], self.stack[-1]

    def rename(self, name: str, *, below: int = 0) -> None:
        """Give the top of the stack, or the item `below` it, a name."""
        self.stack[-1 - below] = name

    def _append(self, ins: Instruction, name: str = "_") -> None:
        op = OPCODES[ins.name]
        stack = self.stack
        if len(stack) < op.pops:
            raise AssemblyError(f"{ins.name} needs {op.pops} items, the stack holds {stack}")
        if 0x80 <= op.code < 0x90:  # DUP
            stack.append(name)
        elif not 0x90 <= op.code < 0xA0:  # SWAP leaves the depth as it is
            if op.pops:
                del stack[-op.pops :]
            if op.pushes:
                stack.append(name)
        if len(stack) > 1000:
            raise AssemblyError("the stack grows past 1,000 items")
        ins.section, ins.times = self._section, self._times
        self.instructions.append(ins)
        section = self.sections.get(self._section)
        if section is None:
            section = self.sections[self._section] = Section()
        section.counts[ins.name] = section.counts.get(ins.name, 0) + self._times
        section.code_bytes += ins.size
        section.scan_filecoin += scan_filecoin(ins.size - 1 if ins.size > 1 else None)
        section.executed_filecoin += self._filecoin(ins, op.filecoin) * self._times
        self.size += ins.size

    def _filecoin(self, ins: Instruction, cost: int) -> int:
        """Filecoin gas of an instruction; that of a shift depends on the amount, which is pushed right before it."""
        if 0x1B <= OPCODES[ins.name].code <= 0x1D and len(self.instructions) > 1:
            amount = self.instructions[-2].immediate
            if self.instructions[-2].size == 1 and self.instructions[-2].name == "PUSH0":
                amount = 0
            return shift_filecoin(ins.name, amount) if isinstance(amount, int) and amount < 256 else cost
        return cost

    def copied(self, words: int, filecoin: float = COPY_BYTE_FILECOIN) -> None:
        """Account for the words a copy opcode just appended moves. filecoin: Filecoin gas a byte."""
        section = self.sections[self._section]
        section.copied_words += words * self._times
        section.executed_filecoin += 32 * filecoin * words * self._times

    def passed(self, taken: int, given: int) -> None:
        """Account for the bytes that the call just appended takes and returns, which cost gas on Filecoin only."""
        cost = PASSED_BYTE_FILECOIN * taken + GIVEN_BACK_BYTE_FILECOIN * given
        self.sections[self._section].executed_filecoin += cost * self._times

    def account(self, gas: int, filecoin: float) -> None:
        """Account for code that was appended as `failure` because the input chooses the way through it: what every way
        costs."""
        section = self.sections[self._section]
        section.branch_gas += gas * self._times
        section.executed_filecoin += filecoin * self._times

    # -- structure ------------------------------------------------------------------------------------------------

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Attribute what is appended inside to `name` (in the gas table and as a heading of the disassembly)."""
        previous, self._section = self._section, name
        self.sections.setdefault(name, Section())
        yield
        self._section = previous

    def new_label(self, hint: str, stack: list[str] | None = None) -> Label:
        """Declare a label for the present stack, or for the one given."""
        self._labels += 1
        return Label(f"{hint}_{self._labels}", tuple(self.stack if stack is None else stack))

    def place(self, label: Label, *, reached: bool = True) -> None:
        """Put the label here. `reached=False`: only jumps lead here, the stack is taken from the label."""
        if reached and tuple(self.stack) != label.stack:
            raise AssemblyError(f"{label.name} expects {label.stack}, the stack is {self.stack}")
        self.stack = list(label.stack)
        self._append(Instruction("JUMPDEST", label=label))

    def push_label(self, label: Label, name: str) -> None:
        """Push the label's address, for a subroutine to return to."""
        self._append(Instruction("PUSH2", label, 3, comment=label.name), name)

    @contextmanager
    def subroutine(self, name: str, stack: list[str], times: int) -> Iterator[Label]:
        """Assemble the body outside the flow of control. It is entered by a jump to the label with `stack` on the
        stack, runs `times` times in all, and must end by jumping back to its caller."""
        after = self.new_label(f"after_{name}")
        self.jump(after)
        entry = self.new_label(name, stack)
        outer, self._times = self._times, times
        self.place(entry, reached=False)
        yield entry
        self._times = outer
        self.place(after, reached=False)

    def jump(self, label: Label) -> None:
        """JUMP to the label."""
        self._append(Instruction("PUSH2", label, 3))
        self._append(Instruction("JUMP"))
        self._check(label)

    def jump_if(self, label: Label) -> None:
        """JUMPI to the label, on the condition on top of the stack."""
        self._append(Instruction("PUSH2", label, 3))
        self._append(Instruction("JUMPI"))
        self._check(label)

    def _check(self, label: Label) -> None:
        if tuple(self.stack) != label.stack:
            raise AssemblyError(f"{label.name} expects {label.stack}, the jump brings {self.stack}")

    @contextmanager
    def loop(self, name: str, start: int, step: int, count: int) -> Iterator[None]:
        """Run the body `count` times with the stack item `name` = start, start + step, ...

        The body must leave the stack as it found it. A single trip emits no jump at all.
        """
        if count < 1 or step == 0:
            raise AssemblyError(f"loop {name}: {count} trips of step {step}")
        self.push(start, name=name)
        if count == 1:
            yield
            self.op("POP")
            return
        head = self.new_label(name)
        outer, self._times = self._times, self._times * count
        self.place(head)
        yield
        self._check(head)
        self.push(step)
        self.op("ADD", result=name)
        self.dup(name)
        self.push(start + step * count)
        self.op("XOR")
        self.jump_if(head)
        self._times = outer
        self.sections[self._section].executed_filecoin += FALL_THROUGH_FILECOIN * outer
        self.op("POP")

    @contextmanager
    def failure(self) -> Iterator[None]:
        """Code that is appended inside runs only when the call reverts: it counts for the size, not for the gas."""
        outer, self._times = self._times, 0
        yield
        self._times = outer

    @contextmanager
    def repeat(self, name: str, start: int, step: int, end: str, total: int, entered: int) -> Iterator[None]:
        """Run the body with `name` = start, start + step, ... until it equals the stack item `end`, at least once.

        total: number of trips over all entries of the loop; entered: how often the loop is entered, which is how often
        the surrounding code runs.
        """
        if self._times % entered or total < entered:
            raise AssemblyError(f"loop {name}: {total} trips in {entered} rounds")
        self.push(start, name=name)
        head = self.new_label(name)
        outer, self._times = self._times, self._times // entered * total
        self.place(head)
        yield
        self._check(head)
        self.push(step)
        self.op("ADD", result=name)
        self.dup(name)
        self.dup(end)
        self.op("XOR")
        self.jump_if(head)
        self._times = outer
        self.sections[self._section].executed_filecoin += FALL_THROUGH_FILECOIN * outer
        self.op("POP")

    # -- output ---------------------------------------------------------------------------------------------------

    def assemble(self) -> tuple[bytes, dict[str, list[int]]]:
        """The code, and for every link symbol the offsets of its bytes (left zero)."""
        offsets: dict[Label, int] = {}
        position = 0
        for ins in self.instructions:
            if ins.label is not None:
                offsets[ins.label] = position
            position += ins.size
        code = bytearray()
        symbols: dict[str, list[int]] = {}
        for ins in self.instructions:
            code.append(OPCODES[ins.name].code)
            width = ins.size - 1
            if isinstance(ins.immediate, Label):
                code += offsets[ins.immediate].to_bytes(width, "big")
            elif isinstance(ins.immediate, str):
                symbols.setdefault(ins.immediate, []).append(len(code))
                code += bytes(width)
            elif width:
                assert ins.immediate is not None
                code += ins.immediate.to_bytes(width, "big")
        return bytes(code), symbols

    def listing(self) -> str:
        """Disassembly with section headings, offsets, trip counts and comments."""
        lines: list[str] = []
        section, position = None, 0
        for ins in self.instructions:
            if ins.section != section:
                section = ins.section
                lines.append(f"\n;; {section}")
            if ins.label is not None:
                lines.append(f"{ins.label.name}:    ; stack: {' '.join(ins.label.stack) or '(empty)'}")
            text = ins.name
            if isinstance(ins.immediate, Label):
                text += f" {ins.immediate.name}"
            elif isinstance(ins.immediate, str):
                text += f" <{ins.immediate}>"
            elif ins.immediate is not None:
                text += f" 0x{ins.immediate:x}"
            note = "; ".join(x for x in (f"×{ins.times}" if ins.times > 1 else "", ins.comment) if x)
            lines.append(f"  {position:5d}  {text}" + (f"    ; {note}" if note else ""))
            position += ins.size
        return "\n".join(lines) + "\n"


def disassemble(code: bytes) -> list[tuple[int, str, bytes]]:
    """(offset, opcode name, immediate) of each instruction; unknown bytes come out as "UNKNOWN_xx"."""
    result, position = [], 0
    while position < len(code):
        op = BY_BYTE.get(code[position])
        if op is None:
            result.append((position, f"UNKNOWN_{code[position]:02x}", b""))
            position += 1
            continue
        width = int(op.name[4:]) if op.name.startswith("PUSH") else 0
        result.append((position, op.name, code[position + 1 : position + 1 + width]))
        position += 1 + width
    return result
