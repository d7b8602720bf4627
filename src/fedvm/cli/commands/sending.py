"""Commands that send one transaction for an owner or a member: their common options, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, place_options, take_place
from fedvm.cli.commands.shared import option, parameters_of, with_options
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing
from fedvm.cli.commands.spending import PriceOption, YesOption, amount, confirm

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fedvm.chain.federation import FederationContract
    from fedvm.chain.model_service import ModelService
    from fedvm.devnet.embedded import EmbeddedChain
    from fedvm.pipeline.plans import Plan

FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="ADDRESS",
        help="Who sends, if no key is given: an account of the embedded chain; any with --dry-run or --unsigned.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would happen and what it costs; send nothing.")
]
UnsignedOption = Annotated[
    bool,
    typer.Option(
        "--unsigned", help="Send nothing: print the transaction for a wallet that is a contract, as JSON."
    ),
]


@dataclass(frozen=True)
class Actor:
    """Who sends. account: None if its key is not known and not needed, because nothing is sent."""

    address: str
    account: LocalAccount | None


@dataclass(frozen=True)
class Sending:
    """What the options of a sending command say. by_owner: whether the contract's owner sends where its key can be had
    without being given."""

    place: Place
    signing: Signing
    sender: str | None
    dry_run: bool
    unsigned: bool
    yes: bool
    price: float | None
    as_json: bool
    by_owner: bool

    @contextmanager
    def federation(self) -> Iterator[tuple[FederationContract, Actor]]:
        """The federation, and who sends."""
        with self.place.opened(read_only=self._reads) as run:
            yield run.federation_contract, self._actor(run.chain, run.federation_contract.owner)

    @contextmanager
    def service(self) -> Iterator[tuple[ModelService, Actor]]:
        """The service, and who sends."""
        with self.place.opened(read_only=self._reads) as run:
            yield run.model_service, self._actor(run.chain, run.model_service.owner)

    def carry_out(self, actor: Actor, plan: Plan, **facts: Any) -> None:
        """Send the plan, or say what it would do, or print it for a wallet. facts: more for `--json`."""
        from fedvm.chain.networks import EMBEDDED, network_of
        from fedvm.cli.addresses import transaction_text
        from fedvm.cli.console import err, out

        call = plan.call
        if self.unsigned:
            plan.check(actor.address)
            err().print(f"{plan.sentence}. For {actor.address} to send:", markup=False)
            print_json(call.unsent().as_json())
            return
        said = {
            "from": actor.address,
            "to": call.contract.address,
            "action": call.action,
            "value": call.value,
        }
        if actor.account is None or self.dry_run:
            cost = plan.afford(actor.address)
            said |= {"sent": False, "gas": cost.gas, "gas_price": cost.gas_price, "fee": cost.fee, "tx": None}
            text = (
                f"{plan.sentence}.\nIt would cost {self._costs(plan, cost.gas, cost.fee)}. Nothing is sent."
            )
        else:
            network = network_of(call.sender.w3)
            if network is not EMBEDDED:
                cost = plan.afford(actor.address)
                costs = self._costs(plan, cost.gas, cost.fee)
                confirm(f"{plan.sentence}. {actor.address} pays {costs}.", network, yes=self.yes)
            receipt = plan.send(actor.account)
            fee = receipt.gas_used * receipt.gas_price
            said |= {"sent": True, "gas": receipt.gas_used, "gas_price": receipt.gas_price, "fee": fee}
            said |= {"tx": receipt.tx_hash}
            costs = self._costs(plan, receipt.gas_used, fee)
            where = transaction_text(receipt.tx_hash, network_of(call.sender.w3))
            text = f"{plan.sentence}.\nSent by {actor.address} as {where}: {costs}."
        if self.as_json:
            print_json({**said, "what": plan.sentence, **facts})
        else:
            out().print(text, markup=False)

    def _costs(self, plan: Plan, gas: int, fee: int) -> str:
        from fedvm.chain.networks import network_of

        network = network_of(plan.call.sender.w3)
        value = plan.call.value
        sent = f", and {value:,} wei go with it" if value else ""
        unit = "Filecoin gas" if network.is_filecoin else "gas"
        return f"{gas:,} {unit}, {amount(fee, network, self.price)}{sent}"

    @property
    def _reads(self) -> bool:
        return self.dry_run or self.unsigned

    def _actor(self, chain: EmbeddedChain | None, owner: Callable[[], str]) -> Actor:
        from fedvm.chain.errors import KeyFileError
        from fedvm.federation.client.appointment import checked_address
        from fedvm.pipeline.errors import UsageError

        if self.signing.is_named and self.sender is not None:
            raise typer.BadParameter("give --account, --key-file or --from, one of them")
        if self.signing.is_named:
            return _holder(self.signing.load())
        address = None if self.sender is None else checked_address("sender", self.sender)
        if address is None and self.by_owner and (chain is not None or self.unsigned):
            address = owner()
        if address is None:
            try:
                return _holder(self.signing.load())
            except KeyFileError as error:
                if chain is None:
                    raise
                raise UsageError(f"{error}; or say --from which account of this embedded chain") from None
        account = None if chain is None else chain.keyring.find(address)
        if account is None and not self._reads:
            raise UsageError(
                f"the key of {address} is not here: give it with --account or --key-file, print the transaction for it "
                "with --unsigned, or look at it with --dry-run"
            )
        return Actor(address, account)


Wrapper = Callable[[Callable[..., None]], Callable[..., None]]


def sent_to_federation(*, by_owner: bool) -> Wrapper:
    """Give a command that takes a `Sending` first the options that say to which federation, by whom, and whether at
    all."""
    return lambda function: _with_options(function, "federation", by_owner)


def sent_to_service(function: Callable[..., None]) -> Callable[..., None]:
    """The same for what the owner of a ModelService sends to it."""
    return _with_options(function, "service", by_owner=True)


def _with_options(function: Callable[..., None], contract: str, by_owner: bool) -> Callable[..., None]:
    _, *own = parameters_of(function)
    where = place_options([contract])
    how: Mapping[str, tuple[Any, Any]] = {
        "account": (AccountOption, None),
        "key_file": (KeyFileOption, None),
        "sender": (FromOption, None),
        "dry_run": (DryRunOption, False),
        "unsigned": (UnsignedOption, False),
        "yes": (YesOption, False),
        "price": (PriceOption, None),
        "as_json": (JsonOption, False),
    }

    def action(**given: Any) -> None:
        place = take_place(given, [contract])
        common = {name: given.pop(name) for name in how}
        if common["dry_run"] and common["unsigned"]:
            raise typer.BadParameter("give --dry-run or --unsigned, not both")
        signing = Signing(common.pop("account"), common.pop("key_file"))
        function(Sending(place, signing, by_owner=by_owner, **common), **given)

    options = [option(name, annotation, None) for name, annotation in where.items()]
    options += [option(name, annotation, default) for name, (annotation, default) in how.items()]
    return with_options(action, function, [*own, *options])


def _holder(account: LocalAccount) -> Actor:
    return Actor(str(account.address), account)
