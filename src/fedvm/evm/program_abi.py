"""What a compiled program understands and answers, as Solidity's ABI."""

from __future__ import annotations

from typing import Any

ABI: list[dict[str, Any]] = [
    {
        "type": "function", "name": "predict", "stateMutability": "view",
        "inputs": [{"name": "input", "type": "bytes", "internalType": "bytes"}],
        "outputs": [{"name": "scores", "type": "int32[]", "internalType": "int32[]"}],
    },
    {
        "type": "function", "name": "classify", "stateMutability": "view",
        "inputs": [{"name": "input", "type": "bytes", "internalType": "bytes"}],
        "outputs": [{"name": "class", "type": "uint256", "internalType": "uint256"}],
    },
    {
        "type": "error", "name": "WrongInputLength",
        "inputs": [
            {"name": "expected", "type": "uint256", "internalType": "uint256"},
            {"name": "actual", "type": "uint256", "internalType": "uint256"},
        ],
    },
    {"type": "error", "name": "MalformedInput", "inputs": []},
    {"type": "error", "name": "PartFailed", "inputs": []},
    {"type": "error", "name": "UnknownFunction", "inputs": []},
]  # fmt: skip
"""ABI of every program."""
