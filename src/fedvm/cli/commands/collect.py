"""`fedvm collect`: credit the fees of decisions to the members who contributed."""

from __future__ import annotations

from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing


@placed("service", stored=True)
def collect(
    place: Place,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version whose fees to collect. Default: the one that serves.")
    ] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Then fetch what the service owes to your own key.")
    ] = False,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Send nothing: print the transactions for a wallet, as JSON.")
    ] = False,
    account: AccountOption = None,
    key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Credit the fees that a version earned, in equal shares, to the members whose updates counted in its round.

    Anyone may do so: each member withdraws its own share (--withdraw). Fees that were credited before are left out.
    """
    from fedvm.audit.contributions import contributions
    from fedvm.chain.creation_block import creation_block
    from fedvm.chain.federation import FederationContract
    from fedvm.chain.unsent import unsent
    from fedvm.cli.console import out
    from fedvm.pipeline.errors import UsageError

    with place.opened(read_only=False) as opened:
        service = opened.model_service
        number = version or service.current_version()
        source, earned = service.version(number), service.earnings(number)
        if not source.has_lineage:
            raise UsageError(f"version {number} comes from no federation: all its fees are the treasury's")
        chain, block = opened.chain, opened.deployment.block
        collected = service.shares_collected(number, first=block)
        federation = FederationContract(opened.w3, source.federation)
        if place.run is None and place.first_block is None:
            block = creation_block(opened.w3, source.federation)
        # Versions that earned nothing need not be read.
        shares = (
            contributions(federation, opened.store, source.round, first_block=block)
            if earned.per_update
            else ()
        )
        due = [one for one in shares if collected.get(one.position, 0) < earned.per_update]
        if unsigned:
            calls = [unsent(service.contract, "collect", number, *one.as_tuple()) for one in due]
            if withdraw:
                calls.append(unsent(service.contract, "withdraw"))
            print_json([one.as_json() for one in calls])
            return
        sender = Signing(account, key_file).load() if chain is None else chain.account("user")

        def say(text: str) -> None:
            if not as_json:
                out().print(text)

        paid = []
        for one in due:
            service.collect(sender, number, one)
            amount = earned.per_update - collected.get(one.position, 0)
            paid.append({"member": str(one.commitment.member), "wei": amount})
            say(f"{one.commitment.member}  {amount:,} wei")
        if not due:
            say(f"Version {number} has earned nothing that is not collected.")
        fetched = None
        if withdraw:
            fetched = service.owed(sender.address)
            if fetched:
                service.withdraw(sender)
            say(f"{sender.address} fetched {fetched:,} wei.")
        if as_json:
            print_json({"version": number, "collected": paid, "account": sender.address, "fetched": fetched})


COMMAND = Command(
    "collect",
    collect,
    (
        ("fedvm collect --run runs/demo", ""),
        ("fedvm collect --run runs/demo --version 1", "of a version that served before"),
        ("fedvm collect --run runs/demo --withdraw", "and fetch what is owed to your own key"),
    ),
)
