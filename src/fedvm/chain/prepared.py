"""A transaction before anybody sends it: it can be priced, printed for a wallet, or sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3.contract import Contract

from fedvm.chain.sender import Cost, Receipt, Sender
from fedvm.chain.unsent import UnsentTransaction, unsent


@dataclass(frozen=True)
class PreparedCall:
    """What to call of a contract, with which arguments and how much money.

    action: "Contract.function", which names it in errors too; value: wei that go with it.
    """

    sender: Sender
    contract: Contract
    action: str
    arguments: tuple[Any, ...] = ()
    value: int = 0

    def send(self, account: LocalAccount) -> Receipt:
        """Send it from an account, and wait for success. Raises as :meth:`Sender.send`."""
        return self.sender.transact(account, self.contract, self.action, *self.arguments, value=self.value)

    def cost(self, account: str) -> Cost:
        """What it would cost an account (hex address) now. Raises as :meth:`Sender.cost`."""
        data = self.contract.encode_abi(self._function, args=list(self.arguments))
        transaction: Any = {"to": self.contract.address, "data": data, "value": self.value}
        return self.sender.cost(account, transaction, action=self.action)

    def unsent(self) -> UnsentTransaction:
        """The same for a wallet to send."""
        return unsent(self.contract, self._function, *self.arguments, value=self.value)

    @property
    def _function(self) -> str:
        return self.action.partition(".")[2]
