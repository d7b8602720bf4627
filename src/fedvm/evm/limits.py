"""Limits of Filecoin's EVM and of Ethereum's.

The embedded chain enforces Filecoin's, so that what runs locally also runs there; the compiler keeps its programs
within them.

Sources: filecoin-project/lotus (message pool and Ethereum RPC), filecoin-project/builtin-actors (EVM and EAM
actors, v18), FIP-0055 and FIP-0091, EIP-170.
"""

from __future__ import annotations

from typing import Final

FILECOIN_DEVNET_CHAIN_ID: Final = 31415926

CODE_LIMIT: Final = 24_576
"""Runtime code of one contract, bytes (EIP-170; the EVM actor has the same bound)."""

MAX_MESSAGE_BYTES: Final = 65_536
"""A signed message as the message pool counts it, bytes."""

MESSAGE_OVERHEAD_BYTES: Final = 256
"""Room for what surrounds the parameters in a signed message: two addresses of at most 24 bytes, nonce,
value, gas limit, two fees, method number, the two CBOR byte-string headers and the 65-byte signature are 205
bytes at most."""

MAX_CALLDATA_BYTES: Final = MAX_MESSAGE_BYTES - MESSAGE_OVERHEAD_BYTES
"""Calldata or init code of one transaction, bytes."""

MAX_EVENT_BYTES: Final = 8_192
"""Topics and data of one event, bytes."""

BLOCK_GAS_LIMIT: Final = 10_000_000_000
"""Gas of one block and cap of one message, in Filecoin gas; the embedded chain takes it as its EVM gas
limit."""

ETHEREUM_TRANSACTION_GAS_LIMIT: Final = 16_777_216
"""Gas limit that a transaction on Ethereum may ask for (EIP-7825)."""

UNSUPPORTED_OPCODES: Final = {0x49: "BLOBHASH", 0x4A: "BLOBBASEFEE", 0xF2: "CALLCODE"}
"""Cancun opcodes that the EVM actor does not have."""

POINT_EVALUATION_PRECOMPILE: Final = 0x0A
"""EIP-4844's precompile, which the EVM actor does not have."""
