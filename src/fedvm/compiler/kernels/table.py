"""Functions by table: every lane of a word replaced by the entry that its value points to.

Entries are bytes in memory. The table begins at a multiple of its length, so an index and the table's address have no
bit in common, and one OR turns all lanes of a word into addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.view import WORD_BYTES


def room(entries: int) -> int:
    """Bytes of memory for a table of `entries` (a power of two), from any word on: its start is aligned, and a load at
    its last entry reads a word."""
    return max(2 * WORD_BYTES, 2 * entries)


def aligned(base: int, entries: int) -> int:
    """Where a table lies in the room that begins at `base`."""
    return -(-base // entries) * entries


def emit_table(a: Assembler, table: Sequence[int], at: int) -> None:
    """Append the code that writes the table to memory at `at`."""
    for start in range(0, len(table), WORD_BYTES):
        entries = bytes(table[start : start + WORD_BYTES])
        a.push(int.from_bytes(entries.ljust(WORD_BYTES, b"\x00"), "big"))
        a.push(at + start)
        a.op("MSTORE")


def emit_lookup(a: Assembler, entries: int, at: int, bits: Iterable[int], lane_bits: int) -> None:
    """Replace the values of the lanes at `bits` by their entries in the table at `at`. Stack: v → w.

    All other lanes of v must be zero, and so they are in w.
    """
    seats = sorted(bits, reverse=True)
    address_bits = (at + entries - 1).bit_length()
    inside = address_bits <= lane_bits  # a lane can hold an address
    if inside and at:
        a.push(lanes.at(at, seats))
        a.op("OR")
    a.rename("index")
    for number, bit in enumerate(seats):
        if number < len(seats) - 1:
            a.dup("index")
        elif number:
            a.swap(1)
        lanes.shift(a, -bit)
        if number:  # nothing lies above the first
            a.push((1 << address_bits if inside else entries) - 1)
            a.op("AND")
        if not inside:
            a.push(at)
            a.op("OR")
        a.op("MLOAD")
        a.push(0)
        a.op("BYTE")
        lanes.shift(a, bit)
        if number:
            a.op("OR")
        a.rename("w")
