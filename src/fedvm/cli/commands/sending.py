"""Commands that send one transaction for an owner or a member: their common options, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import Actor, actor_of, print_batch
from fedvm.cli.commands.places import Place, place_options, take_place
from fedvm.cli.commands.shared import option, parameters_of, with_options
from fedvm.cli.commands.spending import Spending, confirm, gas_text, spending_options, take_spending

if TYPE_CHECKING:
    from fedvm.chain.federation import FederationContract
    from fedvm.chain.model_service import ModelService
    from fedvm.pipeline.plans import Plan


@dataclass(frozen=True)
class Sending:
    """What the options of a sending command say. by_owner: whether the contract's owner sends where its key can be had
    without being given."""

    place: Place
    spending: Spending
    as_json: bool
    by_owner: bool

    @contextmanager
    def federation(self) -> Iterator[tuple[FederationContract, Actor]]:
        """The federation, and who sends."""
        with self.place.opened(read_only=self.spending.reads) as run:
            contract = run.federation_contract
            yield contract, actor_of(self.spending, run.chain, contract.owner if self.by_owner else None)

    @contextmanager
    def service(self) -> Iterator[tuple[ModelService, Actor]]:
        """The service, and who sends."""
        with self.place.opened(read_only=self.spending.reads) as run:
            contract = run.model_service
            yield contract, actor_of(self.spending, run.chain, contract.owner if self.by_owner else None)

    def carry_out(
        self, actor: Actor, plan: Plan, *, after: Callable[[], Mapping[str, Any]] | None = None, **facts: Any
    ) -> bool:
        """Send the plan, or say what it would do, or print it for a wallet; whether it was sent. facts: more for
        `--json`; after: still more, which are asked for when it was sent."""
        from fedvm.chain.networks import EMBEDDED, network_of
        from fedvm.cli.addresses import transaction_text
        from fedvm.cli.console import out

        call = plan.call
        if self.spending.unsigned:
            plan.check(actor.address)
            print_batch([call.unsent()], actor.address, plan.sentence)
            return False
        said = {
            "from": actor.address,
            "to": call.contract.address,
            "action": call.action,
            "value": call.value,
        }
        sent = actor.account is not None and not self.spending.dry_run
        if actor.account is None or self.spending.dry_run:
            cost = plan.afford(actor.address)
            said |= {"sent": False, "gas": cost.gas, "gas_price": cost.gas_price, "fee": cost.fee, "tx": None}
            costs = self._costs(plan, cost.gas, cost.gas_price)
            text = f"{plan.sentence}.\nIt would cost {costs}. Nothing is sent."
        else:
            network = network_of(call.sender.w3)
            if network is not EMBEDDED:
                cost = plan.afford(actor.address)
                costs = self._costs(plan, cost.gas, cost.gas_price)
                sentence = f"{plan.sentence}. {actor.address} pays {costs}."
                confirm(sentence, network, yes=self.spending.yes)
            receipt = plan.send(actor.account)
            fee = receipt.gas_used * receipt.gas_price
            said |= {"sent": True, "gas": receipt.gas_used, "gas_price": receipt.gas_price, "fee": fee}
            said |= {"tx": receipt.tx_hash, **(after() if after else {})}
            costs = self._costs(plan, receipt.gas_used, receipt.gas_price)
            where = transaction_text(receipt.tx_hash, network_of(call.sender.w3))
            text = f"{plan.sentence}.\nSent by {actor.address} as {where}: {costs}."
        if self.as_json:
            print_json({**said, "what": plan.sentence, **facts})
        else:
            out().print(text, markup=False)
        return sent

    def _costs(self, plan: Plan, gas: int, gas_price: int) -> str:
        from fedvm.chain.networks import network_of

        network, value = network_of(plan.call.sender.w3), plan.call.value
        sent = f", and {value:,} wei go with it" if value else ""
        return gas_text(gas, gas_price, network, self.spending.price) + sent


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

    def action(**given: Any) -> None:
        place, spending = take_place(given, [contract]), take_spending(given)
        sending = Sending(place, spending, given.pop("as_json"), by_owner)
        function(sending, **given)

    options = [option(name, annotation, None) for name, annotation in place_options([contract]).items()]
    options += [*spending_options(), option("as_json", JsonOption, False)]
    return with_options(action, function, [*own, *options])
