"""What Filecoin's EVM charges beside what `fedvm.evm.opcodes` and `fedvm.evm.gas` know, in Filecoin gas.

Measured on the mainnet EVM actor (network version 28) under the reference FVM's gas instrumentation. Where a cost was
seen to vary, the figure lies in the middle; a whole message comes within some per cent.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fedvm.evm.gas import READ_BYTE_FILECOIN, scan_filecoin
from fedvm.evm.opcodes import PUSH1, PUSH32, sweep

CREATED, CREATED_BYTE = 51_000_000, 3_400
"""A new contract on mainnet, whose address map is large, and a byte of its code."""

CALL, DELEGATE = 1_946_000, 1_500_000
WARM_DISCOUNT: Final = 500_000
CODE_READ: Final = 1_950_000
CODE_HASH: Final = 1_490_000
FIRST_STORE, STORE = 2_150_000, 750_000
COLD_LOAD, WARM_LOAD = 230_000, 26_000
TRANSIENT: Final = 2_260_000
LOG, LOG_TOPIC = 32_000, 34_750
KECCAK, KECCAK_BYTE = 18_987, 0.4
BALANCE: Final = 500_000

STATIC: Final = {
    0x0A: 786_000,  # EXP
    0x08: 8_500,  # ADDMOD
    0x09: 8_500,  # MULMOD
    0x04: 2_900,  # DIV
    0x05: 3_400,  # SDIV
    0x06: 2_900,  # MOD
    0x07: 3_400,  # SMOD
    0x0B: 900,  # SIGNEXTEND
    0x40: 100_000,  # BLOCKHASH
}
"""Opcodes that compiled programs do not use."""
ENVIRONMENT: Final = 600
"""ADDRESS, CALLER, NUMBER and what else reads a word that is at hand."""


@lru_cache(maxsize=1024)
def entry(code: bytes) -> int:
    """Gas for reading and scanning the code of a contract that is called."""
    scanned = sum(
        scan_filecoin(one.code - PUSH1 + 1 if PUSH1 <= one.code <= PUSH32 else None) for one in sweep(code)
    )
    return int(scanned + READ_BYTE_FILECOIN * len(code))
