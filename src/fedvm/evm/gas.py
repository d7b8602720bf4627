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

MESSAGE_FILECOIN = 2_089_765
CALLDATA_BYTE_FILECOIN, RETURNED_BYTE_FILECOIN = 1_314, 1_310
"""A message, and each byte of its calldata and of what it returns."""
CREATE_FILECOIN = 54_000_000
"""A new contract on mainnet, most of it Init's map of addresses; far less where that map is empty."""
CODE_BYTE_FILECOIN = 4_740
SLOT_FILECOIN = 700_000

COPY_WORD_GAS = 3
"""EVM gas a 32-byte word of CALLDATACOPY, CODECOPY, MCOPY, RETURNDATACOPY, EXTCODECOPY, beside the static part."""
COPY_BYTE_FILECOIN = 0.4
"""Filecoin gas a byte of the same, but for EXTCODECOPY."""
SHIFT_FILECOIN = {
    "SHL": ((1641, 1641), (1253, 1509), (1181, 1325), (1097, 1113)),
    "SHR": ((1473, 1473), (1173, 1373), (1109, 1225), (1037, 1053)),
    "SAR": ((1621, 1621), (1401, 1533), (1325, 1401), (1245, 1261)),
}
"""Shifts by 0, 64, 128 and 192 bits, and by more than that up to the next."""
FALL_THROUGH_FILECOIN = 168
"""What a JUMPI that does not jump costs more than one that does."""
SCAN_FILECOIN, SCAN_PUSH_FILECOIN, SCAN_PUSHED_BYTE_FILECOIN = 84.4, 92.4, 0.41
"""Before a contract runs, its code is scanned for jump targets: an instruction, a PUSH, each byte that it pushes."""
READ_BYTE_FILECOIN = 10.4
"""Reading a byte of the code that runs."""
PASSED_BYTE_FILECOIN, GIVEN_BACK_BYTE_FILECOIN = 14.4, 14.7
"""A byte of the calldata of a call, and of what it returns."""
DATA_BYTE_FILECOIN = 21.4
"""A byte that EXTCODECOPY reads."""
MEMORY_BYTE_FILECOIN, FREE_MEMORY_BYTES = 0.83, 8192
"""A byte of memory above the first 8 KiB."""
COLD_ACCOUNT_GAS = 2600
WARM_ACCOUNT_GAS = 100


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


def shift_filecoin(name: str, amount: int) -> int:
    """Filecoin gas of SHL, SHR or SAR by a number of bits below 256."""
    whole, more = SHIFT_FILECOIN[name][amount // 64]
    return more if amount % 64 else whole


def scan_filecoin(pushed: int | None) -> float:
    """Filecoin gas of scanning an instruction before the code runs. pushed: bytes that it pushes, None if it is no
    PUSH with bytes."""
    return SCAN_FILECOIN if pushed is None else SCAN_PUSH_FILECOIN + SCAN_PUSHED_BYTE_FILECOIN * pushed


def memory_filecoin(size: int) -> float:
    """Filecoin gas of a memory of `size` bytes."""
    return MEMORY_BYTE_FILECOIN * max(0, size - FREE_MEMORY_BYTES)


def creation_filecoin(size: int) -> int:
    """Filecoin gas of the message that creates a contract of `size` bytes on mainnet."""
    return CREATE_FILECOIN + CODE_BYTE_FILECOIN * size
