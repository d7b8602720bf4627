"""Tiny hand-written contracts for the tests of the chain."""

from __future__ import annotations


def init_code(runtime: bytes) -> bytes:
    """Init code that returns ``runtime`` (at most 64 KiB)."""
    size = len(runtime).to_bytes(2, "big")
    prologue = b"\x61" + size + bytes.fromhex("600e60003961") + size + bytes.fromhex("6000f3")
    return prologue + runtime


# slot 0 += 1; LOG1(topic = new value, data = new value)
COUNTER = bytes.fromhex(
    "60005460010180600055"  # SLOAD 0, +1, DUP1, SSTORE 0 (one copy left)
    "8060005260206000a100"  # DUP1, MSTORE 0, LOG1 of 32 bytes with it as topic, STOP
)

# reverts with the calldata
REVERT_WITH_CALLDATA = bytes.fromhex("3660006000373660" + "00fd")

# returns the concatenation of EXTCODEHASH-touching: three BALANCE reads of an address, cold then warm
BALANCES = bytes.fromhex("61beef3150" * 3 + "00")
