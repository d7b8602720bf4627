"""Linking: which contract runs which step, where regions lie in its memory, and the calls between contracts.

The entry contract checks the call, holds all regions in its memory and runs the first steps itself; each part is a
contract that runs some steps: its calldata is a stretch of the entry's memory, its return data what others read of
what it wrote. Parts are created first, so the entry's code names their addresses: the code alone is the function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from fedvm.compiler.assembler import Assembler, Section
from fedvm.compiler.errors import CompileError
from fedvm.compiler.kernels.accumulate import Place
from fedvm.compiler.kernels.scores import emit_return_class, emit_return_scores, emit_scores
from fedvm.compiler.layout import WORD_BYTES, Plan, View
from fedvm.compiler.opcodes import COLD_ACCOUNT_GAS, COLD_CALL_FILECOIN, OPCODES, memory_gas
from fedvm.compiler.steps import (
    RAW,
    DenseStep,
    Key,
    PackedStep,
    Step,
    Written,
    far_address,
    measure,
    steps_of,
)

CODE_LIMIT = 24_576
"""Runtime code bytes a contract may have (EIP-170, and Filecoin's EVM)."""
INPUT_AT = 68
"""Calldata offset of the bytes of predict(bytes): selector, offset word, length word."""
CALL_BYTES = 80
"""Code bytes the entry keeps free for each call of a part."""
PART_BYTES = 32
"""Code bytes a part needs beside its steps."""
PREDICT = keccak(b"predict(bytes)")[:4]
CLASSIFY = keccak(b"classify(bytes)")[:4]
WRONG_LENGTH = keccak(b"WrongInputLength(uint256,uint256)")[:4]
MALFORMED = keccak(b"MalformedInput()")[:4]
PART_FAILED = keccak(b"PartFailed()")[:4]
UNKNOWN = keccak(b"UnknownFunction()")[:4]


@dataclass(frozen=True)
class Contract:
    """One contract of the program. symbols: where in the code the addresses of parts go."""

    name: str
    code: bytes
    symbols: Mapping[str, list[int]]
    sections: Mapping[str, Section]
    memory_bytes: int
    listing: str

    @property
    def gas(self) -> int:
        """Gas of its opcodes and memory; calls of other contracts apart."""
        return sum(s.gas for s in self.sections.values()) + memory_gas(self.memory_bytes // WORD_BYTES)

    @property
    def filecoin(self) -> float:
        return sum(OPCODES[op].filecoin * n for s in self.sections.values() for op, n in s.counts.items())

    def linked(self, addresses: Mapping[str, bytes]) -> bytes:
        """The code with the parts' 20-byte addresses filled in."""
        code = bytearray(self.code)
        for symbol, offsets in self.symbols.items():
            for offset in offsets:
                code[offset : offset + 20] = addresses[symbol]
        return bytes(code)


@dataclass(frozen=True)
class Program:
    """The compiled network: parts in order of creation, then the entry."""

    parts: tuple[Contract, ...]
    entry: Contract
    gas: int
    """Execution gas of predict(bytes): everything but the 21,000 and the calldata of a transaction."""
    classify_gas: int
    filecoin: int
    """Estimated Filecoin gas of predict(bytes) in a message of its own."""

    @property
    def contracts(self) -> tuple[Contract, ...]:
        return (*self.parts, self.entry)


@dataclass(frozen=True)
class Region:
    """A stretch of the entry's memory."""

    base: int
    size: int

    @property
    def end(self) -> int:
        return self.base + self.size


@dataclass
class _Group:
    """Steps that one contract runs."""

    steps: list[Step] = field(default_factory=list)
    size: int = 0


@dataclass(frozen=True)
class _Call:
    """A part and what it returns."""

    name: str
    group: _Group
    returns: list[Written]


def link(plan: Plan) -> Program:
    """Split, place and assemble the whole network. Raises CompileError if a step cannot be split small enough."""
    groups = _group(plan)
    regions, total = _allocate(plan, groups)
    final = plan.layers[-1].native
    calls = [_Call(f"part{i}", g, _returned(g, groups, final)) for i, g in enumerate(groups[1:], start=1)]
    data = [c for g in groups for s in g.steps if isinstance(s, PackedStep) for c in _data(s)]
    parts = data + [_part(call, regions) for call in calls]
    entry, extra = _entry(plan, groups[0], calls, regions, total)
    for contract in (*parts, entry):
        if len(contract.code) > CODE_LIMIT:
            raise CompileError(
                f"contract {contract.name} has {len(contract.code)} bytes, the limit is {CODE_LIMIT}"
            )
    gas = entry.gas + sum(p.gas + COLD_ACCOUNT_GAS for p in parts)
    filecoin = entry.filecoin + sum(
        p.filecoin + COLD_CALL_FILECOIN - OPCODES["STATICCALL"].filecoin for p in parts
    )
    return Program(tuple(parts), entry, gas - extra["classify"], gas - extra["predict"], round(filecoin))


# -- which contract runs what -----------------------------------------------------------------------------------------


def _group(plan: Plan) -> list[_Group]:
    """Fill contract after contract; a step that does not fit is cut where it does, if the cut is worth it."""
    overhead, calls = _overhead(plan), 8
    while True:
        groups = _fill(plan, CODE_LIMIT - overhead - CALL_BYTES * calls)
        if len(groups) - 1 <= calls:
            return groups
        calls = len(groups) + 1


def _overhead(plan: Plan) -> int:
    a = Assembler()
    _begin(a, plan)
    _end(a, plan, Place("MLOAD", 0x8000), 0x8000)
    return a.size + 16


def _fill(plan: Plan, entry_budget: int) -> list[_Group]:
    groups = [_Group()]
    todo, far = steps_of(plan), far_address(plan)
    part_budget = CODE_LIMIT - PART_BYTES
    while todo:
        step = todo.pop(0)
        fits = len(groups) == 1 or _joins(groups[-1], step)
        budget = (entry_budget if len(groups) == 1 else part_budget) - groups[-1].size if fits else 0
        size = measure(step, far)
        if size <= budget:
            groups[-1].steps.append(step)
            groups[-1].size += size
            continue
        # a dense layer is cut for little; a cut convolution loads its input words once more
        worth = (
            2000 if isinstance(step, DenseStep) else part_budget // 3 if size > part_budget else part_budget
        )
        cut = step.split(size, budget, far) if budget >= worth else None
        if cut is not None:
            groups[-1].steps.append(cut[0])
            todo.insert(0, cut[1])
        elif groups[-1].steps or len(groups) == 1:
            todo.insert(0, step)
        else:
            raise CompileError(f"layer {step.name!r} needs {size} bytes of code and cannot be cut further")
        groups.append(_Group())
    return groups


def _joins(group: _Group, step: Step) -> bool:
    """Whether a part can run `step` too: it has all of what it reads, or nothing of it."""
    return all(
        w.offset == 0 and w.size == w.key.bytes
        for earlier in group.steps
        for w in earlier.writes
        if w.key in step.reads
    )


def _returned(group: _Group, groups: list[_Group], final: Key) -> list[Written]:
    """What a part hands back: the regions it wrote that others read, as the last of its steps left them."""
    others = {key for g in groups if g is not group for s in g.steps for key in s.reads} | {final}
    written = {w.key: w for step in group.steps for w in step.writes}
    return [w for key, w in written.items() if key in others]


# -- memory -----------------------------------------------------------------------------------------------------------


def _allocate(plan: Plan, groups: list[_Group]) -> tuple[dict[Key, Region], int]:
    """Addresses of all regions in the entry's memory; regions whose lives do not overlap share space."""
    steps = [s for g in groups for s in g.steps]
    outside = {key for g in groups[1:] for s in g.steps for key in s.reads}
    born: dict[Key, int] = {}
    dies: dict[Key, int] = {}
    if RAW in outside:
        born[RAW] = -1
    for i, step in enumerate(steps):
        for w in step.writes:
            born.setdefault(w.key, i)
            dies[w.key] = i
        for key in step.reads:
            if key in born:
                dies[key] = i
    dies[plan.layers[-1].native] = len(steps)
    sizes = {key: _region_bytes(plan, key) for key in born}
    placed: dict[Key, int] = {}
    # largest first keeps the memory, which is dear beyond some 20 KB, small
    for key in sorted(born, key=lambda k: (-sizes[k], born[k])):
        busy = sorted(
            (placed[o], placed[o] + sizes[o]) for o in placed if born[o] <= dies[key] and born[key] <= dies[o]
        )
        at = 0
        for low, high in busy:
            if at + sizes[key] <= low:
                break
            at = max(at, high)
        placed[key] = at
    total = max((placed[k] + sizes[k] for k in placed), default=0)
    return {key: Region(base, sizes[key]) for key, base in placed.items()}, total


def _region_bytes(plan: Plan, key: Key) -> int:
    if isinstance(key, View):
        return key.bytes
    count = 1
    for n in plan.graph.input.shape:
        count *= n
    return -(-count // WORD_BYTES) * WORD_BYTES


# -- contracts --------------------------------------------------------------------------------------------------------


def _span(group: _Group, regions: Mapping[Key, Region]) -> tuple[int, int, tuple[Key, ...]]:
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
    code, symbols = a.assemble()
    return Contract(call.name, code, symbols, a.sections, top, a.listing())


def _touch(a: Assembler, top: int) -> None:
    """Grow the memory at once, so that its cost is known."""
    if top:
        a.push(top - WORD_BYTES)
        a.op("MLOAD", "POP")


def _entry(
    plan: Plan, group: _Group, parts: list[_Call], regions: Mapping[Key, Region], total: int
) -> tuple[Contract, dict[str, int]]:
    a = Assembler()
    scratch = total
    top = scratch + max((step.scratch_bytes for step in group.steps), default=0)
    shape = plan.layers[-1].layer.shape
    count = shape[0] * shape[1] * shape[2]
    output = 0 if not _overlaps(plan, regions, 64 + WORD_BYTES * count) else top
    top = max(top, output + 64 + WORD_BYTES * count)
    _begin(a, plan)
    _touch(a, top)
    places: dict[Key, Place] = {key: Place("MLOAD", region.base) for key, region in regions.items()}
    places[RAW] = Place("CALLDATALOAD", INPUT_AT)
    if RAW in regions:
        a.push(regions[RAW].size)
        a.push(INPUT_AT)
        a.push(regions[RAW].base)
        a.op("CALLDATACOPY")
        a.copied(regions[RAW].size // WORD_BYTES)
    for step in group.steps:
        with a.section(step.name):
            step.emit(a, places, {w.key: regions[w.key].base + w.offset for w in step.writes}, scratch)
    for call in parts:
        with a.section("calls"):
            _call(a, call, regions)
    costs = _end(a, plan, Place("MLOAD", regions[plan.layers[-1].native].base), output)
    code, symbols = a.assemble()
    return Contract("entry", code, symbols, a.sections, top, a.listing()), costs


def _overlaps(plan: Plan, regions: Mapping[Key, Region], size: int) -> bool:
    """Whether the scores, written at 0, would overwrite the lanes they are read from."""
    return regions[plan.layers[-1].native].base < size


def _begin(a: Assembler, plan: Plan) -> None:
    """Dispatch and validation. Leaves "class" on the stack: 1 for classify, 0 for predict."""
    raw = plan.graph.input
    count = 1
    for n in raw.shape:
        count *= n
    with a.section("entry"):
        a.push(0)
        a.op("CALLDATALOAD")
        a.push(224)
        a.op("SHR", result="selector")
        a.dup("selector")
        a.push(int.from_bytes(CLASSIFY, "big"))
        a.op("EQ", result="class")
        a.swap(1)
        a.push(int.from_bytes(PREDICT, "big"))
        a.op("EQ", result="predict")
        a.dup("class")
        a.op("OR", result="known")
        _require(a, UNKNOWN)
        # the canonical encoding of one bytes argument, so that the input begins at a fixed place
        a.push(4)
        a.op("CALLDATALOAD")
        a.push(32)
        a.op("EQ")
        a.push(INPUT_AT + count - 1)
        a.op("CALLDATASIZE", "GT", "AND", result="canonical")
        a.push(36)
        a.op("CALLDATALOAD")
        a.push(count)
        a.op("EQ", result="fits")
        ok = a.new_label("length_ok", [*a.stack[:-1]])
        a.jump_if(ok)
        with a.failure():
            a.push(int.from_bytes(WRONG_LENGTH, "big") << 224)
            a.push(0)
            a.op("MSTORE")
            a.push(count)
            a.push(4)
            a.op("MSTORE")
            a.push(36)
            a.op("CALLDATALOAD")
            a.push(36)
            a.op("MSTORE")
            a.push(68)
            a.push(0)
            a.op("REVERT")
        a.place(ok, reached=False)
        _require(a, MALFORMED)


def _require(a: Assembler, error: bytes) -> None:
    """Revert with an error without arguments unless the top of the stack is true. Stack: condition →"""
    ok = a.new_label("ok", a.stack[:-1])
    a.jump_if(ok)
    with a.failure():
        a.push(int.from_bytes(error, "big") << 224)
        a.push(0)
        a.op("MSTORE")
        a.push(4)
        a.push(0)
        a.op("REVERT")
    a.place(ok, reached=False)


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
    a.op("RETURNDATASIZE")
    a.push(size)
    a.op("EQ", "AND", result="success")
    _require(a, PART_FAILED)
    position = 0
    for w in [] if direct else call.returns:
        a.push(w.size)
        a.push(position)
        a.push(regions[w.key].base + w.offset)
        a.op("RETURNDATACOPY")
        a.copied(w.size // WORD_BYTES)
        position += w.size


def _end(a: Assembler, plan: Plan, source: Place, output: int) -> dict[str, int]:
    """Scores and the two ways to return. Returns the gas of each way, which the other does not spend."""
    shape = plan.layers[-1].layer.shape
    count = shape[0] * shape[1] * shape[2]
    with a.section("scores"):
        emit_scores(a, plan.layers[-1], source, output + 64)
        classify = a.new_label("classify", a.stack[:-1])
        a.jump_if(classify)
        a.stack = []
    with a.section("predict"):
        emit_return_scores(a, count, output)
    with a.section("classify"):
        a.place(classify, reached=False)
        emit_return_class(a, count, output + 64)
    return {name: a.sections[name].gas for name in ("predict", "classify")}
