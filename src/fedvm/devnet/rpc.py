"""Ethereum JSON-RPC of the embedded chain, as a web3 provider without a socket."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from eth.abc import BlockHeaderAPI
from eth.exceptions import HeaderNotFound
from eth_utils.address import to_checksum_address
from eth_utils.exceptions import ValidationError
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from fedvm.chain.errors import ChainError
from fedvm.chain.networks import SEND_IF_SUCCESSFUL
from fedvm.devnet import rpc_format as fmt
from fedvm.devnet.accounts import Keyring
from fedvm.devnet.ledger import (
    CallOutcome,
    CallRequest,
    Ledger,
    TransactionRefused,
    TransactionReverted,
    base_fee,
)
from fedvm.evm.limits import BLOCK_GAS_LIMIT

PRIORITY_FEE_WEI = 100_000
REVERTED, INVALID_PARAMS, UNKNOWN_METHOD, REFUSED = 3, -32602, -32601, -32000


class RpcError(Exception):
    """An error answer of JSON-RPC."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.body: dict[str, Any] = {"code": code, "message": message}
        if data is not None:
            self.body["data"] = data


class EmbeddedProvider(JSONBaseProvider):
    """Answers JSON-RPC from a :class:`Ledger`; signs ``eth_sendTransaction`` with the chain's own keys.

    Requests from several threads are served one after another. It must not be used across a fork: SQLite's
    connection belongs to the process that opened it.
    """

    is_embedded = True

    def __init__(self, ledger: Ledger, keyring: Keyring) -> None:
        super().__init__()
        self._ledger = ledger
        self._keyring = keyring
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._closed = False
        self._methods: dict[str, Callable[..., Any]] = {
            "web3_clientVersion": lambda: "fedvm-embedded",
            "net_version": lambda: str(ledger.genesis.chain_id),
            "eth_chainId": lambda: hex(ledger.genesis.chain_id),
            "eth_syncing": lambda: False,
            "eth_accounts": keyring.addresses,
            "eth_blockNumber": lambda: hex(ledger.head().block_number),
            "eth_gasPrice": lambda: hex(base_fee(ledger.next_header()) + PRIORITY_FEE_WEI),
            "eth_maxPriorityFeePerGas": lambda: hex(PRIORITY_FEE_WEI),
            "eth_feeHistory": self._fee_history,
            "eth_getBlockByNumber": self._get_block_by_number,
            "eth_getBlockByHash": self._get_block_by_hash,
            "eth_getBalance": lambda a, at="latest": hex(ledger.balance(fmt.address(a), self._header(at))),
            "eth_getTransactionCount": lambda a, at="latest": hex(
                ledger.nonce(fmt.address(a), self._header(at))
            ),
            "eth_getCode": lambda a, at="latest": fmt.data(ledger.code(fmt.address(a), self._header(at))),
            "eth_getStorageAt": lambda a, slot, at="latest": fmt.data(
                ledger.storage(fmt.address(a), fmt.quantity(slot), self._header(at)).to_bytes(32, "big")
            ),
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_sendTransaction": self._send_transaction,
            "eth_sendRawTransaction": lambda raw: fmt.data(ledger.append(fmt.unhex(raw))),
            SEND_IF_SUCCESSFUL: self._send_if_successful,
            "eth_getTransactionByHash": self._get_transaction,
            "eth_getTransactionReceipt": self._get_receipt,
            "eth_getLogs": self._get_logs,
            "evm_mine": self._mine,
        }

    def close(self) -> None:
        self._closed = True

    def is_connected(self, show_traceback: bool = False) -> bool:
        return not self._closed

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        if self._closed:
            raise ChainError("this embedded chain was closed; open it again with open_chain")
        if os.getpid() != self._pid:
            raise ChainError(
                "the embedded chain was opened before a fork; open it in this process, read-only"
            )
        handler = self._methods.get(method)
        response: dict[str, Any] = {"jsonrpc": "2.0", "id": 1}
        try:
            if handler is None:
                raise RpcError(UNKNOWN_METHOD, f"the embedded chain has no method {method}")
            with self._lock:
                response["result"] = self._answer(method, handler, params)
        except RpcError as error:
            response["error"] = error.body
        except (TransactionRefused, ValidationError) as error:
            response["error"] = {"code": REFUSED, "message": str(error)}
        except fmt.InvalidParams as error:
            response["error"] = {"code": INVALID_PARAMS, "message": f"{method}: {error}"}
        return response  # type: ignore[return-value]

    def _answer(self, method: str, handler: Callable[..., Any], params: Any) -> Any:
        writes = method in (
            "eth_sendTransaction",
            "eth_sendRawTransaction",
            SEND_IF_SUCCESSFUL,
            "evm_mine",
        )
        if not writes:
            with self._ledger.db.snapshot():
                return handler(*(params or ()))
        if self._ledger.db.read_only:
            raise RpcError(
                REFUSED, f"{self._ledger.db.path} is open read-only; open it without read_only to send"
            )
        return handler(*(params or ()))

    # Blocks

    def _header(self, at: Any) -> BlockHeaderAPI:
        if isinstance(at, dict):
            if "blockHash" in at:
                return self._header_by_hash(at["blockHash"])
            at = at.get("blockNumber", "latest")
        if at in ("latest", "pending", "safe", "finalized", None):
            return self._ledger.head()
        number = 0 if at == "earliest" else fmt.quantity(at)
        try:
            return self._ledger.header(number)
        except HeaderNotFound as error:
            raise RpcError(REFUSED, f"block {number} not found") from error

    def _get_block_by_number(self, at: Any, full: bool = False) -> Any:
        try:
            header = self._header(at)
        except RpcError:
            return None
        return fmt.block(self._ledger.block(header), full)

    def _header_by_hash(self, block_hash: str) -> BlockHeaderAPI:
        try:
            return self._ledger.header_by_hash(fmt.unhex(block_hash))
        except HeaderNotFound as error:
            raise RpcError(REFUSED, f"block {block_hash} not found") from error

    def _get_block_by_hash(self, block_hash: str, full: bool = False) -> Any:
        try:
            header = self._header_by_hash(block_hash)
        except RpcError:
            return None
        return fmt.block(self._ledger.block(header), full)

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> Any:
        last = self._header(newest)
        first = max(0, last.block_number - fmt.quantity(count) + 1)
        headers = [self._ledger.header(number) for number in range(first, last.block_number + 1)]
        if last == self._ledger.head():
            following = self._ledger.next_header()
        else:
            following = self._ledger.header(last.block_number + 1)
        return {
            "oldestBlock": hex(first),
            "baseFeePerGas": [hex(base_fee(header)) for header in [*headers, following]],
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
            "reward": [[hex(PRIORITY_FEE_WEI)] * len(percentiles or ()) for _ in headers],
        }

    def _mine(self) -> str:
        self._ledger.append_empty()
        return "0x0"

    # Calls

    def _call(self, transaction: Any, at: Any = "latest", overrides: Any = None) -> str:
        if overrides:
            raise RpcError(INVALID_PARAMS, "eth_call takes no state overrides here, nor does Filecoin")
        outcome = self._run(fmt.call_request(transaction), at)
        if not outcome.succeeded:
            raise _reverted(outcome)
        return fmt.data(outcome.output)

    def _estimate_gas(self, transaction: Any, at: Any = "latest", overrides: Any = None) -> str:
        request = fmt.call_request(transaction)
        outcome = self._run(request, at)
        if not outcome.succeeded:
            raise _reverted(outcome)
        return hex(self._enough_gas(request, outcome, at))

    def _enough_gas(self, request: CallRequest, outcome: CallOutcome, at: Any) -> int:
        # A call leaves a 64th of the gas behind (EIP-150): with all the work in the innermost of n calls, as behind a
        # clone, (64/63)^n of what was used is enough. An estimate costs as many runs as it tries, so none is tried
        # for less.
        used = high = outcome.gas_used
        low = used - 1
        for _ in range(outcome.depth):
            high = high * 64 // 63 + 1
        if self._run(fmt.with_gas(request, high), at).succeeded:
            return high
        while not self._run(fmt.with_gas(request, high), at).succeeded:
            low, high = high, min(BLOCK_GAS_LIMIT, high + max(high // 32, 10_000))
        while high - low > max(used // 200, 1):
            middle = (low + high) // 2
            if self._run(fmt.with_gas(request, middle), at).succeeded:
                high = middle
            else:
                low = middle
        return high

    def _run(self, request: CallRequest, at: Any) -> CallOutcome:
        on_top = at in ("latest", "pending", None)
        return self._ledger.call(request, None if on_top else self._header(at))

    # Transactions

    def _send_transaction(self, transaction: Any) -> str:
        sender = transaction.get("from")
        account = self._keyring.find(sender) if sender else None
        if account is None:
            raise RpcError(REFUSED, f"no key for {sender}; sign it yourself or use an account of this chain")
        gas = fmt.optional_quantity(transaction, "gas")
        nonce = self._ledger.nonce(fmt.address(sender), self._ledger.head())
        tip = fmt.optional_quantity(transaction, "maxPriorityFeePerGas")
        price = fmt.optional_quantity(transaction, "gasPrice")
        unsigned: dict[str, Any] = {
            "chainId": self._ledger.genesis.chain_id,
            "nonce": fmt.optional_quantity(transaction, "nonce", nonce),
            "value": fmt.optional_quantity(transaction, "value", 0),
            "data": fmt.data(fmt.input_data(transaction)),
            "gas": gas if gas is not None else int(self._estimate_gas(transaction), 16),
        }
        if transaction.get("to"):
            unsigned["to"] = to_checksum_address(transaction["to"])
        if price is not None:
            unsigned["gasPrice"] = price
        else:
            tip = PRIORITY_FEE_WEI if tip is None else tip
            unsigned["maxPriorityFeePerGas"] = tip
            unsigned["maxFeePerGas"] = fmt.optional_quantity(
                transaction, "maxFeePerGas", 2 * base_fee(self._ledger.next_header()) + tip
            )
            unsigned["accessList"] = transaction.get("accessList") or []
        signed = account.sign_transaction(unsigned)
        return fmt.data(self._ledger.append(bytes(signed.raw_transaction)))

    def _send_if_successful(self, raw: str) -> str:
        try:
            return fmt.data(self._ledger.append(fmt.unhex(raw), if_successful=True))
        except TransactionReverted as error:
            raise _reverted(error.outcome) from error

    def _get_transaction(self, tx_hash: str) -> Any:
        included = self._ledger.included(fmt.unhex(tx_hash))
        return None if included is None else fmt.transaction(included)

    def _get_receipt(self, tx_hash: str) -> Any:
        receipt = self._ledger.receipt(fmt.unhex(tx_hash))
        return None if receipt is None else fmt.receipt(receipt)

    def _get_logs(self, query: Any) -> Any:
        if "blockHash" in query:
            first = last = int(self._header(query).block_number)
        else:
            first = int(self._header(query.get("fromBlock", "latest")).block_number)
            to_block = query.get("toBlock", "latest")
            newest = self._ledger.head().block_number
            last = fmt.quantity(to_block) if _is_number(to_block) else self._header(to_block).block_number
            last = min(last, newest)
        addresses = fmt.one_or_many(query.get("address"), fmt.address)
        topics = [fmt.one_or_many(topic, fmt.unhex) for topic in query.get("topics") or ()]
        return [fmt.log(entry) for entry in self._ledger.logs(first, last, addresses, topics)]


def _is_number(at: Any) -> bool:
    return isinstance(at, int) or (isinstance(at, str) and at.startswith("0x"))


def _reverted(outcome: CallOutcome) -> RpcError:
    if outcome.error == "execution reverted":
        return RpcError(REVERTED, "execution reverted", fmt.data(outcome.output))
    return RpcError(REFUSED, f"execution failed: {outcome.error}")
