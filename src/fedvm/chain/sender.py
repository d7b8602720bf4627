"""Sending transactions so that they arrive: on the embedded chain, on anvil, and on Filecoin.

Type 2 with an empty access list; the pending nonce, one transaction at a time; the gas estimate with room,
since Filecoin's can fall short (the embedded chain needs none: it takes a transaction only if it succeeds); a
fee over the base fees of the last blocks; replacement with a higher premium when a transaction hangs, watching
every hash that may land (filecoin-project/lotus, message pool).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.types import TxParams, TxReceipt, Wei

from fedvm.chain.errors import NetworkError, TransactionFailed
from fedvm.chain.networks import EMBEDDED, SEND_IF_SUCCESSFUL, Network, network_of, require_funds
from fedvm.chain.revert import explain, revert_data
from fedvm.evm.limits import BLOCK_GAS_LIMIT, ETHEREUM_TRANSACTION_GAS_LIMIT

GAS_ROOM: Final = 1.25
REPLACEMENT_FACTOR: Final = 1.3
"""Lotus wants 1.25 times the premium; a little more survives its rounding."""
FEE_HISTORY_BLOCKS: Final = 120
MAX_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Receipt:
    """What became of a transaction. Gas in units of the chain, ``gas_price`` in wei a unit."""

    tx_hash: str
    block_number: int
    gas_used: int
    gas_price: int
    contract_address: str | None
    raw: TxReceipt


@dataclass(frozen=True)
class Cost:
    """What a transaction would cost: gas as the node estimates it, ``gas_price`` in wei a unit at the latest block's
    base fee, and the ``value`` in wei that goes with it."""

    gas: int
    gas_price: int
    value: int

    @property
    def fee(self) -> int:
        """Wei for the gas."""
        return self.gas * self.gas_price


@dataclass
class _Sent:
    """A transaction on its way. hashes: those that may land. if_successful: sent only if it succeeds."""

    account: LocalAccount
    filled: TxParams
    action: str
    if_successful: bool
    hashes: list[HexBytes] = field(default_factory=list)


class Sender:
    """Sends transactions over one connection, one after another; safe to share between threads."""

    def __init__(self, w3: Web3, network: Network | None = None) -> None:
        self.w3 = w3
        self.network = network or network_of(w3)
        self._is_embedded = self.network.name == EMBEDDED.name
        self._lock = threading.Lock()

    def transact(
        self,
        account: LocalAccount,
        contract: Contract,
        action: str,
        *arguments: Any,
        value: int = 0,
        gas: int | None = None,
    ) -> Receipt:
        """Call a function of a contract as a transaction, and wait for success.

        ``action``: "Contract.function", which names it in errors too; ``value``: wei; ``gas``: limit, an estimate
        unless given. Raises as :meth:`send`.
        """
        data = contract.encode_abi(action.partition(".")[2], args=list(arguments))
        transaction: TxParams = {"to": contract.address, "data": data, "value": Wei(value)}
        if gas is not None:
            transaction["gas"] = gas
        return self.send(account, transaction, action=action)

    def send(self, account: LocalAccount, transaction: TxParams, *, action: str = "transaction") -> Receipt:
        """Sign with ``account``, send, and wait for success.

        ``transaction`` holds ``to`` (absent to create a contract), ``data`` and ``value``; everything else is
        filled in, ``gas`` unless given. ``action`` names it in errors.

        Raises :class:`TransactionFailed` if the chain refuses or reverts it, :class:`NetworkError` for
        missing funds or if it does not land in time (then the message lists the hashes to look for).
        """
        # A caller that sets the gas limit itself may want a transaction that fails.
        if_successful = self._is_embedded and "gas" not in transaction
        with self._lock:
            sent = _Sent(account, self._fill(account, transaction, action), action, if_successful)
            self._submit(sent)
            return self._landed(sent)

    def send_all(
        self, account: LocalAccount, transactions: Sequence[TxParams], *, action: str
    ) -> list[Receipt]:
        """Sign and send several transactions one right after the other, then wait for success of all.

        They must not need each other: gas is estimated for each on the present state. Arguments and errors as for
        :meth:`send`; after an error the others may have landed all the same.
        """
        with self._lock:
            sent: list[_Sent] = []
            for transaction in transactions:
                filled: Any = self._fill(account, transaction, action)
                if sent:  # the pending nonce may or may not count what was just sent
                    filled["nonce"] = sent[0].filled["nonce"] + len(sent)
                sent.append(_Sent(account, filled, action, self._is_embedded))
                self._submit(sent[-1])
            return [self._landed(one) for one in sent]

    def _landed(self, sent: _Sent) -> Receipt:
        """Wait for a transaction that was sent, and send it again with higher fees when it hangs."""
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                sent.filled = _with_higher_fees(sent.filled)
                self._submit(sent)
            receipt = self._wait(sent.hashes, last=attempt == MAX_ATTEMPTS - 1)
            if receipt is not None:
                return self._checked(receipt, sent.filled, sent.action)
        raise NetworkError(
            f"{sent.action}: not included in {self.network.receipt_timeout_seconds:.0f} s; it may still land as "
            + ", ".join(h.to_0x_hex() for h in sent.hashes)
        )

    def cost(self, account: str, transaction: TxParams, *, action: str) -> Cost:
        """What a transaction would cost an account (hex address), which is not asked for its key; nothing is sent.

        Raises :class:`TransactionFailed` if it would be refused or revert, :class:`NetworkError` for missing funds.
        """
        address, value = Web3.to_checksum_address(account), int(transaction.get("value", 0))
        require_funds(self.w3, address, value)
        gas = self._node_estimate(address, dict(transaction), action)
        price = self.w3.eth.get_block("latest").get("baseFeePerGas", 0) + self.w3.eth.max_priority_fee
        cost = Cost(gas, price, value)
        require_funds(self.w3, address, value + cost.fee)
        return cost

    def _fill(self, account: LocalAccount, transaction: TxParams, action: str) -> TxParams:
        filled: Any = {"value": 0, "data": "0x", **transaction}
        tip, fee = self._fees()
        if "gas" not in filled:
            filled["gas"] = self._gas(account, filled, fee, action)
        filled |= {
            "type": 2,
            "accessList": [],
            "chainId": self.w3.eth.chain_id,
            "nonce": self.w3.eth.get_transaction_count(account.address, "pending"),
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": fee,
        }
        require_funds(self.w3, account.address, filled["value"] + filled["gas"] * fee)
        return filled  # type: ignore[no-any-return]

    def _gas(self, account: LocalAccount, filled: dict[str, Any], fee: int, action: str) -> int:
        if self._is_embedded:
            most: int = filled["value"] + BLOCK_GAS_LIMIT * fee
            if self.w3.eth.get_balance(account.address) >= most:
                return BLOCK_GAS_LIMIT
        return self._estimate(account, filled, action)

    def _estimate(self, account: LocalAccount, filled: dict[str, Any], action: str) -> int:
        estimate = self._node_estimate(account.address, filled, action)
        ceiling = min(self.w3.eth.get_block("latest")["gasLimit"], BLOCK_GAS_LIMIT)
        if not self.network.is_filecoin and estimate <= ETHEREUM_TRANSACTION_GAS_LIMIT:
            # do not add room beyond what makes the transaction invalid
            ceiling = min(ceiling, ETHEREUM_TRANSACTION_GAS_LIMIT)
        return min(int(estimate * GAS_ROOM), ceiling)

    def _node_estimate(self, address: str, filled: dict[str, Any], action: str) -> int:
        call: Any = {"from": address, **{k: filled[k] for k in ("to", "data", "value") if k in filled}}
        try:
            return int(self.w3.eth.estimate_gas(call))
        except Web3Exception as error:
            raise TransactionFailed(action, explain(error), data=revert_data(error)) from error

    def _fees(self) -> tuple[int, int]:
        tip = self.w3.eth.max_priority_fee
        history = self.w3.eth.fee_history(FEE_HISTORY_BLOCKS, "latest", [])
        return tip, 2 * max(history["baseFeePerGas"]) + tip

    def _submit(self, sent: _Sent) -> None:
        signed = sent.account.sign_transaction(dict(sent.filled))  # type: ignore[arg-type]
        try:
            if sent.if_successful:
                self.w3.manager.request_blocking(SEND_IF_SUCCESSFUL, [signed.raw_transaction.to_0x_hex()])
            else:
                self.w3.eth.send_raw_transaction(signed.raw_transaction)
        except Web3Exception as error:
            # A replacement may be refused because the original has just landed: then its receipt will say so.
            if not sent.hashes:
                raise TransactionFailed(sent.action, explain(error), data=revert_data(error)) from error
        else:
            sent.hashes.append(signed.hash)

    def _wait(self, hashes: list[HexBytes], *, last: bool) -> TxReceipt | None:
        attempts_before = MAX_ATTEMPTS - 1
        remaining = self.network.receipt_timeout_seconds - attempts_before * self.network.resubmit_seconds
        seconds = max(remaining, self.network.resubmit_seconds) if last else self.network.resubmit_seconds
        deadline = time.monotonic() + seconds
        while True:
            for tx_hash in hashes:
                try:
                    return self.w3.eth.get_transaction_receipt(tx_hash)
                except TransactionNotFound:
                    continue
                except (OSError, Web3Exception):
                    # Gateways fail now and then; the transaction is on its way all the same.
                    continue
            if time.monotonic() >= deadline:
                return None
            time.sleep(self.network.poll_seconds)

    def _checked(self, raw: TxReceipt, filled: TxParams, action: str) -> Receipt:
        tx_hash = raw["transactionHash"].to_0x_hex()
        if raw["status"] != 1:
            reason, data = self._replay(raw, filled)
            raise TransactionFailed(action, reason, data=data, tx_hash=tx_hash)
        return Receipt(
            tx_hash,
            raw["blockNumber"],
            raw["gasUsed"],
            raw.get("effectiveGasPrice", 0),
            raw.get("contractAddress"),
            raw,
        )

    def _replay(self, raw: TxReceipt, filled: TxParams) -> tuple[str, bytes]:
        """Ask again on the state before the block, to learn the reason that a receipt does not carry."""
        call: Any = {"from": raw["from"], **{k: filled[k] for k in ("to", "data", "value") if k in filled}}
        try:
            self.w3.eth.call(call, raw["blockNumber"] - 1)
        except Web3Exception as error:
            return explain(error), revert_data(error)
        return f"reverted after {raw['gasUsed']} gas of {filled['gas']}; possibly out of gas", b""


def _with_higher_fees(filled: TxParams) -> TxParams:
    raised: Any = dict(filled)
    for name in ("maxPriorityFeePerGas", "maxFeePerGas"):
        raised[name] = int(raised[name] * REPLACEMENT_FACTOR) + 1
    return raised  # type: ignore[no-any-return]
