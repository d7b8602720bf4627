"""`fedvm challenge`: recompute the pending proposal of a run, and prove what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import paying, user_of
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.spending import Spending, with_spending

PREIMAGES = "preimages"


@with_spending
@placed("federation", stored=True)
def challenge(
    place: Place,
    preimages: Annotated[
        Path | None,
        typer.Option(
            help="Folder with what the coordinator published of its trees. Default: preimages in RUN, or here."
        ),
    ] = None,
    *,
    spending: Spending,
    as_json: JsonOption = False,
) -> None:
    """Recompute the pending proposal of a federation, and have it rejected if it is wrong.

    The challenger proves a wrong product, sum, weight, leaf, division or tree, and in a round that was rolled up a
    wrong record, order, total or tree; in a sealed round a wrong record, a group's sum that is not that of the masked
    updates, or one beyond its bound. Data that the coordinator did not publish are asked for on the chain, for a
    fee that comes back if the proposal falls; if the answer does not come in time, the proposal is rejected for that.
    Who brings it down wins a quarter of the bond and shares another with all challengers; half is burnt. Exit status 1
    when a proposal was rejected. Example counts are attested: no challenge can prove them.

    With --dry-run it says what it would send first, a proof or a question, and what that costs. With --unsigned it
    prints that for a wallet; when it is in a block, the same command prints what comes next.
    """
    from rich.markup import escape

    from fedvm.audit.challenge import Challenger
    from fedvm.audit.preimages import PreimageFolder
    from fedvm.chain.genuine import require_genuine
    from fedvm.cli.console import out
    from fedvm.cli.status import FAILURE
    from fedvm.protocol.aggregators import aggregator_named

    with (
        place.opened(read_only=spending.reads) as opened,
        paying(spending, opened.w3, opened.chain, as_json=as_json, default=user_of(opened.chain)) as payer,
    ):
        chain = opened.chain
        require_genuine(opened.w3, opened.federation_contract.address)
        challenger = Challenger(
            opened.federation_contract,
            opened.store,
            payer,
            source=PreimageFolder(preimages or (place.run or Path()) / PREIMAGES),
            pass_time=_stop if spending.reads else None if chain is None else chain.advance_time,
            first_block=opened.deployment.block,
        )
        upheld = challenger.challenge()
        number = opened.federation_contract.current_round()
        rule = aggregator_named(opened.federation_contract.rules().aggregator)
    if as_json:
        fields = None if upheld is None else {**asdict(upheld), "fraud": upheld.fraud.name}
        print_json({"round": number, "upheld": fields})
    elif upheld is None:
        out().print(f"[bold green]Nothing to challenge[/]: no pending proposal of round {number} is wrong.")
        if rule.is_audit_only:
            out().print(
                f"Its model is not the contract's to judge, since {escape(rule.describe())}; fedvm audit checks it."
            )
    else:
        out().print(
            f"[bold red]Proposal {upheld.attempt} of round {upheld.round} fell[/]: "
            f"{upheld.fraud.name.replace('_', ' ').lower()}, shown for {upheld.gas_used:,} gas after "
            f"{upheld.demands} questions for data; {upheld.reward / 10**18:g} FIL won."
        )
    if upheld is not None:
        raise typer.Exit(FAILURE)


def _stop(seconds: int) -> None:
    """Nothing is sent, so nothing is waited for."""
    from fedvm.pipeline.errors import UsageError

    raise UsageError(f"an answer is due in {seconds:,} s: nothing can be sent before; look again then")


COMMAND = Command(
    "challenge",
    challenge,
    (
        ("fedvm challenge --run runs/demo", ""),
        ("fedvm challenge --network filecoin --federation 0x… --store blocks --account me", "on a network"),
        ("fedvm challenge --run runs/demo --preimages published --json", ""),
    ),
)
