"""A program's contracts in revm: predictions at native speed, with exactly the gas a chain would charge.

revm keeps the set of warm addresses between calls of one instance, so every call runs between a snapshot and
its revert, which makes all accounts cold again; the tests compare the gas with py-evm's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyrevm import EVM, AccountInfo, Env, TxEnv
from web3 import Web3

from fedvm.chain.errors import CallFailed, DeploymentError
from fedvm.chain.revert import decode_revert
from fedvm.evm.calls import CLASSIFY, PREDICT, encode_call
from fedvm.evm.gas import ACCESS_LIST_ADDRESS_GAS, intrinsic_gas
from fedvm.evm.limits import BLOCK_GAS_LIMIT

CALLER: Final = "0x" + "00" * 19 + "01"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CallResult:
    """``gas_used`` is execution alone: without the 21,000 of a transaction and without its calldata.

    ``output`` is the return data, or the revert data if not ``success``; ``reason`` says then what happened.
    """

    output: bytes
    gas_used: int
    success: bool
    reason: str = ""


@dataclass(frozen=True)
class Predictions:
    """``scores`` int32 [n, outputs]; ``gas`` int64 [n], execution gas of each call."""

    scores: NDArray[np.int32]
    gas: NDArray[np.int64]


class RevmProgram:
    """The runtime codes of a program by address, and the address of its entry contract.

    A program uses no storage, balances or block data, so its codes alone are the function.
    """

    def __init__(self, codes: Mapping[str, bytes], entry: str) -> None:
        self._codes: dict[str, bytes] = {
            Web3.to_checksum_address(address): bytes(code) for address, code in codes.items()
        }
        self.entry: str = Web3.to_checksum_address(entry)
        if not self._codes.get(self.entry):
            raise DeploymentError(f"no code for the program's entry contract {entry}")
        self._evm: Any = None

    @classmethod
    def from_chain(cls, w3: Web3, addresses: Sequence[str], *, block: int | None = None) -> RevmProgram:
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
        return cls(codes, addresses[0])

    @property
    def codes(self) -> dict[str, bytes]:
        return dict(self._codes)

    def call(self, calldata: bytes, *, gas: int = BLOCK_GAS_LIMIT) -> CallResult:
        """Run the entry contract on ``calldata`` with ``gas`` units for execution."""
        evm = self._instance()
        intrinsic = intrinsic_gas(calldata)
        checkpoint = evm.snapshot()
        try:
            output = evm.message_call(
                caller=CALLER, to=self.entry, calldata=bytes(calldata), gas=gas + intrinsic
            )
            result = evm.result
        except RuntimeError as error:
            self._evm = None  # after an error an instance may hold half-undone state
            return _failed(str(error), intrinsic)
        evm.revert(checkpoint)
        return CallResult(bytes(output), result.gas_used + result.gas_refunded - intrinsic, True)

    def predict(self, data: bytes) -> NDArray[np.int32]:
        """Scores int32 [outputs] of one input; :class:`CallFailed` if the program reverts."""
        return _scores(self._require(PREDICT, data).output)

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
            scores.append(_scores(result.output))
            gas[index] = result.gas_used
            if progress is not None:
                progress(index + 1, len(rows))
        return Predictions(np.stack(scores), gas)

    def _require(self, selector: bytes, data: bytes) -> CallResult:
        result = self.call(encode_call(selector, data))
        if not result.success:
            action = "predict" if selector == PREDICT else "classify"
            raise CallFailed(action, result.reason, data=result.output, gas_used=result.gas_used)
        return result

    def _instance(self) -> Any:
        if self._evm is None:
            self._evm = _new_instance(self._codes)
        return self._evm


def run_fresh(
    codes: Mapping[str, bytes], entry: str, calldata: bytes, gas: int, warm: Sequence[str] = ()
) -> tuple[CallResult, set[str]]:
    """Run ``entry`` in an instance of its own, with the addresses ``warm`` accessed before.

    Returns the result and the addresses loaded meanwhile (lower-case hex), the caller's and the zero address
    among them.
    """
    # An access list (EIP-2930) warms addresses; what it costs is taken off again.
    evm = _new_instance(codes, TxEnv(access_list=[(address, []) for address in warm]))
    intrinsic = intrinsic_gas(calldata) + ACCESS_LIST_ADDRESS_GAS * len(warm)
    try:
        output = evm.message_call(caller=CALLER, to=entry, calldata=calldata, gas=gas + intrinsic)
    except RuntimeError as error:
        return _failed(str(error), intrinsic), _loaded(evm)
    used = evm.result.gas_used + evm.result.gas_refunded - intrinsic
    return CallResult(bytes(output), used, True), _loaded(evm)


def _loaded(evm: Any) -> set[str]:
    return {address.lower() for address in evm.journal_state}


def _new_instance(codes: Mapping[str, bytes], transaction: TxEnv | None = None) -> Any:
    evm = EVM(env=Env(tx=transaction), spec_id="CANCUN", gas_limit=2**63 - 1)
    for address, code in codes.items():
        evm.insert_account_info(address, AccountInfo(code=code))
    return evm


def _scores(output: bytes) -> NDArray[np.int32]:
    """Decode ``int32[]``: offset, length, then one sign-extended word each."""
    words = np.frombuffer(output, dtype=">i4")
    count = int.from_bytes(output[32:64], "big") if len(output) >= 64 else -1
    if int.from_bytes(output[:32], "big") != 32 or len(output) != 64 + 32 * count:
        raise CallFailed("predict", f"{len(output)} bytes of output are not int32[]; is it a FedVM program?")
    return words[16:].reshape(-1, 8)[:, 7].astype(np.int32)


def _failed(message: str, intrinsic: int) -> CallResult:
    """revm tells of failures in words: ``Revert { gas_used: 21054, output: 0x… }`` or ``Halt { reason:
    …}``."""
    gas = re.search(r"gas_used: (\d+)", message)
    used = max(int(gas.group(1)) - intrinsic, 0) if gas else 0
    revert = re.match(r"Revert \{.*output: 0x([0-9a-f]*)", message)
    if revert is not None:
        data = bytes.fromhex(revert.group(1))
        return CallResult(data, used, False, decode_revert(data))
    halt = re.search(r"reason: (.+?), gas_used", message)
    return CallResult(b"", used, False, f"halted: {halt.group(1) if halt else message}")
