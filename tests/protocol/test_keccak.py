"""Hashing in rows comes to what hashing one by one does, compiled or not."""

from __future__ import annotations

import numpy as np
import pytest
from eth_utils.crypto import keccak as reference

from fedvm.evm import keccak as module
from fedvm.evm.keccak import hash_one_by_one, keccak_rows

LENGTHS = [1, 8, 65, 97, 135, 136, 137, 271, 272, 313, 521]
"""Messages of the trees, and the edges of a block of 136 bytes, whose padding may need a block of its own."""


@pytest.fixture(params=["compiled", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "one by one":
        monkeypatch.setattr(module, "_hash_rows", hash_one_by_one)
    elif module._hash_rows is hash_one_by_one:
        pytest.skip("the extension was not compiled: reinstall with a C compiler to test it")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 21])
def test_rows_hash_as_messages_do(length: int, count: int) -> None:
    rows = np.random.default_rng(length).integers(0, 256, (count, length), dtype=np.uint8)
    hashes = keccak_rows(rows)
    assert hashes.shape == (count, 32)
    assert hashes.tobytes() == b"".join(reference(row.tobytes()) for row in rows)


@pytest.mark.usefixtures("way")
def test_rows_need_not_lie_together_in_memory() -> None:
    rows = np.arange(40 * 70, dtype=np.uint16).astype(np.uint8).reshape(40, 70)[::3, 2:]
    assert keccak_rows(rows).tobytes() == keccak_rows(rows.copy()).tobytes()


def test_the_compiled_function_refuses_what_are_no_rows() -> None:
    compiled = pytest.importorskip("fedvm.evm._keccak").rows
    for data, length in [(b"12345", 2), (b"1234", 0), (b"1234", -2)]:
        with pytest.raises(ValueError, match="not rows"):
            compiled(data, length)
