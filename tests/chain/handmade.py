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

# a part of a program: returns twice the word it is given
DOUBLER = bytes.fromhex("60003560020260005260206000f3")


def program(part: str) -> bytes:
    """A two-contract program with the interface of FedVM's: predict(bytes) → int32[2], classify(bytes) →
    uint256.

    Scores are (2·b₀, −b₀) for the first byte b₀; ``part`` is the address of a DOUBLER, which is called twice
    so that the first access is cold and the second warm. Reverts with the four bytes deadbeef
    when the input is empty.
    """
    call_part = "6020600060206000" + "73" + part.removeprefix("0x") + "5afa50"  # out 0..32, in 0..32
    load = "60443560f81c"  # first byte of the input: calldata word at 4 + 32 + 32, shifted down
    body = (
        "6024356100ff57"  # length of the input ≠ 0 → jump over the revert
        + "63deadbeef60e01b60005260046000fd"
    )
    target = len(bytes.fromhex(body))
    body = body.replace("6100ff57", f"61{target:04x}57") + "5b"
    body += load + "600052" + call_part  # mem[0] = 2·b₀
    body += "600051606052"  # keep it at 0x60
    body += load + "600052" + call_part  # again, warm now
    body += "6020600052" + "6002602052"  # offset 32 at 0x00, length 2 at 0x20
    body += "606051604052"  # scores[0] = 2·b₀ at 0x40
    body += load + "600003606052"  # scores[1] = 0 − b₀ at 0x60
    body += "60806000f3"
    return bytes.fromhex(body)
