"""Revert data as text."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from fedvm.chain.artifacts import CONTRACT_NAMES, load_artifact
from fedvm.chain.errors import ArtifactError
from fedvm.chain.revert import decode_revert


def error(signature: str, *values: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1]
    return keccak(signature.encode())[:4] + encode(types.split(",") if types else [], values)


@pytest.mark.parametrize("data, text", [
    (error("Error(string)", "too late"), "too late"),
    (error("Panic(uint256)", 17), "Panic(17)"),
    (error("QuorumNotReached(uint32,uint32)", 2, 4), "QuorumNotReached(2, 4)"),
    (error("LineageWithoutFederation()"), "LineageWithoutFederation()"),
    (error("CodeHashMismatch(address,bytes32,bytes32)", "0x" + "11" * 20, b"\x22" * 32, b"\x33" * 32),
     f"CodeHashMismatch(0x{'11' * 20}, 0x{'22' * 32}, 0x{'33' * 32})"),
    (error("WrongInputLength(uint256,uint256)", 784, 783), "WrongInputLength(784, 783)"),  # of a program
    (b"", "reverted without data"),
    (b"\xde\xad\xbe\xef\x01", "reverted with unknown error 0xdeadbeef (5 bytes)"),
    (error("Panic(uint256)", 17)[:20], "reverted with malformed Panic (20 bytes)"),
])  # fmt: skip
def test_known_and_unknown_errors(data: bytes, text: str) -> None:
    assert decode_revert(data) == text


def test_an_unknown_artefact_lists_the_known() -> None:
    with pytest.raises(ArtifactError, match=f"known are {', '.join(CONTRACT_NAMES)}"):
        load_artifact("Court")
