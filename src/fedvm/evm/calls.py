"""Calldata of a program's two functions, by Solidity's ABI."""

from __future__ import annotations

from typing import Final

from fedvm.evm.keccak import keccak


def selector(signature: str) -> bytes:
    """The 4 bytes that name a function or an error, e.g. of `predict(bytes)`."""
    return keccak(signature.encode())[:4]


PREDICT: Final = selector("predict(bytes)")
CLASSIFY: Final = selector("classify(bytes)")

INPUT_AT: Final = 68
"""Where the input begins in the calldata of both, in bytes: behind the selector, its offset and its length."""


def encode_call(function: bytes, data: bytes) -> bytes:
    """Calldata of the function with that selector, which takes one `bytes`."""
    padding = bytes(-len(data) % 32)
    return function + (32).to_bytes(32, "big") + len(data).to_bytes(32, "big") + data + padding
