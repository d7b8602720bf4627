"""`fedvm coordinator`: who opens a federation's rounds, with which bond, and how its owner replaces it."""

from __future__ import annotations

from typing import Annotated

import typer

from fedvm.cli.commands.federation_options import (
    FederationOption,
    RpcOption,
    RunOption,
    named_federation,
)
from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.sending import Sending, sent_to_federation
from fedvm.cli.help import HelpfulCommand

GROUP = command_group("See who coordinates a federation, replace it (the owner), and pay in for its bonds.")


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm coordinator show --run runs/demo`")
def show(
    run: RunOption = None,
    rpc: RpcOption = None,
    federation: FederationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the coordinator, what it is owed, the bond that a proposal takes, and the owner, who can replace it."""
    from fedvm.cli.console import out

    with named_federation(run, rpc, federation, read_only=True) as contract:
        coordinator, owner = contract.coordinator(), contract.owner()
        owed, bond, latest = contract.owed(coordinator), contract.security().bond, contract.current_round()
    if as_json:
        facts = {
            "coordinator": coordinator,
            "owed": owed,
            "bond": bond,
            "latest_round": latest,
            "owner": owner,
        }
        print_json(facts)
        return
    out().print(
        f"{coordinator} coordinates; {latest} rounds were opened so far.\nIt is owed {owed:,} wei; a proposal takes a "
        f"bond of {bond:,} wei.\nOwner: {owner}",
        markup=False,
    )


@GROUP.command(
    cls=HelpfulCommand, epilog="Example: `fedvm coordinator replace 0x… --run runs/demo --dry-run`"
)
@sent_to_federation(by_owner=True)
def replace(
    sending: Sending,
    coordinator: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="The account that shall coordinate from now on.")
    ],
) -> None:
    """Have another account open rounds and propose, from now on and in a round that is open. The owner does this.

    What the one before is owed stays its own; a bond that a pending proposal holds is set free or lost as ever.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.replace_coordinator(contract, coordinator))


@GROUP.command(
    cls=HelpfulCommand, epilog="Example: `fedvm coordinator deposit 1000000000000000000 --run runs/net`"
)
@sent_to_federation(by_owner=False)
def deposit(
    sending: Sending,
    amount: Annotated[int, typer.Argument(metavar="WEI", min=1, help="How much.")],
) -> None:
    """Pay in for the bonds of your proposals to come. What no bond holds: `fedvm members withdraw`.

    A coordinator that proposes pays in what its bond lacks by itself; this is for one whose key should hold little.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.deposit(contract, actor.address, amount))
