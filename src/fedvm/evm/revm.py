"""Contracts in revm, outside any chain: what calls return, and what their execution costs.

revm keeps the set of warm addresses between calls of one instance, so every call runs between a snapshot and
its revert, which makes all accounts cold again; the tests compare the gas with py-evm's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyrevm import EVM, AccountInfo, Env, TxEnv

from fedvm.evm.gas import ACCESS_LIST_ADDRESS_GAS, intrinsic_gas

CALLER: Final = "0x" + "00" * 19 + "01"
GAS: Final = 2**60
"""Gas of a call that is not to end for want of it."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended. gas_used: execution alone, without the 21,000 of a transaction and without its calldata;
    output: return data, or revert data if not success; halt: why the call ended if it neither returned nor reverted."""

    output: bytes
    gas_used: int
    success: bool
    halt: str = ""


class Contracts:
    """Contracts by address, without storage or balances.

    warm: whether the transaction has accessed all of them before the call, as a contract that compares their hashes.
    """

    def __init__(self, codes: Mapping[str, bytes], *, warm: bool = False) -> None:
        self.codes = {address: bytes(code) for address, code in codes.items()}
        # An access list (EIP-2930) warms addresses; its cost is subtracted again.
        self._warm = list(self.codes) if warm else []
        self._evm: Any = None

    def call(self, to: str, calldata: bytes, *, gas: int = GAS) -> Outcome:
        """Call a contract once. gas: for execution, exactly."""
        if self._evm is None:
            accessed = TxEnv(access_list=[(address, []) for address in self._warm])
            self._evm = _new_instance(self.codes, accessed)
        evm = self._evm
        intrinsic = intrinsic_gas(calldata) + ACCESS_LIST_ADDRESS_GAS * len(self._warm)
        checkpoint = evm.snapshot()
        try:
            output = evm.message_call(caller=CALLER, to=to, calldata=bytes(calldata), gas=gas + intrinsic)
            result = evm.result
        except RuntimeError as error:
            self._evm = None  # after an error an instance may hold partly reverted state
            return _failed(str(error), intrinsic)
        evm.revert(checkpoint)
        return Outcome(bytes(output), result.gas_used + result.gas_refunded - intrinsic, True)


def run_fresh(
    codes: Mapping[str, bytes], entry: str, calldata: bytes, gas: int, warm: Sequence[str] = ()
) -> tuple[Outcome, set[str]]:
    """Run ``entry`` in an instance of its own, with the addresses ``warm`` accessed before.

    Returns the outcome and the addresses loaded meanwhile (lower-case hex), the caller's and the zero address
    among them.
    """
    # An access list (EIP-2930) warms addresses; its cost is subtracted again.
    evm = _new_instance(codes, TxEnv(access_list=[(address, []) for address in warm]))
    intrinsic = intrinsic_gas(calldata) + ACCESS_LIST_ADDRESS_GAS * len(warm)
    try:
        output = evm.message_call(caller=CALLER, to=entry, calldata=calldata, gas=gas + intrinsic)
    except RuntimeError as error:
        return _failed(str(error), intrinsic), _loaded(evm)
    used = evm.result.gas_used + evm.result.gas_refunded - intrinsic
    return Outcome(bytes(output), used, True), _loaded(evm)


def decode_scores(output: bytes) -> NDArray[np.int32]:
    """The ``int32[]`` that `predict` returns: offset, length, then one sign-extended word each.

    Raises ValueError if the bytes are no such encoding.
    """
    words = np.frombuffer(output[: len(output) // 32 * 32], dtype=">i4").reshape(-1, 8)
    count = int.from_bytes(output[32:64], "big") if len(output) >= 64 else -1
    if int.from_bytes(output[:32], "big") != 32 or len(output) != 64 + 32 * count:
        raise ValueError(f"{len(output)} bytes of output are not int32[]; is it a FedVM program?")
    scores = words[2:, 7].astype(np.int32)
    if (words[2:, :7] != (scores >> 31)[:, None]).any():
        raise ValueError("a score in the output is not an int32; is it a FedVM program?")
    return scores


def _loaded(evm: Any) -> set[str]:
    return {address.lower() for address in evm.journal_state}


def _new_instance(codes: Mapping[str, bytes], transaction: TxEnv | None = None) -> Any:
    evm = EVM(env=Env(tx=transaction), spec_id="CANCUN", gas_limit=2**63 - 1)
    for address, code in codes.items():
        evm.insert_account_info(address, AccountInfo(code=code))
    return evm


def _failed(message: str, intrinsic: int) -> Outcome:
    """revm reports failures as text: ``Revert { gas_used: 21054, output: 0x… }`` or ``Halt { reason:
    …}``."""
    gas = re.search(r"gas_used: (\d+)", message)
    used = max(int(gas.group(1)) - intrinsic, 0) if gas else 0
    revert = re.match(r"Revert \{.*output: 0x([0-9a-f]*)", message)
    if revert is not None:
        return Outcome(bytes.fromhex(revert.group(1)), used, False)
    halt = re.search(r"reason: (.+?), gas_used", message)
    return Outcome(b"", used, False, f"halted: {halt.group(1) if halt else message}")
