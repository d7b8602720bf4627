"""Transactions as a file that the Transaction Builder of a Safe takes; other wallets find the same fields in it.

Format: version 1.0 of safe-global/safe-react-apps, apps/tx-builder (`typings/models.ts`, `lib/checksum.ts`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from fedvm.chain.unsent import UnsentTransaction
from fedvm.evm.keccak import keccak

_BUILDER: Final = "1.18.0"
"""The version of the builder whose files these are like."""


def safe_batch(
    transactions: Sequence[UnsentTransaction], wallet: str, name: str, *, created: float | None = None
) -> dict[str, Any]:
    """A batch for `wallet` (hex address) to send in this order; each of `transactions` has ``to``, ``value`` in wei as
    a decimal string, and ``data``. All are of one chain. created: Unix seconds, now unless given.

    Raises ValueError for transactions of several chains, or none.
    """
    chains = {one.chain_id for one in transactions}
    if len(chains) != 1:
        raise ValueError(f"a batch is of one chain, not of {sorted(chains)}")
    batch: dict[str, Any] = {
        "version": "1.0",
        "chainId": str(chains.pop()),
        "createdAt": int((time.time() if created is None else created) * 1000),
        "meta": {
            "name": name,
            "description": "",
            "txBuilderVersion": _BUILDER,
            "createdFromSafeAddress": wallet,
            "createdFromOwnerAddress": "",
        },
        "transactions": [
            {
                "to": one.to,
                "value": str(one.value),
                "data": one.data,
                "contractMethod": None,
                "contractInputsValues": None,
            }
            for one in transactions
        ],
    }
    batch["meta"]["checksum"] = checksum(batch)
    return batch


def checksum(batch: dict[str, Any]) -> str:
    """What the builder compares before it takes a batch: the hash of all fields in the order of their names, but for
    the batch's name and the checksum itself."""
    meta = {key: value for key, value in batch["meta"].items() if key != "checksum"}
    return "0x" + keccak(_ordered({**batch, "meta": {**meta, "name": None}}).encode()).hex()


def _ordered(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_ordered, value))}]"
    if isinstance(value, dict):
        names = sorted(value)
        return "{" + _text(names) + "".join(f"{_ordered(value[name])}," for name in names) + "}"
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
