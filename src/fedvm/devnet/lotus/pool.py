"""The message pool: which signed transactions are taken, replaced and put into a tipset (lotus, chain/messagepool)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from eth.vm.forks.cancun.transactions import CancunTransactionBuilder

from fedvm.chain.errors import ChainError
from fedvm.devnet.lotus.machine import Machine, Message
from fedvm.devnet.lotus.market import MINIMUM_BASE_FEE
from fedvm.evm import gas as evm_gas
from fedvm.evm.limits import BLOCK_GAS_LIMIT, MAX_CALLDATA_BYTES

MAX_NONCE_GAP: Final = 4
MAX_PENDING: Final = 100
"""Messages of one sender."""
REPLACEMENT_PERCENT: Final = 125

_DYNAMIC: Final = 2


class MessageRefused(ChainError):
    """The pool does not take a message; the text is Lotus's."""


@dataclass(frozen=True)
class Signed:
    """A signed transaction as the pool sees it; fees in attoFIL a gas."""

    hash: bytes
    nonce: int
    gas: int
    fee_cap: int
    premium: int
    message: Message
    type: int
    v: int
    r: int
    s: int
    chain_id: int

    @property
    def required_funds(self) -> int:
        return self.message.value + self.gas * self.fee_cap


def decoded(raw: bytes, chain_id: int) -> Signed:
    """Read a raw transaction. Raises MessageRefused for what Filecoin does not take."""
    if raw[:1] in (b"\x01", b"\x03", b"\x04"):
        raise MessageRefused(f"unsupported transaction type: {raw[0]}")
    try:
        transaction = CancunTransactionBuilder.decode(raw)
        transaction.validate()
        sender = bytes(transaction.sender)
    except Exception as error:
        raise MessageRefused(f"failed to parse Ethereum transaction: {error}") from error
    if transaction.type_id == _DYNAMIC and transaction.access_list:
        raise MessageRefused("access list should be an empty list")
    if transaction.chain_id != chain_id:
        raise MessageRefused(f"chain id mismatch: expected {chain_id}, got {transaction.chain_id}")
    data = bytes(transaction.data)
    if len(data) > MAX_CALLDATA_BYTES:
        raise MessageRefused(f"mpool message too large ({len(raw)}B): message too big")
    return Signed(
        bytes(transaction.hash),
        transaction.nonce,
        transaction.gas,
        transaction.max_fee_per_gas,
        min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas),
        Message(sender, bytes(transaction.to) or None, data, transaction.value),
        transaction.type_id or 0,
        transaction.y_parity,
        transaction.r,
        transaction.s,
        chain_id,
    )


@dataclass
class Pool:
    """Messages that wait, by sender and nonce. held: hash → epoch before which a message is passed over."""

    waiting: dict[bytes, dict[int, Signed]] = field(default_factory=dict)
    held: dict[bytes, int] = field(default_factory=dict)

    def get(self, tx_hash: bytes) -> Signed | None:
        return next((one for one in self._all() if one.hash == tx_hash), None)

    def next_nonce(self, sender: bytes, state_nonce: int) -> int:
        """What `eth_getTransactionCount` says of "pending"."""
        nonce, own = state_nonce, self.waiting.get(sender, {})
        while nonce in own:
            nonce += 1
        return nonce

    def add(self, signed: Signed, machine: Machine, root: bytes) -> None:
        """Take a message on top of the state ``root``. Raises MessageRefused."""
        sender, nonce = signed.message.sender, signed.nonce
        least = evm_gas.MESSAGE_FILECOIN + evm_gas.CALLDATA_BYTE_FILECOIN * len(signed.message.data)
        if not least <= signed.gas <= BLOCK_GAS_LIMIT:
            raise MessageRefused(
                f"message will not be included in a block: 'GasLimit' field {signed.gas} is not between the cost of "
                f"storing a message on chain, {least}, and a block's gas limit, {BLOCK_GAS_LIMIT}"
            )
        if signed.fee_cap < MINIMUM_BASE_FEE:
            raise MessageRefused("gas fee cap too low")
        state_nonce = machine.nonce(root, sender)
        if nonce < state_nonce:
            raise MessageRefused(f"minimum expected nonce is {state_nonce}: message nonce too low")
        own = self.waiting.setdefault(sender, {})
        expected = self.next_nonce(sender, state_nonce)
        if nonce > expected + MAX_NONCE_GAP:
            raise MessageRefused(
                f"message nonce has too big a gap from expected nonce (Nonce: {nonce}, nextNonce: {expected}): "
                "unfulfilled nonce gap"
            )
        present = own.get(nonce)
        if present is not None:
            self._replaces(signed, present, expected)
        elif len(own) >= MAX_PENDING:
            raise MessageRefused("too many pending messages for actor")
        required = signed.required_funds + sum(m.required_funds for n, m in own.items() if n < nonce)
        if (balance := machine.balance(root, sender)) < required:
            raise MessageRefused(
                f"not enough funds (required: {required}, balance: {balance}): not enough funds to execute transaction"
            )
        own[nonce] = signed

    @staticmethod
    def _replaces(signed: Signed, present: Signed, expected: int) -> None:
        where = f"message from 0x{signed.message.sender.hex()} with nonce {signed.nonce} already in mpool"
        if signed.hash == present.hash:
            raise MessageRefused(f"{where}: message with nonce already exists")
        if signed.nonce > expected:
            raise MessageRefused("rejecting replace by fee because of nonce gap: unfulfilled nonce gap")
        least = present.premium * REPLACEMENT_PERCENT // 100 + 1
        if signed.premium < least:
            raise MessageRefused(
                f"{where}, increase GasPremium to {least} from {signed.premium} to trigger replace by fee: "
                "replace by fee has too low GasPremium"
            )

    def restore(self, messages: Iterable[Signed]) -> None:
        """Take back messages of tipsets that left the chain, unless they were replaced meanwhile."""
        for one in messages:
            self.waiting.setdefault(one.message.sender, {}).setdefault(one.nonce, one)

    def choose(self, machine: Machine, root: bytes, base_fee: int, epoch: int) -> list[Signed]:
        """Messages of one block's gas for the next tipset: by premium, each sender's in the order of nonces."""
        chosen: list[Signed] = []
        room = BLOCK_GAS_LIMIT
        for sender, own in sorted(
            self.waiting.items(), key=lambda item: -max((m.premium for m in item[1].values()), default=0)
        ):
            nonce, funds = machine.nonce(root, sender), machine.balance(root, sender)
            for stale in [n for n in own if n < nonce]:
                del own[stale]
            while (one := own.get(nonce)) is not None:
                held = self.held.get(one.hash, 0) > epoch
                if held or one.fee_cap < base_fee or one.gas > room or one.required_funds > funds:
                    break
                chosen.append(own.pop(nonce))
                self.held.pop(one.hash, None)
                room, funds, nonce = room - one.gas, funds - one.required_funds, nonce + 1
        return chosen

    def before(self, sender: bytes, state_nonce: int) -> list[Signed]:
        """What waits of a sender without a gap."""
        own, nonce, found = self.waiting.get(sender, {}), state_nonce, []
        while nonce in own:
            found.append(own[nonce])
            nonce += 1
        return found

    def _all(self) -> Iterable[Signed]:
        return (one for own in self.waiting.values() for one in own.values())
