"""`fedvm networks`: the chains FedVM knows, and what a node of one can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.signing import address_of
from fedvm.cli.help import HelpfulCommand

if TYPE_CHECKING:
    from fedvm.chain.networks import Network

GROUP = command_group("List the networks that FedVM knows, and check what a node and an account can do.")
_CHECK_EPILOG = """Examples:

- `fedvm networks check filecoin-calibration --account 0x…`

- `fedvm networks check http://127.0.0.1:8545 --json`
"""


@GROUP.command("list", cls=HelpfulCommand, epilog="Example: `fedvm networks list --json`")
def list_(as_json: JsonOption = False) -> None:
    """List the networks that FedVM knows: chain ids, times, RPC addresses, faucets. Contacts none of them."""
    from dataclasses import asdict

    from rich.table import Table

    from fedvm.chain.networks import NETWORKS
    from fedvm.cli.console import out

    if as_json:
        print_json([asdict(network) for network in NETWORKS])
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", style="bold")
    for title in ("chain id", "block", "final after"):
        table.add_column(title, justify="right")
    for title in ("what", "rpc", "faucet"):
        table.add_column(title, overflow="fold")
    for network in NETWORKS:
        table.add_row(
            network.name,
            str(network.chain_id),
            f"{network.block_seconds:g} s" if network.block_seconds else "–",
            f"{network.finality_seconds:,} s" if network.finality_seconds else "–",
            network.title,
            network.rpc_url or "–",
            network.faucet or "–",
        )
    out().print(table)


@GROUP.command(cls=HelpfulCommand, epilog=_CHECK_EPILOG)
def check(
    node: Annotated[
        str, typer.Argument(metavar="NAME|URL", help="A name that `fedvm networks list` shows, or a URL.")
    ],
    account: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|ADDRESS", help="Also say what this account can pay for. No key is needed."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a node what FedVM will ask of it, and say what an account can pay for.

    Nothing is sent. A name checks the chain id, too. Exit status 1 when the node lacks something that FedVM needs.
    """
    from dataclasses import asdict

    from rich.table import Table
    from rich.text import Text

    from fedvm.chain.network_funds import funds_of
    from fedvm.chain.networks import connect, find_network, network_of, rpc_address
    from fedvm.chain.node_check import examine_node
    from fedvm.cli.console import out
    from fedvm.cli.status import FAILURE

    wanted = None if "://" in node else find_network(node)
    who = None if account is None else address_of(account)
    w3 = connect(rpc_address(node), chain_id=None if wanted is None else wanted.chain_id)
    network = wanted or network_of(w3)
    found = list(examine_node(w3, network))
    funds = None if who is None else funds_of(w3, who, network)
    fit = all(one.good or not one.needed for one in found)
    if as_json:
        facts: dict[str, Any] = {"network": network.name, "fit": fit}
        facts["node"] = {one.name: asdict(one) for one in found}
        facts["account"] = None if funds is None else funds.as_json()
        print_json(facts)
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for column in ("", "name", "found"):
            table.add_column(column, overflow="fold")
        for one in found:
            mark = ("✓", "green") if one.good else ("✗", "bold red") if one.needed else ("!", "yellow")
            table.add_row(Text(*mark), Text(one.name, "bold"), Text(one.found))
        out().print(table)
        if funds is not None:
            _print_funds(funds, network)
    if not fit:
        raise typer.Exit(FAILURE)


def _print_funds(funds: Any, network: Network) -> None:
    from rich.table import Table

    from fedvm.cli.console import out

    console = out()
    console.print(f"\n{funds.address} holds {funds.balance / 1e18:.6g} {network.currency}.", markup=False)
    if link := network.address_link(funds.address):
        console.print(link, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("step")
    for title in ("EVM gas", "Filecoin gas", network.currency, "how often"):
        table.add_column(title, justify="right")
    for row in funds.rows:
        often = "–" if row.times is None else f"{row.times:,}"
        coin = f"{row.wei / 1e18:.3g}"
        table.add_row(row.step.title, f"{row.step.evm:,}", f"{row.step.filecoin:,}", coin, often)
    console.print(table)
    console.print(f"At {funds.gas_price / 1e9:.6g} nano{network.currency} a unit of gas, now.", style="dim")
    if not funds.balance and network.faucet:
        console.print(f"Get some at {network.faucet}", markup=False)
