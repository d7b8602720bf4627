"""Sending transactions so that they arrive: on the embedded chain, on anvil, and on Filecoin.

Type 2 with an empty access list; one transaction at a time from an account; the gas estimate with room, since
Filecoin's can fall short (the embedded chain needs none: it takes a transaction only if it succeeds). Everything else
about nodes that fail and chains that are reorganised is in :mod:`fedvm.chain.delivery`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import Web3Exception
from web3.types import TxParams, TxReceipt, Wei

from fedvm.chain.delivery import Delivery, Order
from fedvm.chain.errors import TransactionFailed
from fedvm.chain.networks import EMBEDDED, SEND_IF_SUCCESSFUL, Network, network_of, require_funds
from fedvm.chain.outbox import Outbox, outbox_of
from fedvm.chain.pricing import Offer, offer
from fedvm.chain.refusals import advised
from fedvm.chain.revert import explain, revert_data
from fedvm.chain.supervised import SupervisedAccount
from fedvm.evm.limits import BLOCK_GAS_LIMIT, ETHEREUM_TRANSACTION_GAS_LIMIT

GAS_ROOM: Final = 1.25
FILECOIN_GAS_ROOM: Final = 1.1
"""Lotus's estimate has a quarter of room already, and more than a tenth too much is burnt."""
MORE_GAS: Final = 1.5
"""Times the limit of a transaction that ran out of gas."""


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


class Sender:
    """Sends transactions over one connection, one after another; safe to share between threads.

    What is sent is written down in ``outbox``, by default the user's for this chain; the embedded chain needs none.
    """

    def __init__(self, w3: Web3, network: Network | None = None, *, outbox: Outbox | None = None) -> None:
        self.w3 = w3
        self.network = network or network_of(w3)
        self._is_embedded = self.network.name == EMBEDDED.name
        self._lock = threading.RLock()
        self._outbox = outbox
        self._delivery: Delivery | None = None

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

    def send(
        self,
        account: LocalAccount,
        transaction: TxParams,
        *,
        action: str = "transaction",
        until: Callable[[Receipt], None] | None = None,
    ) -> Receipt:
        """Sign with ``account``, send, and wait for success.

        ``transaction`` holds ``to`` (absent to create a contract), ``data`` and ``value``; everything else is
        filled in, ``gas`` unless given. ``action`` names it in errors. If a process was killed while it sent the same
        from the same account, nothing is sent: the result is what became of that transaction. ``until`` looks at the
        result; if it raises, the same transaction is given to whoever sends the same next, as after a killed process.

        Raises :class:`TransactionFailed` if the chain refuses or reverts it, :class:`NetworkError` for
        missing funds or if it does not land in time (then the message lists the hashes to look for).
        """
        return self._all(account, [transaction], action, until or (lambda _: None))[0]

    def send_all(
        self, account: LocalAccount, transactions: Sequence[TxParams], *, action: str
    ) -> list[Receipt]:
        """Sign and send several transactions one right after the other, then wait for success of all.

        They must not need each other: gas is estimated for each on the present state. Arguments and errors as for
        :meth:`send`; after an error the others may have landed all the same.
        """
        return self._all(account, transactions, action, lambda _: None)

    def _all(
        self,
        account: LocalAccount,
        transactions: Sequence[TxParams],
        action: str,
        until: Callable[[Receipt], None],
    ) -> list[Receipt]:
        if isinstance(account, SupervisedAccount):
            account.look(transactions, action)
        with self._lock:
            if self._is_embedded:
                receipts = [self._sent_at_once(account, one, action) for one in transactions]
                for receipt in receipts:
                    until(receipt)
                return receipts
            with self._deliveries().sending(account):
                orders = [self._order(account, one, action) for one in transactions]
                raws = self._deliveries().deliver(orders)
            receipts = []
            for order, raw, filled in zip(orders, raws, transactions, strict=True):
                try:
                    receipts.append(self._checked(order, raw, filled))
                    until(receipts[-1])
                except TransactionFailed as failed:
                    # Of this one, not of another that a reorganisation undid meanwhile.
                    if failed.tx_hash == Web3.to_hex(raw["transactionHash"]):
                        self._deliveries().heard(account.address, order.nonce)
                    raise
            for order in orders:  # only now: after an error of one the caller learns of none
                self._deliveries().heard(account.address, order.nonce)
            return receipts

    def settle(self, *accounts: str) -> None:
        """Wait until all that these accounts (hex addresses) sent has landed, and whatever a reorganisation undid has
        landed again. For a process that goes on where another one was killed, before it looks at the chain.

        Raises as :meth:`send`.
        """
        if not self._is_embedded:
            with self._lock:
                self._deliveries().settle(accounts)

    def wait_until_final(self, receipt: Receipt) -> None:
        """Wait until no reorganisation can undo a transaction that this sender sent. Raises as :meth:`send`."""
        if not self._is_embedded:
            with self._lock:
                self._deliveries().wait_until_final(receipt.block_number)

    def cost(self, account: str, transaction: TxParams, *, action: str) -> Cost:
        """What a transaction would cost an account (hex address), which is not asked for its key; nothing is sent.

        The account need not own the fee, which somebody else may pay for a wallet that is a contract. Raises
        :class:`TransactionFailed` if it would be refused or revert, :class:`NetworkError` if the value is not there.
        """
        address, value = Web3.to_checksum_address(account), int(transaction.get("value", 0))
        require_funds(self.w3, address, value)
        gas = self._node_estimate(address, dict(transaction), action)
        price = self.w3.eth.get_block("latest").get("baseFeePerGas", 0) + self.w3.eth.max_priority_fee
        return Cost(gas, price, value)

    def _deliveries(self) -> Delivery:
        if self._delivery is None:
            self._outbox = self._outbox or outbox_of(self.w3)
            self._delivery = Delivery(self.w3, self.network, self._outbox)
        return self._delivery

    def _order(self, account: LocalAccount, transaction: TxParams, action: str) -> Order:
        # The estimate comes when the order is carried out: after what was sent before has landed.
        fixed: Any = {"value": 0, "data": b"", **transaction}

        def gas(times: float) -> int:
            if "gas" in fixed:
                return int(fixed["gas"])
            return self._estimate(account.address, fixed, action, times)

        return Order(account, fixed, action, gas, None if "gas" in fixed else MORE_GAS)

    def _estimate(self, address: str, fields: dict[str, Any], action: str, times: float) -> int:
        estimate = self._node_estimate(address, fields, action)
        ceiling = min(self.w3.eth.get_block("latest")["gasLimit"], BLOCK_GAS_LIMIT)
        if not self.network.is_filecoin and estimate <= ETHEREUM_TRANSACTION_GAS_LIMIT:
            # do not add room beyond what makes the transaction invalid
            ceiling = min(ceiling, ETHEREUM_TRANSACTION_GAS_LIMIT)
        room = FILECOIN_GAS_ROOM if self.network.is_filecoin else GAS_ROOM
        return min(int(estimate * room * times), ceiling)

    def _node_estimate(self, address: str, fields: dict[str, Any], action: str) -> int:
        call: Any = {"from": address, **{k: fields[k] for k in ("to", "data", "value") if k in fields}}
        try:
            return int(self.w3.eth.estimate_gas(call))
        except Web3Exception as error:
            raise TransactionFailed(action, advised(explain(error)), data=revert_data(error)) from error

    def _sent_at_once(self, account: LocalAccount, transaction: TxParams, action: str) -> Receipt:
        """On the embedded chain, whose blocks come with transactions and stay."""
        # A caller that sets the gas limit itself may want a transaction that fails.
        if_successful = "gas" not in transaction
        filled: Any = {"value": 0, "data": "0x", **transaction}
        price = offer(self.w3)
        if "gas" not in filled:
            filled["gas"] = self._embedded_gas(account, filled, price, action)
        filled |= {
            "type": 2,
            "accessList": [],
            "chainId": self.w3.eth.chain_id,
            "nonce": self.w3.eth.get_transaction_count(account.address, "pending"),
            "maxPriorityFeePerGas": price.premium,
            "maxFeePerGas": price.cap,
        }
        require_funds(self.w3, account.address, filled["value"] + filled["gas"] * price.cap)
        signed = account.sign_transaction(filled)
        try:
            if if_successful:
                self.w3.manager.request_blocking(SEND_IF_SUCCESSFUL, [signed.raw_transaction.to_0x_hex()])
            else:
                self.w3.eth.send_raw_transaction(signed.raw_transaction)
        except Web3Exception as error:
            raise TransactionFailed(action, explain(error), data=revert_data(error)) from error
        return self._receipt(self.w3.eth.get_transaction_receipt(signed.hash), filled, action, filled["gas"])

    def _embedded_gas(self, account: LocalAccount, filled: dict[str, Any], price: Offer, action: str) -> int:
        most: int = filled["value"] + BLOCK_GAS_LIMIT * price.cap
        if self.w3.eth.get_balance(account.address) >= most:
            return BLOCK_GAS_LIMIT
        return self._estimate(account.address, filled, action, 1.0)

    def _checked(self, order: Order, raw: TxReceipt, filled: TxParams) -> Receipt:
        return self._receipt(raw, filled, order.action, order.gas_limit)

    def _receipt(self, raw: TxReceipt, fields: Any, action: str, gas_limit: int) -> Receipt:
        tx_hash = Web3.to_hex(raw["transactionHash"])
        if raw["status"] != 1:
            reason, data = self._replay(raw, fields, gas_limit)
            raise TransactionFailed(action, reason, data=data, tx_hash=tx_hash)
        return Receipt(
            tx_hash,
            raw["blockNumber"],
            raw["gasUsed"],
            raw.get("effectiveGasPrice", 0),
            raw.get("contractAddress"),
            raw,
        )

    def _replay(self, raw: TxReceipt, fields: Any, gas_limit: int) -> tuple[str, bytes]:
        """Ask again on the state before the block, to learn the reason that a receipt does not carry."""
        call: Any = {"from": raw["from"], **{k: fields[k] for k in ("to", "data", "value") if k in fields}}
        try:
            self.w3.eth.call(call, raw["blockNumber"] - 1)
        except Web3Exception as error:
            return explain(error), revert_data(error)
        return f"reverted after {raw['gasUsed']} gas of {gas_limit}; possibly out of gas", b""
