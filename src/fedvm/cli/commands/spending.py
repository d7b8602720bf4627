"""What a command is about to spend: shown in both units of gas, in coin and in money, and asked about."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fedvm.cli.commands.shared import option, parameters_of, with_options
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing

if TYPE_CHECKING:
    from web3 import Web3

    from fedvm.chain.costs import PlannedStep
    from fedvm.chain.networks import Network

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Send without asking.")]
PriceOption = Annotated[
    float | None,
    typer.Option("--price", min=0, help="What one coin costs in your money, to show costs in it, too."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would happen and what it costs; send nothing.")
]


@dataclass(frozen=True)
class Spending:
    """What the options of a command say of sending. Every field is an option; `with_spending` gives them to a
    command."""

    account: AccountOption = None
    key_file: KeyFileOption = None
    sender: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="ADDRESS",
            help="Who sends, if no key is given: an account of the embedded chain; any with --dry-run or --unsigned.",
        ),
    ] = None
    dry_run: DryRunOption = False
    unsigned: Annotated[
        bool,
        typer.Option(
            "--unsigned",
            help="Send nothing: print the transactions for a wallet, in their order, as a batch for a Safe (JSON).",
        ),
    ] = False
    yes: YesOption = False
    price: PriceOption = None

    def __post_init__(self) -> None:
        if self.dry_run and self.unsigned:
            raise typer.BadParameter("give --dry-run or --unsigned, not both")
        if self.signing.is_named and self.sender is not None:
            raise typer.BadParameter("give --account, --key-file or --from, one of them")

    @property
    def signing(self) -> Signing:
        """Whose key it is."""
        return Signing(self.account, self.key_file)

    @property
    def reads(self) -> bool:
        """Whether nothing is sent."""
        return self.dry_run or self.unsigned


def spending_options() -> list[inspect.Parameter]:
    """The options of `Spending`, by the names of its fields."""
    hints = get_type_hints(Spending, include_extras=True)
    return [option(one.name, hints[one.name], one.default) for one in fields(Spending)]


def take_spending(given: dict[str, Any]) -> Spending:
    """What a command's values say of sending, which are taken out of them."""
    return Spending(**{one.name: given.pop(one.name) for one in fields(Spending)})


def with_spending(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function with a parameter `spending: Spending` a command with those options in its place."""
    shared = spending_options()

    def action(**given: Any) -> None:
        function(spending=take_spending(given), **given)

    options = []
    for one in parameters_of(function):
        options += shared if one.annotation is Spending else [one]
    return with_options(action, function, options)


def spend(
    what: str,
    steps: Sequence[PlannedStep],
    w3: Web3,
    payer: str,
    *,
    dry_run: bool,
    yes: bool,
    price: float | None,
    as_json: bool,
) -> bool:
    """Show what the steps cost the payer (hex address), and ask; False if nothing is to be sent, which is said.

    Raises as `confirm`, and NetworkError if the payer has too little.
    """
    from fedvm.chain.costs import gas_of
    from fedvm.chain.network_funds import gas_price
    from fedvm.chain.networks import network_of, require_funds
    from fedvm.cli.commands.json_option import print_json
    from fedvm.cli.console import err, out

    network, unit_price = network_of(w3), gas_price(w3)
    gas = gas_of(steps, network)
    if not as_json:
        print_steps(steps, network, unit_price, price)
    sentence = f"{what} on {network.title} from {payer}: some {gas_text(gas, unit_price, network, price)}."
    if dry_run:
        if as_json:
            print_json({"sent": False, "gas": gas, "gas_price": unit_price, "steps": steps_json(steps)})
        else:
            out().print(f"{sentence} Nothing is sent.", markup=False)
        return False
    require_funds(w3, payer, gas * unit_price)
    err().print(sentence, markup=False)
    confirm(sentence, network, yes=yes)
    return True


def confirm(sentence: str, network: Network, *, yes: bool) -> None:
    """Ask before money is spent. Nobody is asked on the embedded chain, nor, without a terminal, where the coin is
    worth nothing.

    Raises:
        UsageError: somebody must be asked, and nobody can be.
        Abort: the answer is no.
    """
    from fedvm.chain.networks import EMBEDDED
    from fedvm.pipeline.errors import UsageError

    if yes or network.name == EMBEDDED.name:
        return
    if sys.stdin.isatty():
        typer.confirm(f"{sentence} Go on?", abort=True, err=True)
    elif network.is_valuable:
        raise UsageError(
            f"{sentence} On {network.title} that is worth money: give --yes to send without asking"
        )


def gas_text(gas: int, gas_price: int, network: Network, price: float | None) -> str:
    """Gas in the unit of the network, and what it costs at so many wei a unit."""
    unit = "Filecoin gas" if network.is_filecoin else "gas"
    return f"{gas:,} {unit}, {amount(gas * gas_price, network, price)}"


def amount(wei: int, network: Network, price: float | None) -> str:
    """An amount of coin, and of money where a price is given."""
    coin = f"{wei / 1e18:.6g} {network.currency}"
    return coin if price is None else f"{coin} ({wei / 1e18 * price:,.2f} in money)"


def print_steps(steps: Sequence[PlannedStep], network: Network, gas_price: int, price: float | None) -> None:
    """A table of the steps on standard error, since it is no result."""
    from rich.table import Table

    from fedvm.cli.console import err

    table = Table(box=None, pad_edge=False)
    table.add_column("step")
    for title in ("EVM gas", "Filecoin gas", "node says", network.currency):
        table.add_column(title, justify="right")
    if price is not None:
        table.add_column("money", justify="right")
    for one in steps:
        gas = one.estimate or one.step.gas(network)
        wei = 0 if one.done else gas * gas_price
        estimate = "–" if one.estimate is None else f"{one.estimate:,}"
        row = [one.step.title, f"{one.step.evm:,}", f"{one.step.filecoin:,}", estimate]
        row += ["there already" if one.done else f"{wei / 1e18:.3g}"]
        table.add_row(*row, *([] if price is None else [f"{wei / 1e18 * price:,.2f}"]))
    err().print(table)


def steps_json(steps: Sequence[PlannedStep]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [
        {
            "step": one.step.title,
            "done": one.done,
            "evm_gas": one.step.evm,
            "filecoin_gas": one.step.filecoin,
            "estimate": one.estimate,
            "address": one.address,
        }
        for one in steps
    ]
