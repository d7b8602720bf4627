"""`fedvm collect`: credit the fees of decisions to the members who contributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import actor_of, paying, print_batch, user_of
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.spending import Spending, gas_text, with_spending

if TYPE_CHECKING:
    from fedvm.chain.fees import Contribution
    from fedvm.chain.prepared import PreparedCall
    from fedvm.rundir.run import Run


@with_spending
@placed("service", stored=True)
def collect(
    place: Place,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version whose fees to collect. Default: the one that serves.")
    ] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Then fetch what the service owes to your own key.")
    ] = False,
    *,
    spending: Spending,
    as_json: JsonOption = False,
) -> None:
    """Credit the fees that a version earned, in equal shares, to the members whose updates counted in its round.

    Anyone may do so: each member withdraws its own share (--withdraw). Fees that were credited before are left out.
    """
    from fedvm.pipeline.errors import UsageError

    with place.opened(read_only=spending.reads) as opened:
        service = opened.model_service
        number = version or service.current_version()
        if not service.version(number).has_lineage:
            raise UsageError(f"version {number} comes from no federation: all its fees are the treasury's")
        due = _due(place, opened, number)
        calls = [service.collection(number, one) for one, _ in due]
        if spending.reads:
            calls += [service.withdrawal()] if withdraw else []
            _tell(spending, opened, number, calls, as_json)
            return
        paid, fetched = [], None
        options: dict[str, Any] = {"as_json": as_json, "default": user_of(opened.chain)}
        with paying(spending, opened.w3, opened.chain, **options) as payer:
            for (one, wei), call in zip(due, calls, strict=True):
                call.send(payer)
                paid.append({"member": str(one.commitment.member), "wei": wei})
            if withdraw:
                fetched = service.owed(payer.address)
                if fetched:
                    service.withdrawal().send(payer)
        result = {"version": number, "collected": paid, "account": str(payer.address), "fetched": fetched}
    if as_json:
        print_json(result)
    else:
        _show(result)


def _due(place: Place, opened: Run, number: int) -> list[tuple[Contribution, int]]:
    """The contributions to a version that have something to get, and how much (wei)."""
    from fedvm.audit.contributions import contributions
    from fedvm.chain.creation_block import creation_block
    from fedvm.chain.federation import FederationContract

    service, block = opened.model_service, opened.deployment.block
    source, earned = service.version(number), service.earnings(number)
    collected = service.shares_collected(number, first=block)
    federation = FederationContract(opened.w3, source.federation)
    if not earned.per_update:
        return []  # versions that earned nothing need not be read
    if place.run is None and place.first_block is None:
        block = creation_block(opened.w3, source.federation)
    shares = contributions(federation, opened.store, source.round, first_block=block)
    rest = [(one, earned.per_update - collected.get(one.position, 0)) for one in shares]
    return [(one, wei) for one, wei in rest if wei > 0]


def _tell(spending: Spending, opened: Run, number: int, calls: Sequence[PreparedCall], as_json: bool) -> None:
    """Print what would be sent, for a wallet or with its costs."""
    from fedvm.chain.networks import network_of
    from fedvm.cli.console import out
    from fedvm.pipeline.errors import UsageError

    title = f"Collecting what version {number} earned"
    who = actor_of(spending, opened.chain, user_of(opened.chain)).address
    if not calls:
        raise UsageError(f"version {number} has earned nothing that is not collected")
    if spending.unsigned:
        print_batch([one.unsent() for one in calls], who, title)
        return
    if not opened.model_service.owed(who):
        calls = [one for one in calls if not one.action.endswith(".withdraw")]  # it would be refused now
    costs = [one.cost(who) for one in calls]
    gas, price = sum(one.gas for one in costs), costs[0].gas_price if costs else 0
    if as_json:
        steps = [{"step": call.action, "gas": cost.gas} for call, cost in zip(calls, costs, strict=True)]
        print_json({"sent": False, "gas": gas, "gas_price": price, "steps": steps})
        return
    text = gas_text(gas, price, network_of(opened.w3), spending.price)
    out().print(f"{title} takes {len(calls)} transactions of {who}: {text}. Nothing is sent.", markup=False)


def _show(result: dict[str, Any]) -> None:
    from fedvm.cli.console import out

    for one in result["collected"]:
        out().print(f"{one['member']}  {one['wei']:,} wei")
    if not result["collected"]:
        out().print(f"Version {result['version']} has earned nothing that is not collected.")
    if result["fetched"] is not None:
        out().print(f"{result['account']} fetched {result['fetched']:,} wei.")


COMMAND = Command(
    "collect",
    collect,
    (
        ("fedvm collect --run runs/demo", ""),
        ("fedvm collect --run runs/demo --version 1", "of a version that served before"),
        ("fedvm collect --run runs/demo --withdraw", "and fetch what is owed to your own key"),
        ("fedvm collect --run runs/net --unsigned --from 0x… > batch.json", "for a Safe to send"),
    ),
)
