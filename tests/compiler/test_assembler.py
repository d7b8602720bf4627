"""The assembler refuses unbalanced stacks, resolves labels and symbols, and counts gas as revm charges it."""

from __future__ import annotations

import pytest
from evm import run
from hypothesis import given, settings
from hypothesis import strategies as st

from fedvm.compiler.assembler import Assembler, AssemblyError, disassemble
from fedvm.evm.gas import creation_filecoin, memory_gas
from fedvm.evm.opcodes import OPCODES


def finish(a: Assembler, memory: int = 32) -> bytes:
    """Return the top of the stack."""
    a.push(0)
    a.op("MSTORE")
    a.push(memory)
    a.push(0)
    a.op("RETURN")
    return a.assemble()[0]


def gas_of(a: Assembler, memory: int = 32) -> int:
    return sum(s.gas for s in a.sections.values()) + memory_gas(memory // 32)


def returned(a: Assembler) -> int:
    """What the program returns; the gas must be the counted one."""
    outcome = run(finish(a))
    assert outcome.returned and outcome.gas == gas_of(a)
    return int.from_bytes(outcome.data, "big")


# -- numbers and the stack ------------------------------------------------------------------------------------------


@given(st.integers(-(2**256), 2**256 - 1))
@settings(max_examples=60, deadline=None)
def test_push_takes_the_fewest_bytes(value):
    a = Assembler()
    a.push(value)
    (_, name, immediate), *_ = disassemble(a.assemble()[0])
    residue = value % 2**256
    assert int.from_bytes(immediate, "big") == residue and name == f"PUSH{(residue.bit_length() + 7) // 8}"
    assert returned(a) == residue


def test_items_are_found_by_name():
    a = Assembler()
    for i in range(16):
        a.push(100 + i, name=f"x{i}")
    a.dup("x0")
    assert disassemble(a.assemble()[0])[-1][1] == "DUP16"
    with pytest.raises(AssemblyError, match="x0 lies 17 deep"):
        a.rename("copy")
        a.dup("x0")
    with pytest.raises(AssemblyError, match="no y on the stack"):
        a.dup("y")


def test_the_topmost_of_equal_names_is_taken():
    a = Assembler()
    a.push(1, name="x")
    a.push(2, name="x")
    a.dup("x")
    assert returned(a) == 2


def test_swap_exchanges_names_too():
    a = Assembler()
    a.push(1, name="x")
    a.push(2, name="y")
    a.swap(1)
    assert a.stack == ["y", "x"] and returned(a) == 1


@pytest.mark.parametrize(
    "name", [n for n, op in OPCODES.items() if op.pops and not n.startswith(("DUP", "SWAP"))]
)
def test_too_few_items_are_refused(name):
    a = Assembler()
    for _ in range(OPCODES[name].pops - 1):
        a.push(0)
    with pytest.raises(AssemblyError, match=f"{name} needs {OPCODES[name].pops} items"):
        a.op(name)


def test_deep_swaps_and_endless_stacks_are_refused():
    a = Assembler()
    a.push(0)
    with pytest.raises(AssemblyError, match="SWAP1 on a stack of 1"):
        a.swap(1)
    with pytest.raises(AssemblyError, match="1,000 items"):
        for _ in range(1000):
            a.push(0)


# -- labels and loops -----------------------------------------------------------------------------------------------


def test_jumps_land_on_their_labels():
    a = Assembler()
    far = a.new_label("far")
    a.jump(far)
    a.op("INVALID")
    a.place(far, reached=False)
    a.push(7)
    outcome = run(finish(a))
    assert int.from_bytes(outcome.data, "big") == 7
    assert "far_1:" in a.listing() and "JUMPDEST" in a.listing()


def test_a_label_wants_its_stack():
    a = Assembler()
    label = a.new_label("here")
    a.push(1, name="extra")
    with pytest.raises(AssemblyError, match="the jump brings"):
        a.jump(label)
    a = Assembler()
    label = a.new_label("here")
    a.push(1, name="extra")
    with pytest.raises(AssemblyError, match="here_1 expects"):
        a.place(label)


def test_a_body_that_changes_the_stack_is_refused():
    a = Assembler()
    with pytest.raises(AssemblyError, match="expects"), a.loop("i", 0, 1, 3):
        a.push(0)


@pytest.mark.parametrize(("step", "count"), [(0, 2), (1, 0), (1, -1)])
def test_loops_that_never_or_always_run_are_refused(step, count):
    with pytest.raises(AssemblyError, match="trips of step"), Assembler().loop("i", 0, step, count):
        pass


@given(
    start=st.integers(0, 1000),
    step=st.integers(-50, 300).filter(bool),
    outer=st.integers(1, 5),
    inner=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_nested_loops_run_and_cost_as_counted(start, step, outer, inner):
    a = Assembler()
    with a.loop("j", 5, 3, outer), a.loop("i", start, step, inner):
        a.dup("i")
        a.dup("j")
        a.op("MUL")
        a.push(0)
        a.op("MLOAD", "ADD")
        a.push(0)
        a.op("MSTORE")
    a.push(0)
    a.op("MLOAD")
    wanted = sum((start + step * n) * (5 + 3 * m) for m in range(outer) for n in range(inner))
    assert returned(a) == wanted % 2**256


# -- gas ------------------------------------------------------------------------------------------------------------

PLAIN = [
    n
    for n, op in OPCODES.items()
    if op.gas and op.pushes <= 1 and n not in ("JUMP", "JUMPI", "JUMPDEST", "GAS")
]


@pytest.mark.parametrize("name", [n for n in PLAIN if not n.startswith("PUSH")])
def test_every_opcode_costs_what_the_table_says(name):
    a = Assembler()
    for _ in range(OPCODES[name].pops):
        a.push(0)
    a.op(name)
    a.push(1)
    assert returned(a) == 1


def test_copies_and_memory_are_counted():
    a = Assembler()
    for copy in ("CALLDATACOPY", "CODECOPY", "MCOPY"):
        a.push(96)
        a.push(0)
        a.push(640)
        a.op(copy)
        a.copied(3)
    a.push(1)
    outcome = run(finish(a, 736))
    assert outcome.gas == gas_of(a, 736) and memory_gas(23) == 3 * 23 + 23 * 23 // 512


def test_what_reverts_costs_nothing_but_size():
    a = Assembler()
    with a.failure(), a.section("never"):
        a.push(5)
        a.op("POP")
    assert a.sections["never"].gas == 0 and a.sections["never"].code_bytes == a.size == 3


def test_sections_share_out_the_gas():
    a = Assembler()
    with a.section("one"):
        a.push(1)
        with a.section("two"), a.loop("i", 0, 1, 4):
            a.push(1)
            a.op("POP")
    assert a.sections["one"].gas == 3
    assert a.sections["two"].counts["POP"] == 4 + 1  # the counter too
    assert returned(a) == 1


# -- output ---------------------------------------------------------------------------------------------------------


def test_symbols_are_left_open_at_the_offsets_told():
    a = Assembler()
    a.push(1)
    a.push_symbol("part1", 20)
    a.push_symbol("part1", 20)
    code, symbols = a.assemble()
    assert symbols == {"part1": [3, 24]}
    assert all(code[at : at + 20] == bytes(20) and code[at - 1] == 0x73 for at in symbols["part1"])


def test_listing_shows_offsets_comments_and_trips():
    a = Assembler()
    with a.section("layer"), a.loop("i", 0, 1, 3):
        a.push(5, comment="five")
        a.op("POP")
    listing = a.listing()
    assert ";; layer" in listing and "×3; five" in listing and "PUSH1 0x5" in listing


@given(st.binary(max_size=60))
def test_disassembly_covers_every_byte(code):
    lines = disassemble(code)
    position = 0
    for offset, _, immediate in lines:
        assert offset == position
        position += 1 + len(immediate)
    assert position <= len(code)


# -- Filecoin -------------------------------------------------------------------------------------------------------


def test_filecoin_prices_pushes_by_their_bytes_and_shifts_by_their_amount():
    a = Assembler()
    with a.section("work"):
        a.push(2**64 - 1)  # PUSH8
        a.push(2**64)  # PUSH9
        a.op("MUL")
        for amount in (63, 64, 130, 200):
            a.push(amount)
            a.op("SHR")
    work = a.sections["work"]
    pushes = 713 + 1645 + 4 * 553
    assert work.executed_filecoin == pushes + 2849 + 1473 + 1173 + 1225 + 1053
    scanned = 5 * 84.4 + 6 * 92.4 + 0.41 * (8 + 9 + 4)
    assert work.filecoin == pytest.approx(work.executed_filecoin + scanned + 10.4 * (9 + 10 + 8 + 1 + 4))


def test_filecoin_prices_what_calls_pass_and_copies_read():
    a = Assembler()
    with a.section("calls"):
        a.push(0)
        before = a.sections["calls"].executed_filecoin
        a.passed(100, 10)
        a.copied(2)
        a.copied(1, 21.4)
    assert a.sections["calls"].executed_filecoin - before == pytest.approx(1440 + 147 + 25.6 + 684.8)


def test_a_contract_on_filecoin_costs_what_was_measured_on_mainnet():
    """24,576 bytes took 172 M."""
    assert creation_filecoin(24_576) == pytest.approx(172_000_000, rel=0.01)
