"""What the EVM charges in addition to its opcodes' static costs, on Ethereum and on Filecoin.

Ethereum: Yellow Paper appendix G, EIP-2028, EIP-2929, EIP-2930, EIP-3860. Filecoin: measured as the costs in
`fedvm.evm.opcodes` are; estimates, not consensus.
"""

from __future__ import annotations

TRANSACTION_GAS = 21_000
CREATE_GAS = 32_000
"""Creating a contract, by an opcode or, on top of `TRANSACTION_GAS`, by a transaction."""
CODE_BYTE_GAS = 200
"""A byte of a new contract's runtime code."""
INIT_CODE_WORD_GAS = 2
CALLDATA_BYTE_GAS = 16
CALLDATA_ZERO_BYTE_GAS = 4
ACCESS_LIST_ADDRESS_GAS = 2_400
NEW_SLOT_GAS = 22_100
"""Writing a storage slot that held nothing, its first access in the transaction."""
CHANGED_SLOT_GAS = 5_000
"""Writing a storage slot that held something, its first access in the transaction."""
COLD_SLOT_GAS = 2_100

MESSAGE_FILECOIN = 3_000_000
CALLDATA_BYTE_FILECOIN = 1_300
CREATE_FILECOIN = 8_000_000
CODE_BYTE_FILECOIN = 5_200
SLOT_FILECOIN = 700_000

COPY_WORD_GAS = 3
"""EVM gas a 32-byte word of CALLDATACOPY, CODECOPY, MCOPY, RETURNDATACOPY, EXTCODECOPY, beside the static part."""
COPY_WORD_FILECOIN = 12.8
"""Filecoin gas a 32-byte word of the same: 0.4 a byte."""
SMALL_SHIFT_FILECOIN = 1480
"""SHL, SHR and SAR by less than 64."""
FALL_THROUGH_FILECOIN = 170
"""What a JUMPI that does not jump costs more than one that does."""
SCAN_INSTRUCTION_FILECOIN, SCAN_BYTE_FILECOIN = 83.5, 0.72
"""Before a contract runs, its code is scanned for jump targets: measured 0.08 M for 24 KB of PUSH32, 2.07 M for 24 KB
of one-byte instructions."""
MEMORY_BYTE_FILECOIN = 0.83
COLD_ACCOUNT_GAS = 2600
WARM_ACCOUNT_GAS = 100
COLD_CALL_FILECOIN = 3_000_000


def memory_gas(words: int) -> int:
    """EVM gas for a memory of `words` 32-byte words (Yellow Paper, eq. 326)."""
    return 3 * words + words * words // 512


def calldata_gas(data: bytes) -> int:
    """EVM gas of a transaction's data: 16 a byte, 4 a zero byte (EIP-2028)."""
    zeros = data.count(0)
    return CALLDATA_ZERO_BYTE_GAS * zeros + CALLDATA_BYTE_GAS * (len(data) - zeros)


def intrinsic_gas(data: bytes) -> int:
    """EVM gas of a transaction that calls a contract, before its first opcode."""
    return TRANSACTION_GAS + calldata_gas(data)


def creation_intrinsic_gas(init_code: bytes) -> int:
    """EVM gas of a transaction that creates a contract, before its first opcode (EIP-3860)."""
    return intrinsic_gas(init_code) + CREATE_GAS + INIT_CODE_WORD_GAS * -(-len(init_code) // 32)
