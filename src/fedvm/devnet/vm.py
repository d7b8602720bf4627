"""The EVM of the embedded chain: py-evm's Cancun rules, narrowed to what Filecoin's EVM also accepts."""

from __future__ import annotations

from typing import Any

from eth.abc import BlockHeaderAPI, ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.chains.base import MiningChain
from eth.exceptions import VMError
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.forks.cancun.state import CancunState
from eth_typing import Address, BlockNumber

from fedvm.devnet.native import run_natively
from fedvm.evm.limits import (
    FILECOIN_DEVNET_CHAIN_ID,
    MAX_EVENT_BYTES,
    POINT_EVALUATION_PRECOMPILE,
    UNSUPPORTED_OPCODES,
)

FILECOIN_OPCODES = {
    code: function for code, function in CancunComputation.opcodes.items() if code not in UNSUPPORTED_OPCODES
}
FILECOIN_PRECOMPILES = {
    address: function
    for address, function in CancunComputation.get_precompiles().items()
    if int.from_bytes(address, "big") != POINT_EVALUATION_PRECOMPILE
}


class EventTooLarge(VMError):
    """A contract emitted an event over Filecoin's 8 KiB."""


class FilecoinComputation(CancunComputation):
    """Cancun without CALLCODE, blob opcodes and the KZG precompile; events are at most 8 KiB."""

    opcodes = FILECOIN_OPCODES
    _precompiles = FILECOIN_PRECOMPILES

    @classmethod
    def apply_computation(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        outcome = run_natively(state, message)
        if outcome is None:
            return super().apply_computation(state, message, transaction_context, parent_computation)
        with cls(state, message, transaction_context) as computation:
            computation.contracts_created = parent_computation.contracts_created if parent_computation else []
            for address in outcome.touched:
                state.mark_address_warm(address)
            computation.consume_gas(outcome.gas_used, reason="pure program in revm")
            computation.output = outcome.output
        return computation

    def add_log_entry(self, account: Address, topics: tuple[int, ...], data: bytes) -> None:
        size = 32 * len(topics) + len(data)
        if size > MAX_EVENT_BYTES:
            raise EventTooLarge(f"event of {size} bytes; Filecoin allows {MAX_EVENT_BYTES} with its topics")
        super().add_log_entry(account, topics, data)


class FilecoinState(CancunState):
    computation_class = FilecoinComputation


class FilecoinVM(CancunVM):
    _state_class = FilecoinState


class FilecoinChain(MiningChain):
    """A chain of one-transaction blocks whose gas limit never moves."""

    chain_id = FILECOIN_DEVNET_CHAIN_ID
    vm_configuration = ((BlockNumber(0), FilecoinVM),)

    def create_header_from_parent(
        self, parent_header: BlockHeaderAPI, **header_params: Any
    ) -> BlockHeaderAPI:
        header_params.setdefault("gas_limit", parent_header.gas_limit)
        return super().create_header_from_parent(parent_header, **header_params)


def chain_class(chain_id: int) -> type[FilecoinChain]:
    """The chain class for a chain id (py-evm keeps the id on the class)."""
    if chain_id == FilecoinChain.chain_id:
        return FilecoinChain
    return type("FilecoinChain", (FilecoinChain,), {"chain_id": chain_id})
