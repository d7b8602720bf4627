"""Who sends what a command sends, and what happens before anything leaves: it is priced and asked about, only told, or
printed for a wallet. One home for all commands; those that follow the chain get an account that does so by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from fedvm.cli.commands.json_option import print_json
from fedvm.cli.commands.spending import Spending, amount, confirm, gas_text

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from web3 import Web3
    from web3.types import TxParams

    from fedvm.chain.networks import Network
    from fedvm.chain.sender import Cost, Sender
    from fedvm.chain.unsent import UnsentTransaction
    from fedvm.devnet.embedded import EmbeddedChain


@dataclass(frozen=True)
class Actor:
    """Who sends. account: None if its key is not known and not needed, because nothing is sent."""

    address: str
    account: LocalAccount | None


def actor_of(
    spending: Spending, chain: EmbeddedChain | None = None, default: Callable[[], str] | None = None
) -> Actor:
    """Whom the options name. chain: the embedded one, which has keys. default: address (hex) of who sends where nobody
    is named and its key is not needed or is the chain's.

    Raises BadParameter, UsageError and KeyFileError where somebody must be named, or its key be had.
    """
    from fedvm.chain.errors import KeyFileError
    from fedvm.cli.commands.signing import address_of
    from fedvm.federation.client.appointment import checked_address
    from fedvm.pipeline.errors import UsageError

    signing = spending.signing
    if spending.reads and spending.account is not None and spending.key_file is None:
        return Actor(address_of(spending.account), None)  # nothing is signed, so no password is asked for
    if signing.is_named:
        return _holder(signing.load())
    address = None if spending.sender is None else checked_address("sender", spending.sender)
    if address is None and default is not None and (chain is not None or spending.unsigned):
        address = default()
    if address is None and spending.unsigned:
        raise typer.BadParameter("--unsigned goes with --from, the wallet that will send")
    if address is None:
        try:
            return _holder(signing.load())
        except KeyFileError as error:
            if chain is None:
                raise
            raise UsageError(f"{error}; or say --from which account of this embedded chain") from None
    account = None if chain is None else chain.keyring.find(address)
    if account is None and not spending.reads:
        raise UsageError(
            f"the key of {address} is not here: give it with --account or --key-file, print the transaction for it "
            "with --unsigned, or look at it with --dry-run"
        )
    return Actor(address, account)


@contextmanager
def paying(
    spending: Spending,
    w3: Web3,
    chain: EmbeddedChain | None,
    *,
    as_json: bool = False,
    default: Callable[[], str] | None = None,
) -> Iterator[LocalAccount]:
    """The account for a command that finds out by and by what it must send. default: as `actor_of`.

    The first transaction is priced and asked about, the cost of later ones is said. With --dry-run or --unsigned the
    block ends with the first one, which is told or printed, and the command with it. Raises as `actor_of` and
    `confirm`, the latter before anything is done where nobody could be asked.
    """
    from fedvm.chain.networks import network_of
    from fedvm.chain.sender import Sender
    from fedvm.chain.supervised import SupervisedAccount

    actor = actor_of(spending, chain, default)
    look = _Look(spending, Sender(w3), actor.address, as_json)
    if not spending.reads:
        require_answer(f"{actor.address} will pay for what is sent.", network_of(w3), yes=spending.yes)
    try:
        yield SupervisedAccount(actor.address, actor.account, look)
    except _Held:
        raise typer.Exit from None


def approve_rest(account: LocalAccount) -> None:
    """Ask now for all that an account of `paying` may have to send: later, when minutes count, nobody may be in front
    of the terminal. Raises as `confirm`."""
    from fedvm.chain.supervised import SupervisedAccount

    if isinstance(account, SupervisedAccount) and isinstance(account.look, _Look):
        account.look.approve(f"{account.address} will pay for what must be sent from now on.")


def user_of(chain: EmbeddedChain | None) -> Callable[[], str] | None:
    """The default for what anybody may send: the "user" of an embedded chain."""
    return None if chain is None else lambda: str(chain.account("user").address)


def require_answer(sentence: str, network: Network, *, yes: bool) -> None:
    """Raise UsageError if later on somebody would have to be asked, and nobody can be."""
    import sys

    if not sys.stdin.isatty():
        confirm(sentence, network, yes=yes)


def print_batch(
    transactions: Sequence[UnsentTransaction], wallet: str, what: str, *, apart: bool = False
) -> None:
    """The batch on standard output, and what it is for on standard error. apart: each transaction must be in a later
    block than the one before, so that each is a batch of its own, in a list."""
    from fedvm.chain.safe_batch import safe_batch
    from fedvm.cli.console import err

    count = "a transaction" if len(transactions) == 1 else f"{len(transactions)} transactions, in this order,"
    when = " each when the one before is in a block," if apart else ""
    err().print(f"{what}. {count[0].upper()}{count[1:]}{when} for {wallet} to send:", markup=False)
    if apart:
        print_json([safe_batch([one], wallet, what) for one in transactions])
    else:
        print_json(safe_batch(transactions, wallet, what))


class _Held(Exception):
    """A transaction was not sent, and was not to be."""


@dataclass
class _Look:
    """What becomes of a transaction before it is sent. sender: prices it. payer: hex address. approved: whether what
    follows may be sent, too."""

    spending: Spending
    sender: Sender
    payer: str
    as_json: bool
    approved: bool = field(default=False)

    def __call__(self, transactions: Sequence[TxParams], action: str, *, apart: bool = False) -> None:
        # What needs another in an earlier block cannot be priced now.
        priced = transactions[:1] if apart else transactions
        if self.spending.unsigned:
            self._print(transactions, action, apart)
            raise _Held
        if self.spending.dry_run:
            self._tell(transactions, [self._cost(one, action) for one in priced], action)
            raise _Held
        self._ask(priced, action)

    def _print(self, transactions: Sequence[TxParams], action: str, apart: bool) -> None:
        from fedvm.chain.unsent import unsent_of

        chain_id = int(self.sender.w3.eth.chain_id)
        unsent = [unsent_of(chain_id, one, action) for one in transactions]
        print_batch(unsent, self.payer, action, apart=apart)
        self._say("Give the same command again when all are in a block: what is next depends on them.")

    def _cost(self, transaction: TxParams, action: str) -> Cost:
        return self.sender.cost(self.payer, transaction, action=action)

    def _tell(self, transactions: Sequence[TxParams], costs: Sequence[Cost], action: str) -> None:
        from fedvm.cli.console import out

        gas, value = sum(one.gas for one in costs), sum(one.value for one in costs)
        if self.as_json:
            price = costs[0].gas_price
            said: dict[str, Any] = {"sent": False, "from": self.payer, "action": action, "tx": None}
            said |= {"to": str(transactions[0].get("to", "")), "transactions": len(transactions)}
            print_json({**said, "value": value, "gas": gas, "gas_price": price, "fee": gas * price})
            return
        later = len(transactions) - len(costs)
        more = ", and a later one that cannot be priced before" if later else ""
        out().print(f"Next would be {action}: {self._text(costs)}{more}. Nothing is sent.", markup=False)

    def _ask(self, transactions: Sequence[TxParams], action: str) -> None:
        from fedvm.chain.errors import ChainError
        from fedvm.chain.networks import EMBEDDED

        network = self.sender.network
        if network is EMBEDDED:
            return
        try:
            cost = self._text([self._cost(one, action) for one in transactions])
        except ChainError:  # whoever sends it says why, or knows that it was sent before
            cost = "what it costs cannot be told now"
        self._say(f"{action}: {cost}")
        if not self.approved:
            self.approve(f"{self.payer} pays for this, and for what follows from it.")

    def approve(self, sentence: str) -> None:
        """Ask, unless that was done."""
        if not (self.approved or self.spending.reads):
            confirm(sentence, self.sender.network, yes=self.spending.yes)
            self.approved = True

    def _text(self, costs: Sequence[Cost]) -> str:
        network = self.sender.network
        gas, value = sum(one.gas for one in costs), sum(one.value for one in costs)
        text = gas_text(gas, costs[0].gas_price, network, self.spending.price)
        return f"{text}, and {amount(value, network, self.spending.price)} go with it" if value else text

    def _say(self, text: str) -> None:
        from fedvm.cli.console import err

        err().print(text, markup=False)


def _holder(account: LocalAccount) -> Actor:
    return Actor(str(account.address), account)
