"""Programs in revm, outside any chain: what they answer and what execution costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from eth_hash.auto import keccak
from numpy.typing import NDArray
from pyrevm import EVM, AccountInfo

from fedvm.compiler.compiled import CompiledModel

PREDICT = keccak(b"predict(bytes)")[:4]
CLASSIFY = keccak(b"classify(bytes)")[:4]
CALLER = "0x" + "00" * 19 + "01"
GAS = 2**60


@dataclass(frozen=True)
class Outcome:
    """What a call gave: return or revert data, execution gas (no intrinsic gas), and whether it returned."""

    data: bytes
    gas: int
    returned: bool


def address_of(index: int) -> str:
    """Where the contract with this index lies."""
    return f"0x{0x1000_0000 + index:040x}"


def encode(selector: bytes, data: bytes) -> bytes:
    """Calldata of a function of one `bytes`."""
    return selector + (32).to_bytes(32, "big") + len(data).to_bytes(32, "big") + data + bytes(-len(data) % 32)


def intrinsic(calldata: bytes) -> int:
    """Gas of a transaction before its first opcode (EIP-2028)."""
    zeros = calldata.count(0)
    return 21_000 + 4 * zeros + 16 * (len(calldata) - zeros)


def fresh(codes: Sequence[bytes]) -> Any:
    """An EVM in which code i lies at `address_of(i)` and no account is warm."""
    evm = EVM(spec_id="CANCUN", gas_limit=GAS)
    for i, code in enumerate(codes):
        evm.insert_account_info(address_of(i), AccountInfo(code=code))
    return evm


def call(evm: Any, index: int, calldata: bytes, gas: int = 10**9) -> Outcome:
    """Call the contract with this index once; reverts and halts are outcomes, not exceptions."""
    cost = intrinsic(calldata)
    try:
        data = evm.message_call(caller=CALLER, to=address_of(index), calldata=calldata, gas=gas + cost)
    except RuntimeError as error:
        used = re.search(r"gas_used: (\d+)", str(error))
        revert = re.match(r"Revert \{.*output: 0x([0-9a-f]*)", str(error))
        return Outcome(
            bytes.fromhex(revert.group(1)) if revert else b"",
            int(used.group(1)) - cost if used else 0,
            returned=False,
        )
    return Outcome(bytes(data), evm.result.gas_used + evm.result.gas_refunded - cost, returned=True)


def run(code: bytes, calldata: bytes = b"", gas: int = 10**7) -> Outcome:
    """Run a code that stands alone."""
    return call(fresh([code]), 0, calldata, gas)


def scores_of(data: bytes) -> NDArray[np.int64]:
    """The int32[] that `predict` returned, checked to be encoded as the ABI says."""
    count = int.from_bytes(data[32:64], "big")
    assert int.from_bytes(data[:32], "big") == 32 and len(data) == 64 + 32 * count
    words = [int.from_bytes(data[at : at + 32], "big", signed=True) for at in range(64, len(data), 32)]
    assert all(-(2**31) <= w < 2**31 for w in words)
    return np.array(words, np.int64)


class Machine:
    """A linked program in an EVM of its own."""

    def __init__(self, model: CompiledModel) -> None:
        addresses = [address_of(i) for i in range(len(model.codes))]
        self.codes = model.link(addresses[:-1])
        self._evm = fresh(self.codes)

    def cold(self, calldata: bytes, gas: int = 10**9) -> Outcome:
        """Call the entry with every account cold, as in a transaction of its own: the gas is exact."""
        return call(fresh(self.codes), len(self.codes) - 1, calldata, gas)

    def warm(self, calldata: bytes, gas: int = 10**9) -> Outcome:
        """Call the entry in an EVM that is reused: quick, but accounts called before are warm."""
        return call(self._evm, len(self.codes) - 1, calldata, gas)

    def predict(self, inputs: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Scores `[N, O]` of inputs `[N, ...]`."""
        return np.stack([self._scores(row.tobytes()) for row in inputs])

    def classify(self, inputs: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Classes `[N]` of inputs `[N, ...]`."""
        return np.array([self._class(row.tobytes()) for row in inputs])

    def _scores(self, data: bytes) -> NDArray[np.int64]:
        outcome = self.warm(encode(PREDICT, data))
        assert outcome.returned, outcome
        return scores_of(outcome.data)

    def _class(self, data: bytes) -> int:
        outcome = self.warm(encode(CLASSIFY, data))
        assert outcome.returned and len(outcome.data) == 32, outcome
        return int.from_bytes(outcome.data, "big")
