"""Commands that send one transaction for an owner or a member: their common options, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.federation_options import (
    FederationOption,
    RpcOption,
    RunOption,
    ServiceOption,
    opened_federation,
    opened_service,
)
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.shared import option, parameters_of, with_options

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fedvm.chain.federation import FederationContract
    from fedvm.chain.model_service import ModelService
    from fedvm.devnet.embedded import EmbeddedChain
    from fedvm.pipeline.plans import Plan

_KEY_WORDS = "Key of the account that sends and pays; else PRIVATE_KEY"
OwnersKeyOption = Annotated[
    Path | None, typer.Option("--key-file", help=f"{_KEY_WORDS}, or on an embedded chain the owner's.")
]
OwnKeyOption = Annotated[Path | None, typer.Option("--key-file", help=f"{_KEY_WORDS}.")]
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
    """What the options of a sending command say. address: of the contract, with rpc; by_owner: whether the contract's
    owner sends where its key can be had without being given."""

    run: Path | None
    rpc: str | None
    address: str | None
    key_file: Path | None
    sender: str | None
    dry_run: bool
    unsigned: bool
    as_json: bool
    by_owner: bool

    @contextmanager
    def federation(self) -> Iterator[tuple[FederationContract, Actor]]:
        """The federation, and who sends."""
        with opened_federation(self.run, self.rpc, self.address, read_only=self._reads) as (contract, chain):
            yield contract, self._actor(chain, contract.owner)

    @contextmanager
    def service(self) -> Iterator[tuple[ModelService, Actor]]:
        """The service, and who sends."""
        with opened_service(self.run, self.rpc, self.address, read_only=self._reads) as (contract, chain):
            yield contract, self._actor(chain, contract.owner)

    def carry_out(self, actor: Actor, plan: Plan, **facts: Any) -> None:
        """Send the plan, or say what it would do, or print it for a wallet. facts: more for `--json`."""
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
            text = f"{plan.sentence}.\nIt would cost {_costs(plan, cost.gas, cost.fee)}. Nothing is sent."
        else:
            receipt = plan.send(actor.account)
            fee = receipt.gas_used * receipt.gas_price
            said |= {"sent": True, "gas": receipt.gas_used, "gas_price": receipt.gas_price, "fee": fee}
            said |= {"tx": receipt.tx_hash}
            costs = _costs(plan, receipt.gas_used, fee)
            text = f"{plan.sentence}.\nSent by {actor.address} as {receipt.tx_hash}: {costs}."
        if self.as_json:
            print_json({**said, "what": plan.sentence, **facts})
        else:
            out().print(text, markup=False)

    @property
    def _reads(self) -> bool:
        return self.dry_run or self.unsigned

    def _actor(self, chain: EmbeddedChain | None, owner: Callable[[], str]) -> Actor:
        from fedvm.chain.errors import KeyFileError
        from fedvm.chain.keys import load_key, read_key_file
        from fedvm.federation.client.appointment import checked_address
        from fedvm.pipeline.errors import UsageError

        if self.key_file is not None and self.sender is not None:
            raise typer.BadParameter("give --key-file or --from, not both")
        if self.key_file is not None:
            return _holder(read_key_file(self.key_file))
        address = None if self.sender is None else checked_address("sender", self.sender)
        if address is None and self.by_owner and (chain is not None or self.unsigned):
            address = owner()
        if address is None:
            try:
                return _holder(load_key())
            except KeyFileError as error:
                if chain is None:
                    raise
                raise UsageError(f"{error}; or say --from which account of this embedded chain") from None
        account = None if chain is None else chain.keyring.find(address)
        if account is None and not self._reads:
            raise UsageError(
                f"the key of {address} is not here: give it with --key-file, print the transaction for it with "
                "--unsigned, or look at it with --dry-run"
            )
        return Actor(address, account)


Wrapper = Callable[[Callable[..., None]], Callable[..., None]]


def sent_to_federation(*, by_owner: bool) -> Wrapper:
    """Give a command that takes a `Sending` first the options that say to which federation, by whom, and whether at
    all."""
    return lambda function: _with_options(function, "federation", FederationOption, by_owner)


def sent_to_service(function: Callable[..., None]) -> Callable[..., None]:
    """The same for what the owner of a ModelService sends to it."""
    return _with_options(function, "service", ServiceOption, by_owner=True)


def _with_options(
    function: Callable[..., None], contract: str, address: Any, by_owner: bool
) -> Callable[..., None]:
    _, *own = parameters_of(function)
    shared: Mapping[str, tuple[Any, Any]] = {
        "run": (RunOption, None),
        "rpc": (RpcOption, None),
        contract: (address, None),
        "key_file": (OwnersKeyOption if by_owner else OwnKeyOption, None),
        "sender": (FromOption, None),
        "dry_run": (DryRunOption, False),
        "unsigned": (UnsignedOption, False),
        "as_json": (JsonOption, False),
    }

    def action(**given: Any) -> None:
        common = {name: given.pop(name) for name in shared}
        if common["dry_run"] and common["unsigned"]:
            raise typer.BadParameter("give --dry-run or --unsigned, not both")
        function(Sending(address=common.pop(contract), by_owner=by_owner, **common), **given)

    options = [option(name, annotation, default) for name, (annotation, default) in shared.items()]
    return with_options(action, function, [*own, *options])


def _holder(account: LocalAccount) -> Actor:
    return Actor(str(account.address), account)


def _costs(plan: Plan, gas: int, fee: int) -> str:
    from fedvm.chain.networks import network_of

    currency = network_of(plan.call.sender.w3).currency
    sent = f", and {plan.call.value:,} wei go with it" if plan.call.value else ""
    return f"{gas:,} gas, {fee / 1e18:.6g} {currency}{sent}"
