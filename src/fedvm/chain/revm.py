"""A program's contracts in revm: predictions at native speed, with exactly the gas a chain would charge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from web3 import Web3

from fedvm.chain.errors import CallFailed, DeploymentError
from fedvm.chain.revert import decode_revert
from fedvm.evm.calls import CLASSIFY, PREDICT, encode_call
from fedvm.evm.limits import BLOCK_GAS_LIMIT
from fedvm.evm.revm import Contracts, Outcome, decode_scores

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Predictions:
    """``scores`` int32 [n, outputs]; ``gas`` int64 [n], execution gas of each call."""

    scores: NDArray[np.int32]
    gas: NDArray[np.int64]


class RevmProgram:
    """The runtime codes of a program by address, and the address of its entry contract.

    A program uses no storage, balances or block data, so its codes and its gas alone are the function. warm: whether
    its contracts were accessed before it is called, as a ModelService has when it asks.
    """

    def __init__(self, codes: Mapping[str, bytes], entry: str, *, warm: bool = False) -> None:
        checksummed: dict[str, bytes] = {
            Web3.to_checksum_address(address): code for address, code in codes.items()
        }
        self._contracts = Contracts(checksummed, warm=warm)
        self.entry: str = Web3.to_checksum_address(entry)
        if not checksummed.get(self.entry):
            raise DeploymentError(f"no code for the program's entry contract {entry}")

    @classmethod
    def from_chain(
        cls, w3: Web3, addresses: Sequence[str], *, block: int | None = None, warm: bool = False
    ) -> RevmProgram:
        """The codes at ``addresses``, the entry first; :class:`DeploymentError` where there is none."""
        codes: dict[str, bytes] = {}
        for address in addresses:
            checksummed = Web3.to_checksum_address(address)
            code = bytes(w3.eth.get_code(checksummed, "latest" if block is None else block))
            if not code:
                raise DeploymentError(f"no code at {address} on chain {w3.eth.chain_id}")
            codes[checksummed] = code
        if not codes:
            raise DeploymentError("a program has at least one contract; none was named")
        return cls(codes, addresses[0], warm=warm)

    @property
    def codes(self) -> dict[str, bytes]:
        return dict(self._contracts.codes)

    def call(self, calldata: bytes, *, gas: int = BLOCK_GAS_LIMIT) -> Outcome:
        """Run the entry contract on ``calldata`` with ``gas`` units for execution."""
        return self._contracts.call(self.entry, calldata, gas=gas)

    def predict(self, data: bytes, *, gas: int = BLOCK_GAS_LIMIT) -> NDArray[np.int32]:
        """Scores int32 [outputs] of one input with that gas; :class:`CallFailed` if the program reverts."""
        return _scores(self._require(PREDICT, data, gas))

    def answer(self, data: bytes, gas: int, classes: int) -> int | None:
        """What a gate takes for the answer to one input: the first of the greatest scores; None if the program fails
        with that gas or does not return exactly `classes` scores."""
        outcome = self.call(encode_call(PREDICT, data), gas=gas)
        try:
            scores = decode_scores(outcome.output)
        except ValueError:
            return None
        return int(scores.argmax()) if outcome.success and len(scores) == classes else None

    def classify(self, data: bytes) -> int:
        """The class of one input; :class:`CallFailed` if the program reverts."""
        return int.from_bytes(self._require(CLASSIFY, data).output, "big")

    def predict_many(self, inputs: NDArray[np.uint8], progress: Progress | None = None) -> Predictions:
        """Scores of ``inputs`` uint8 [n, …], each flattened in C order; ``progress(done, n)`` after each."""
        if inputs.dtype != np.uint8 or inputs.ndim < 2 or not len(inputs):
            raise CallFailed("predict", f"inputs must be uint8 [n ≥ 1, …], got {inputs.dtype} {inputs.shape}")
        rows = inputs.reshape(len(inputs), -1)
        scores, gas = [], np.empty(len(rows), dtype=np.int64)
        for index, row in enumerate(rows):
            result = self._require(PREDICT, row.tobytes())
            scores.append(_scores(result))
            gas[index] = result.gas_used
            if progress is not None:
                progress(index + 1, len(rows))
        return Predictions(np.stack(scores), gas)

    def _require(self, selector: bytes, data: bytes, gas: int = BLOCK_GAS_LIMIT) -> Outcome:
        outcome = self.call(encode_call(selector, data), gas=gas)
        if not outcome.success:
            action = "predict" if selector == PREDICT else "classify"
            reason = outcome.halt or decode_revert(outcome.output)
            raise CallFailed(action, reason, data=outcome.output, gas_used=outcome.gas_used)
        return outcome


def _scores(outcome: Outcome) -> NDArray[np.int32]:
    try:
        return decode_scores(outcome.output)
    except ValueError as error:
        raise CallFailed("predict", str(error)) from None
