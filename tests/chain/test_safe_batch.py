"""Batches for a Safe: its own builder's checksum, which it compares before it takes a file."""

from __future__ import annotations

import pytest

from fedvm.chain.safe_batch import checksum, safe_batch
from fedvm.chain.unsent import UnsentTransaction

BUILT = {
    "version": "1.0",
    "chainId": "1",
    "createdAt": 1761326849944,
    "meta": {
        "name": "Transactions Batch",
        "description": "",
        "txBuilderVersion": "1.18.2",
        "createdFromSafeAddress": "0xA77DE01e157f9f57C7c4A326eeE9C4874D0598b6",
        "createdFromOwnerAddress": "",
        "checksum": "0x8b5032f716845c8b08bab3d63dbd9ba92e056f3557793cd041e59b84e16aa989",
    },
    "transactions": [
        {
            "to": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "value": "0",
            "data": None,
            "contractMethod": {
                "inputs": [
                    {"internalType": "address", "name": "spender", "type": "address"},
                    {"internalType": "uint256", "name": "value", "type": "uint256"},
                ],
                "name": "approve",
                "payable": False,
            },
            "contractInputsValues": {
                "spender": "0x474e5Ded6b5D078163BFB8F6dBa355C3aA5478C8",
                "value": "100000000000",
            },
        }
    ],
}
"""What the builder itself wrote (an approval of a token, shown in 5afe/safe-cli-nodejs)."""
WALLET, TO = "0x" + "Aa" * 20, "0x" + "11" * 20


def test_the_checksum_is_the_builders() -> None:
    assert checksum(BUILT) == BUILT["meta"]["checksum"]  # type: ignore[index]
    renamed = {**BUILT, "meta": {**BUILT["meta"], "name": "another"}}  # type: ignore[dict-item]
    assert checksum(renamed) == checksum(BUILT)
    assert checksum({**BUILT, "chainId": "2"}) != checksum(BUILT)


def test_transactions_keep_their_order_and_their_money() -> None:
    sent = [UnsentTransaction(314, TO, "0x01"), UnsentTransaction(314, TO, "0x02", 10**30)]
    batch = safe_batch(sent, WALLET, "Prüfung", created=5.0)
    assert (batch["chainId"], batch["createdAt"], batch["meta"]["createdFromSafeAddress"]) == (
        "314",
        5000,
        WALLET,
    )
    told = [(one["to"], one["value"], one["data"]) for one in batch["transactions"]]
    assert told == [(TO, "0", "0x01"), (TO, str(10**30), "0x02")]
    assert batch["meta"]["checksum"] == checksum(batch)
    assert safe_batch(sent[::-1], WALLET, "Prüfung", created=5.0)["meta"]["checksum"] != checksum(batch)


def test_a_batch_is_of_one_chain() -> None:
    with pytest.raises(ValueError, match="one chain"):
        safe_batch([UnsentTransaction(1, TO, "0x"), UnsentTransaction(2, TO, "0x")], WALLET, "x")
    with pytest.raises(ValueError, match="one chain"):
        safe_batch([], WALLET, "x")
