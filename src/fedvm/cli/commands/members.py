"""`fedvm members`: who may sign updates in a federation, and what each has at stake."""

from __future__ import annotations

from typing import Annotated

import typer

from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.sending import Sending, sent_to_federation
from fedvm.cli.help import HelpfulCommand

GROUP = command_group(
    "See who is a member, let members in or out (the owner), join, leave, and put money at stake (a member)."
)

_ADD_EPILOG = """Examples:

- `fedvm members add 0x… 0x… --run runs/net --dry-run`

- `fedvm members add 0x… --network NAME --federation 0x… --unsigned` for an owner that is a contract wallet
"""


@GROUP.command("list", cls=HelpfulCommand, epilog="Example: `fedvm members list --run runs/demo`")
@placed("federation")
def list_(
    place: Place,
    as_json: JsonOption = False,
) -> None:
    """List the members, with the wei that each has at stake and is owed, and what membership requires."""
    from rich.table import Table

    from fedvm.cli.console import out

    with place.opened(read_only=True) as run:
        contract = run.federation_contract
        is_open, needed = contract.open_membership(), contract.security().stake
        quorum, owner = contract.rules().min_clients, contract.owner()
        rows = [(str(one), contract.stake_of(one), contract.owed(one)) for one in contract.members()]
    if as_json:
        members = [{"member": who, "stake": stake, "owed": owed} for who, stake, owed in rows]
        facts = {"open": is_open, "stake_needed": needed, "quorum": quorum, "owner": owner}
        print_json({**facts, "members": members})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("member", overflow="fold")
    for title in ("stake (wei)", "owed (wei)"):
        table.add_column(title, justify="right")
    for who, stake, owed in rows:
        table.add_row(who, f"{stake:,}", f"{owed:,}", style="" if stake >= needed else "yellow")
    out().print(table)
    how = "anyone may join with a stake" if is_open else f"the owner, {owner}, lets members in"
    stakes = f" Updates count of members with {needed:,} wei at stake." if needed else ""
    out().print(f"{len(rows)} members, of whom a round needs {quorum}; {how}.{stakes}", markup=False)


@GROUP.command(cls=HelpfulCommand, epilog=_ADD_EPILOG)
@sent_to_federation(by_owner=True)
def add(
    sending: Sending,
    members: Annotated[
        list[str], typer.Argument(metavar="ADDRESS...", help="Addresses, as `fedvm keys new` prints them.")
    ],
) -> None:
    """Let new members in, between rounds. From the next round on their updates are accepted. For the owner."""
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.add_members(contract, members))


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm members remove 0x… --run runs/demo`")
@sent_to_federation(by_owner=True)
def remove(
    sending: Sending,
    member: Annotated[str, typer.Argument(metavar="ADDRESS", help="The member's address.")],
) -> None:
    """Put a member out, between rounds. Enough members for the quorum must stay. For the owner.

    The member keeps its stake, and can take it back. Where membership is open it may join again.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.remove_member(contract, member))


@GROUP.command(
    cls=HelpfulCommand,
    epilog="Example: `fedvm members join --network NAME --federation 0x… --key-file member.key --dry-run`",
)
@sent_to_federation(by_owner=False)
def join(sending: Sending) -> None:
    """Become a member where membership is open, between rounds, and pay in the stake that is required.

    **The stake can be lost**: an update of yours that is proved bad, or a vector that is demanded and not posted in
    time, costs all of it. Elsewhere the owner lets members in (`fedvm members add`).
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.join(contract, actor.address))


@GROUP.command(
    "quit", cls=HelpfulCommand, epilog="Example: `fedvm members quit --run runs/net --key-file me.key`"
)
@sent_to_federation(by_owner=False)
def quit_(sending: Sending) -> None:
    """End your membership, at any time. Then take your stake back with `fedvm members unstake`."""
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.quit_membership(contract, actor.address))


@GROUP.command(
    cls=HelpfulCommand, epilog="Example: `fedvm members stake --run runs/net --key-file me.key --dry-run`"
)
@sent_to_federation(by_owner=False)
def stake(
    sending: Sending,
    amount: Annotated[
        int | None,
        typer.Argument(metavar="WEI", min=1, help="How much, in wei. Default: what your stake lacks."),
    ] = None,
) -> None:
    """Put money at stake. Where the federation requires a stake, only updates of members who have it count.

    **It can be lost**: an update of yours that is proved bad costs all of it.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.stake(contract, actor.address, amount))


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm members unstake --run runs/net --key-file me.key`")
@sent_to_federation(by_owner=False)
def unstake(sending: Sending) -> None:
    """Take your stake back, once the last round in which it counted is over. Then `fedvm members withdraw` fetches it.

    Where membership is open, quit first.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.unstake(contract, actor.address))


@GROUP.command(
    cls=HelpfulCommand, epilog="Example: `fedvm members withdraw --run runs/net --key-file me.key`"
)
@sent_to_federation(by_owner=False)
def withdraw(
    sending: Sending,
    to: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Send it to this account, not to your own.")
    ] = None,
) -> None:
    """Fetch all that the federation owes you: stakes taken back, bonds set free, fees and rewards.

    A wallet that is a contract and takes no money names another account with --to.
    """
    from fedvm.pipeline import plans

    with sending.federation() as (contract, actor):
        sending.carry_out(actor, plans.withdraw(contract, actor.address, to))
