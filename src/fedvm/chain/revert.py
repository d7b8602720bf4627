"""Decodes revert data: ``Error(string)``, ``Panic(uint256)`` and the custom errors of our contracts and programs."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import function_abi_to_4byte_selector, get_abi_input_types
from web3.exceptions import ContractLogicError, Web3Exception, Web3RPCError

from fedvm.chain.artifacts import CONTRACT_NAMES, load_artifact
from fedvm.evm.program_abi import ABI

# Solidity's own two errors; https://docs.soliditylang.org, "Panic via assert and Error via require".
_BUILTIN_ERRORS: Final[list[dict[str, Any]]] = [
    {"type": "error", "name": "Error", "inputs": [{"name": "reason", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
]


def decode_revert(data: bytes) -> str:
    """Revert data as text, e.g. ``"QuorumNotReached(2, 4)"``.

    Data that fits no error of a shipped contract or of a compiled program is shown by its selector.
    """
    if not data:
        return "reverted without data"
    entry = _known_errors().get(data[:4])
    if entry is None:
        return f"reverted with unknown error 0x{data[:4].hex()} ({len(data)} bytes)"
    try:
        values = decode(get_abi_input_types(entry), data[4:])  # type: ignore[arg-type]
    except DecodingError:
        return f"reverted with malformed {entry['name']} ({len(data)} bytes)"
    if entry["name"] == "Error" and isinstance(values[0], str):
        return values[0]
    return f"{entry['name']}({', '.join(_shown(value) for value in values)})"


def revert_data(error: Web3Exception) -> bytes:
    """The revert data that a node's answer carried; empty if none."""
    data: Any = None
    if isinstance(error, ContractLogicError):
        data = error.data
    elif isinstance(error, Web3RPCError) and error.rpc_response is not None:
        body = error.rpc_response.get("error")
        data = body.get("data") if isinstance(body, dict) else None
    if isinstance(data, dict):
        data = data.get("data")
    if not isinstance(data, str):
        return b""
    try:
        return bytes.fromhex(data.removeprefix("Reverted ").removeprefix("0x"))
    except ValueError:
        return b""


def explain(error: Web3Exception) -> str:
    """Why a call or an estimate failed, from revert data where there are any."""
    data = revert_data(error)
    if data:
        return decode_revert(data)
    message = str(error) or type(error).__name__
    if isinstance(error, Web3RPCError) and error.rpc_response is not None:
        body = error.rpc_response.get("error")
        if isinstance(body, dict) and body.get("message"):
            message = str(body["message"])
    exited = _EXIT.search(message)
    return message if exited is None else _exit_in_words(int(exited[1]))


# Lotus puts the exit code of a message into its error: exit=[33], exit=[SysErrOutOfGas(7)].
_EXIT: Final = re.compile(r"exit=\[(?:\w+\()?(\d+)\)?\]")
_EXITS: Final = {
    1: "the sender is no account with a key on this chain; fund it first",
    2: "the sender has too little money, or its nonce is used",
    6: "not enough funds for the value that goes with it",
    7: "ran out of gas: it needs more than it was given, or than a block has",
    33: "reverted without data",
    34: "reached an INVALID instruction",
    35: "reached an instruction that Filecoin's EVM does not have",
    36: "stack underflow",
    37: "stack overflow",
    38: "illegal memory access",
    39: "bad jump destination",
}
"""Of the virtual machine (FIP-0054, ref-fvm) and of the EVM actor (builtin-actors)."""


def _exit_in_words(code: int) -> str:
    return _EXITS.get(code, f"ended with exit code {code} of Filecoin's virtual machine")


@cache
def _known_errors() -> dict[bytes, dict[str, Any]]:
    entries = [*_BUILTIN_ERRORS, *(entry for entry in ABI if entry["type"] == "error")]
    for name in CONTRACT_NAMES:
        entries += [entry for entry in load_artifact(name).abi if entry["type"] == "error"]
    return {_selector(entry): entry for entry in entries}


def _selector(entry: dict[str, Any]) -> bytes:
    return function_abi_to_4byte_selector({**entry, "type": "function"})  # type: ignore[arg-type]


def _shown(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
