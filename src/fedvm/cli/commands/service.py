"""`fedvm service`: the versions of a model that a ModelService has, what they cost, and which of them serves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.sending import Sending, sent_to_service
from fedvm.cli.help import HelpfulCommand

GROUP = command_group(
    "See a service's versions, set what they cost, and go back to an older one (its owner)."
)

VersionArgument = Annotated[
    int, typer.Argument(metavar="VERSION", min=1, help="Its number, as `fedvm service versions` lists it.")
]
_FEE_EPILOG = """Examples:

- `fedvm service fee 1 1000000000000000 --run runs/demo --dry-run`

- `fedvm service fee 1 1000000000000000 --treasury 0x… --treasury-share 0.1 --network NAME --service 0x…`
"""


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm service versions --network NAME --service 0x…`")
@placed("service")
def versions(place: Place, as_json: JsonOption = False) -> None:
    """List the versions: whether each serves, its round, its gas, what a decision costs, and what it has earned."""
    from rich.table import Table

    from fedvm.cli.console import out
    from fedvm.pipeline import plans

    with place.opened() as run:
        contract = run.model_service
        rows, owner = plans.versions(contract), contract.owner()
    if as_json:
        print_json({"owner": owner, "versions": [asdict(row) for row in rows]})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("version", justify="right")
    table.add_column("state")
    table.add_column("round", justify="right")
    table.add_column("gas an answer", justify="right")
    table.add_column("fee (wei)", justify="right")
    table.add_column("each update earned", justify="right")
    for title in ("program", "federation"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(
            str(row.id),
            row.state,
            str(row.round or "–"),
            f"{row.gas:,}",
            f"{row.fee:,}",
            f"{row.earned_per_update:,}",
            row.program,
            row.federation or "–",
            style="bold" if row.state == "serves" else "",
        )
    out().print(table)
    out().print(f"Owner: {owner}", markup=False)


@GROUP.command(cls=HelpfulCommand, epilog=_FEE_EPILOG)
@sent_to_service
def fee(
    sending: Sending,
    version: VersionArgument,
    amount: Annotated[
        int, typer.Argument(metavar="WEI", min=0, help="What a decision costs; 0 for nothing.")
    ],
    treasury: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Who gets the treasury's share. Default: as before, at first the service's owner.",
        ),
    ] = None,
    treasury_share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="The treasury's share of a fee, 0 to 0.5. Default: as before, at first 0."
        ),
    ] = None,
) -> None:
    """Set what later decisions by a version cost. For the service's owner.

    Whoever runs `fedvm predict --record` pays the fee, if it is not above `--max-fee`. The treasury gets its share; the
    rest is divided equally among the updates that counted in the version's round, whose members fetch it with `fedvm
    collect`.
    """
    from fedvm.pipeline import plans

    with sending.service() as (contract, actor):
        sending.carry_out(actor, plans.set_fee(contract, version, amount, treasury, treasury_share))


@GROUP.command(cls=HelpfulCommand, epilog="Example: `fedvm service rollback 1 --run runs/demo --dry-run`")
@sent_to_service
def rollback(sending: Sending, version: VersionArgument) -> None:
    """Let a version serve again that has served before. For the service's owner.

    A version that has not passed the service's gate cannot serve. Recorded decisions stay as they are.
    """
    from fedvm.pipeline import plans

    with sending.service() as (contract, actor):
        sending.carry_out(actor, plans.rollback(contract, version))
