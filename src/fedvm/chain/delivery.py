"""Carrying signed transactions to a chain whose nodes forget, lag and fail, and whose blocks can be undone.

Before a transaction leaves it is in the outbox. It is sent again until it lands, with higher fees when it hangs, and
all its hashes are watched, since any may land. What has landed stays under watch until it is final: when a
reorganisation undoes it, the same transaction is sent again, under the same nonce. How Lotus behaves:
filecoin-project/lotus.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.types import Nonce, TxReceipt

from fedvm.chain.errors import ChainError, NetworkError, TransactionFailed
from fedvm.chain.networks import Network, require_funds
from fedvm.chain.outbox import Entry, Outbox, State, intent_of
from fedvm.chain.pricing import Offer, offer
from fedvm.chain.refusals import Refusal, advised, refusal_of
from fedvm.chain.revert import explain, revert_data
from fedvm.jsontext import parse_json

MAX_ATTEMPTS: Final = 3
"""Offers for one transaction, each higher than the one before."""
LOOKS_A_REPEAT: Final = 5
"""Looks for a receipt between two repetitions of the same transaction."""
LOOKS_UNTIL_LOST: Final = 6
"""Looks for a receipt after the nonce was used, before another transaction is held to have used it."""
FINAL_BLOCKS: Final = 64
"""Blocks after which nothing is undone, where a node does not say which block is final."""
RECEIPT_SECONDS: Final = 300.0
"""For so long, at least, every node shows a receipt."""
_NOT_TAKEN: Final = (Refusal.OTHER, Refusal.FUNDS, Refusal.FEE_TOO_LOW, Refusal.POOL_FULL)
"""Refusals after which a transaction is in no pool, unless the node's words mean something else."""
OUT_OF_GAS_SHARE: Final = 0.97
"""Of the gas limit used by a failed transaction, from which on it may have run out of it."""


@dataclass
class Order:
    """What to send. fields: ``to``, ``data``, ``value``; gas: the limit, estimated now, times a factor; more_gas: times
    which the limit is raised when it was too little, None where it is the caller's."""

    account: LocalAccount
    fields: dict[str, Any]
    action: str
    gas: Callable[[float], int]
    more_gas: float | None
    gas_limit: int = 0
    nonce: int = -1
    done: TxReceipt | None = None
    entries: list[Entry] = field(default_factory=list)

    @property
    def intent(self) -> str:
        data = bytes(HexBytes(self.fields.get("data") or b""))
        return intent_of(self.account.address, self.fields.get("to"), int(self.fields.get("value", 0)), data)


class Delivery:
    """Delivers orders over one connection, and writes all that happens into the outbox."""

    def __init__(self, w3: Web3, network: Network, outbox: Outbox) -> None:
        self._w3, self._network, self._outbox = w3, network, outbox

    @contextmanager
    def sending(self, account: LocalAccount) -> Iterator[None]:
        """Keeps other senders of the account away, and finishes first what an earlier one has left."""
        with self._outbox.sending(account.address):
            self._finish(account.address)
            self.restore()
            yield

    def deliver(self, orders: Sequence[Order]) -> list[TxReceipt]:
        """Send all orders, all of one account, and wait until each has landed; whether it succeeded is the caller's to
        see. Raises TransactionFailed if the chain refuses one, NetworkError if one does not land."""
        for order in orders:
            order.done = self._known(order, [one.nonce for one in orders if one.done is not None])
        fresh = [order for order in orders if order.done is None]
        for order in fresh:
            self._sign(order, after=[one for one in fresh if one.entries])
        return [order.done or self._landed_for_good(order) for order in orders]

    def heard(self, account: str, nonce: int) -> None:
        """The caller knows what became of a nonce's transaction; the same order is a new one from now on."""
        self._outbox.hear(account, nonce)

    def settle(self, accounts: Sequence[str]) -> None:
        """Finish what is under way of these accounts, and restore what was undone of any."""
        for account in accounts:
            with self._outbox.sending(account):
                self._finish(account)
        self.restore()

    def wait_until_final(self, block: int) -> None:
        """Wait until a block is final, and restore meanwhile what a reorganisation undoes."""
        deadline = time.monotonic() + 4 * self._network.receipt_timeout_seconds
        while self._final_block() < block:
            if time.monotonic() > deadline:
                raise NetworkError(
                    f"block {block} is not final yet, which takes longer than usual; wait, then look again"
                )
            time.sleep(self._network.poll_seconds)
            self.restore()
        self.restore()

    def restore(self) -> bool:
        """Send again what has landed and was undone by a reorganisation, and wait for it. Whether there was any.

        Raises TransactionFailed if something that had succeeded fails now.
        """
        by_account: dict[str, list[Entry]] = {}
        for entry in self._outbox.landed():
            by_account.setdefault(entry.account, []).append(entry)
        missing = [one for account, entries in by_account.items() for one in self._missing(account, entries)]
        # In the order in which they landed, for one account's may stand on another's.
        missing.sort(key=lambda entry: (entry.block or 0, entry.nonce))
        for entry in missing:
            receipt = self._awaited(self._outbox.of_nonce(entry.account, entry.nonce))
            if receipt is None:
                raise NetworkError(
                    f"{entry.action}: was undone by a reorganisation of the chain and does not land again; it may "
                    f"still land as {entry.hash}; run the same again later"
                )
            self._note(receipt)
            before = parse_json(entry.receipt or "{}")
            if (receipt["status"], len(receipt["logs"])) != (
                before.get("status"),
                len(before.get("logs", [])),
            ):
                raise TransactionFailed(
                    entry.action,
                    "it was undone by a reorganisation of the chain, and came to something else when it landed again; "
                    "look at the state of the chain and run the same again",
                    tx_hash=Web3.to_hex(receipt["transactionHash"]),
                )
        return bool(missing)

    # What is left from before

    def _known(self, order: Order, taken: Sequence[int]) -> TxReceipt | None:
        """The receipt of the same order of a process that was killed before its caller heard of it. taken: nonces that
        stand for other orders."""
        left = [entry for entry in self._outbox.unheard(order.intent) if entry.nonce not in taken]
        if not left:
            return self._refused_and_landed(order)
        entry = next((one for one in left if one.nonce == left[0].nonce and one.receipt), left[0])
        if entry.receipt is None:
            self._outbox.hear(entry.account, entry.nonce)
            raise NetworkError(
                f"{order.action}: was sent before as {entry.hash}, and its nonce {entry.nonce} is used, but this node "
                "has no receipt, which public gateways keep for some minutes only; look it up, and run the same again "
                "if it is not there"
            )
        order.gas_limit, order.nonce = entry.gas, entry.nonce
        return _receipt_from(entry.receipt)

    def _refused_and_landed(self, order: Order) -> TxReceipt | None:
        """The receipt of the same order that a node said it refused, and passed on nevertheless."""
        for entry in self._outbox.refused(order.intent):
            receipt = self._receipt(entry.hash)
            if receipt is not None:
                self._note(receipt)
                order.gas_limit, order.nonce = entry.gas, entry.nonce
                return receipt
        return None

    def _finish(self, account: str) -> None:
        for nonce, entries in self._outbox.waiting(account).items():
            receipt = self._awaited(entries)
            if receipt is not None:
                self._note(receipt)
            elif self._count(account) > nonce:
                self._outbox.lose(account, nonce)
            else:
                raise NetworkError(
                    f"{entries[-1].action}: was sent earlier with nonce {nonce} of {account} and has not landed; it "
                    f"may still land as {_hashes(entries)}; nothing else can be sent before; wait, then run the same "
                    "again"
                )

    def _missing(self, account: str, entries: list[Entry]) -> list[Entry]:
        """Those of an account's landed entries that are not on the chain any more. Marks what is final."""
        count = self._count(account)
        missing = [entry for entry in entries if entry.nonce >= count]
        if not missing:
            final = self._final_block()
            for entry in entries:
                if entry.block is not None and entry.block <= final:
                    self._outbox.mark(entry.hash, State.FINAL)
        return missing

    # One order

    def _sign(self, order: Order, after: Sequence[Order] = ()) -> None:
        """Fill an order in, write it down and send it, behind others of the account that were sent just now."""
        self._require_contract(order)
        order.gas_limit = order.gas_limit or self._gas(order, 1.0)
        if after:  # the pending nonce may or may not count what was just sent
            order.nonce = after[-1].nonce + 1
        else:
            pending = self._w3.eth.get_transaction_count(order.account.address, "pending")
            order.nonce = max(int(pending), self._outbox.next_nonce(order.account.address))
        self._send_new(order, offer(self._w3))

    def _require_contract(self, order: Order) -> None:
        """A call where no contract is would succeed, and do nothing."""
        to = order.fields.get("to")
        if not to or not order.fields.get("data"):
            return
        address = Web3.to_checksum_address(to)
        if not self._w3.eth.get_code(address) and not (self.restore() and self._w3.eth.get_code(address)):
            raise TransactionFailed(order.action, f"there is no contract at {address} on this chain")

    def _gas(self, order: Order, times: float) -> int:
        try:
            return order.gas(times)
        except TransactionFailed:
            # It may fail because what it stands on was undone.
            if not self.restore():
                raise
            return order.gas(times)

    def _send_new(self, order: Order, price: Offer) -> None:
        fields = order.fields
        price.require_modest(order.gas_limit)
        filled: Any = {
            **{name: fields[name] for name in ("to", "data", "value") if fields.get(name) is not None},
            "gas": order.gas_limit,
            "type": 2,
            "accessList": [],
            "chainId": self._w3.eth.chain_id,
            "nonce": Nonce(order.nonce),
            "maxPriorityFeePerGas": price.premium,
            "maxFeePerGas": price.cap,
        }
        require_funds(
            self._w3, order.account.address, int(fields.get("value", 0)) + order.gas_limit * price.cap
        )
        signed = order.account.sign_transaction(filled)
        entry = Entry(
            *(
                signed.hash.to_0x_hex(),
                order.account.address.lower(),
                order.nonce,
                order.intent,
                order.action,
            ),
            *(bytes(signed.raw_transaction), order.gas_limit, price.premium, price.cap, State.WAITING),
        )
        self._outbox.add(entry)
        refused = self._push(entry)
        if refused is None:
            order.entries.append(entry)
            return
        refusal = refusal_of(explain(refused))
        if not order.entries and refusal in _NOT_TAKEN and not self._has_it(entry):
            self._outbox.mark(entry.hash, State.LOST)
            self._outbox.hear(entry.account, entry.nonce)
            reason = advised(explain(refused))
            raise TransactionFailed(order.action, reason, data=revert_data(refused)) from refused
        # Otherwise the chain will tell: an earlier hash may have landed, or another wallet has used the nonce.
        order.entries.append(entry)

    def _push(self, entry: Entry) -> Web3Exception | None:
        """Send a transaction, again and again without harm; the node's refusal, None if it has it."""
        try:
            self._w3.eth.send_raw_transaction(entry.raw)
        except Web3Exception as error:
            return None if refusal_of(explain(error)) is Refusal.KNOWN else error
        return None

    def _has_it(self, entry: Entry) -> bool:
        """Whether a node has a transaction that it seemed to refuse: a gateway's error may come after it was passed
        on."""
        with suppress(Web3Exception):
            self._w3.eth.get_transaction(HexBytes(entry.hash))
            return True
        time.sleep(self._network.poll_seconds)
        refused = self._push(entry)
        return refused is None or refusal_of(explain(refused)) not in _NOT_TAKEN

    def _landed_for_good(self, order: Order) -> TxReceipt:
        """Wait until an order has landed. It is sent anew if it had too little gas, or failed for want of something
        that a reorganisation had undone."""
        receipt = self._landed(order)
        if receipt["status"] != 1 and order.more_gas is not None:
            undone = self.restore()
            short = receipt["gasUsed"] >= OUT_OF_GAS_SHARE * order.gas_limit and self._would_succeed(order)
            if undone or short:
                before = order.gas_limit
                order.gas_limit = max(self._gas(order, order.more_gas if short else 1.0), 1)
                if undone or order.gas_limit > before:
                    self._outbox.hear(
                        order.account.address, order.nonce
                    )  # it failed, and another one follows
                    order.entries = []
                    self._sign(order)
                    receipt = self._landed(order)
        return receipt

    def _would_succeed(self, order: Order) -> bool:
        call: Any = {
            "from": order.account.address,
            **{k: order.fields[k] for k in ("to", "data", "value") if k in order.fields},
        }
        try:
            self._w3.eth.call(call)
        except Web3Exception:
            return False
        return True

    def _landed(self, order: Order) -> TxReceipt:
        begun = time.monotonic()
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                self._raise_offer(order)
            last = attempt == MAX_ATTEMPTS - 1
            receipt = self._awaited(order.entries, seconds=self._seconds(last))
            if receipt is not None:
                self._note(receipt)
                return receipt
            if self._count(order.account.address) > order.nonce:
                raise self._lost(order, time.monotonic() - begun)
        raise NetworkError(
            f"{order.action}: not included in {self._network.receipt_timeout_seconds:.0f} s; it may still land as "
            + _hashes(order.entries)
        )

    def _lost(self, order: Order, waited: float) -> NetworkError:
        """What to say of an order whose nonce is used, though the node has no receipt of any of its transactions."""
        account, nonce = order.account.address, order.nonce
        self._outbox.lose(account, nonce)
        if not any(map(self._is_in_block, order.entries)) and waited < RECEIPT_SECONDS:
            self._outbox.hear(account, nonce)
            return NetworkError(
                f"{order.action}: another transaction has used nonce {nonce} of {account}, so this one was not "
                "executed; let the other program or wallet finish, then run the same again"
            )
        return NetworkError(
            f"{order.action}: has probably landed as one of {_hashes(order.entries)}, but the node shows no receipt "
            "any more, which public gateways keep for some minutes only; look it up, then go on from there"
        )

    def _is_in_block(self, entry: Entry) -> bool:
        with suppress(Web3Exception):
            return self._w3.eth.get_transaction(HexBytes(entry.hash)).get("blockNumber") is not None
        return False

    def _raise_offer(self, order: Order) -> None:
        last = order.entries[-1]
        # Without funds for more, the present offer has to do.
        with suppress(ChainError, Web3Exception):
            self._send_new(order, Offer(last.premium, last.cap).raised(offer(self._w3)))

    # Looking

    def _seconds(self, last: bool) -> float:
        network = self._network
        if not last:
            return network.resubmit_seconds
        return max(
            network.receipt_timeout_seconds - (MAX_ATTEMPTS - 1) * network.resubmit_seconds,
            network.resubmit_seconds,
        )

    def _awaited(self, entries: Sequence[Entry], *, seconds: float | None = None) -> TxReceipt | None:
        """The receipt of one of a nonce's transactions; None if there is none in time or another one has the nonce."""
        limit = self._network.receipt_timeout_seconds if seconds is None else seconds
        deadline = time.monotonic() + limit
        looks, used = 0, 0
        while True:
            for entry in entries:
                receipt = self._receipt(entry.hash)
                if receipt is not None:
                    return receipt
            looks += 1
            count = self._count(entries[0].account)
            used = used + 1 if count > entries[0].nonce else 0
            if used >= LOOKS_UNTIL_LOST:
                return None
            if not used and looks % LOOKS_A_REPEAT == 1 and (looks > 1 or seconds is None):
                self._repeat(entries, count)
            if time.monotonic() >= deadline:
                return None
            time.sleep(self._network.poll_seconds)

    def _repeat(self, entries: Sequence[Entry], count: int) -> None:
        """Send a nonce's transactions again, behind those of earlier nonces that a reorganisation has undone."""
        account, nonce = entries[0].account, entries[0].nonce
        for earlier in range(count, nonce):
            for entry in self._outbox.of_nonce(account, earlier):
                self._push(entry)
        for entry in entries:
            self._push(entry)

    def _receipt(self, tx_hash: str) -> TxReceipt | None:
        try:
            return self._w3.eth.get_transaction_receipt(HexBytes(tx_hash))
        except TransactionNotFound:
            return None
        except Web3Exception:
            return None  # a node that cannot tell now

    def _count(self, account: str) -> int:
        return int(self._w3.eth.get_transaction_count(Web3.to_checksum_address(account), "latest"))

    def _note(self, receipt: TxReceipt) -> None:
        self._outbox.land(
            Web3.to_hex(receipt["transactionHash"]),
            receipt["blockNumber"],
            Web3.to_json(receipt),  # type: ignore[arg-type]
        )

    def _final_block(self) -> int:
        try:
            return int(self._w3.eth.get_block("finalized")["number"])
        except Web3Exception:
            return int(self._w3.eth.block_number) - FINAL_BLOCKS


def _hashes(entries: Sequence[Entry]) -> str:
    return ", ".join(entry.hash for entry in entries)


def _receipt_from(text: str) -> TxReceipt:
    """A receipt as web3 gives it, from its JSON."""
    fields = parse_json(text)
    for name in ("transactionHash", "blockHash", "logsBloom"):
        if fields.get(name) is not None:
            fields[name] = HexBytes(fields[name])
    fields["logs"] = [
        {
            **log,
            "topics": [HexBytes(topic) for topic in log["topics"]],
            **{name: HexBytes(log[name]) for name in ("data", "blockHash", "transactionHash")},
        }
        for log in fields["logs"]
    ]
    return fields  # type: ignore[no-any-return]
