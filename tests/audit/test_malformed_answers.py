"""Receipts and transactions that have not the form of any: the errors that audits expect, whatever is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedvm.chain.receipts import receipts_root, transaction_hash

HASH, ADDRESS = "0x" + "22" * 32, "0x" + "11" * 20
LOG = {"address": ADDRESS, "topics": [HASH], "data": "0x", "blockNumber": "0x1", "blockHash": HASH}
LOG |= {"transactionHash": HASH, "transactionIndex": "0x0", "logIndex": "0x0"}
RECEIPT = {"type": "0x2", "status": "0x1", "cumulativeGasUsed": "0x1", "transactionHash": HASH, "logs": [LOG]}
SENT: dict[str, Any] = {
    "type": "0x2",
    "to": None,
    "value": "0x0",
    "input": "0x",
    "hash": HASH,
    "accessList": [],
}
SENT |= dict.fromkeys(("nonce", "gas", "r", "s", "v", "chainId"), "0x1")
SENT |= dict.fromkeys(("maxPriorityFeePerGas", "maxFeePerGas"), "0x1")
ODD: list[Any] = [-1, "-0x1", 5, "", {}, "0xzz", 1.5, True, [5], [[]], {"a": 1}, "0x123", "٣"]


def test_the_right_forms_are_taken() -> None:
    assert len(receipts_root([RECEIPT])) == 32 and transaction_hash(SENT)


@pytest.mark.parametrize(
    ("right", "make"), [(RECEIPT, lambda one: receipts_root([one])), (SENT, transaction_hash)]
)
def test_what_is_malformed_has_no_encoding(right: dict[str, Any], make: Callable[[Any], Any]) -> None:
    for name in right:
        for odd in ODD:
            try:
                make({**right, name: odd})
            except (KeyError, TypeError, ValueError):
                continue
