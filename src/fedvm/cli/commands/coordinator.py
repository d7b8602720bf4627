"""`fedvm coordinator`: who opens a federation's rounds, with which bond, and how its owner replaces it."""

from __future__ import annotations

from typing import Annotated

import typer

from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.sending import Sending, sent_to_federation
from fedvm.cli.help import HelpfulCommand

GROUP = command_group(
    "See who coordinates a federation, replace it (the owner), pay in for its bonds, end what it left (anybody)."
)


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm coordinator show --run runs/demo`")
@placed("federation")
def show(
    place: Place,
    as_json: JsonOption = False,
) -> None:
    """Show the coordinator, what it is owed, the bond that a proposal takes, and the owner, who can replace it."""
    from fedvm.cli.console import out

    with place.opened(read_only=True) as run:
        contract = run.federation_contract
        coordinator, owner = contract.coordinator(), contract.owner()
        owed, bond, latest = contract.owed(coordinator), contract.security().bond, contract.current_round()
        successor = contract.successor()
    if as_json:
        facts = {
            "coordinator": coordinator,
            "successor": successor,
            "owed": owed,
            "bond": bond,
            "latest_round": latest,
            "owner": owner,
        }
        print_json(facts)
        return
    out().print(
        f"{coordinator} coordinates; {latest} rounds were opened so far.\nIt is owed {owed:,} wei; a proposal takes a "
        f"bond of {bond:,} wei.\n{_next(successor)}Owner: {owner}",
        markup=False,
    )


@GROUP.command(
    cls=HelpfulCommand, epilog="Example: `fedvm coordinator replace 0x… --run runs/demo --dry-run`"
)
@sent_to_federation(by_owner=True)
def replace(
    sending: Sending,
    coordinator: Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of the new coordinator.")],
) -> None:
    """Have another account open rounds and propose, from the next round on. For the owner.

    A round that is open stays with the present coordinator, who brings it to its end, keeps what it is owed, and gets
    the bond of its proposal back when that is final.
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
    amount: Annotated[int, typer.Argument(metavar="WEI", min=1, help="How much, in wei.")],
) -> None:
    """Pay in for the bonds of your later proposals. `fedvm members withdraw` fetches what no bond holds.

    This is optional: with each proposal a coordinator pays in by itself what its bond lacks.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.deposit(contract, actor.address, amount))


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm coordinator end --run runs/net --dry-run`")
@sent_to_federation(by_owner=False)
def end(sending: Sending) -> None:
    """Bring to its end what a silent coordinator left standing. Anybody may, once the coordinator's time is over.

    A proposal whose time for challenges is over becomes final. A round without a proposal fails: the model stays as it
    was, and no bond or stake is lost. In a sealed federation the same goes for an epoch: its enrolment is closed, its
    groups are drawn, or it fails. One thing at a time: send it again to go on. Then the owner can name another
    coordinator (`fedvm coordinator replace`), which goes on in the same epoch.
    """
    from fedvm.pipeline import endings

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, endings.end(contract))


def _next(successor: str | None) -> str:
    return f"From the next round on {successor} coordinates.\n" if successor else ""
