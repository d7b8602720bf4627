"""`fedvm answer`: show what challengers demand of a coordinator's pending proposal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command


def answer(
    run: Annotated[Path, typer.Option("--run", help="Directory with deployment.json, chain and store.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until the proposal is final or has fallen (on a network).")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks with --watch.")] = 15.0,
) -> None:
    """Answer what is demanded of the pending proposal, and earn the fees of those demands.

    For coordinators: an answer that is not there in time brings the proposal down. A run answers by itself while it
    waits for a proposal to become final; this is for one that was interrupted. Exit status 1 when something that is
    demanded is not in the store.
    """
    import time

    from fedvm.chain.run import open_run
    from fedvm.cli.console import out
    from fedvm.cli.entry import FAILURE
    from fedvm.federation.directory import ledger_of
    from fedvm.federation.ledger import RoundStatus
    from fedvm.pipeline.errors import UsageError

    with open_run(run, read_only=False) as opened:
        if watch and opened.chain is not None:
            raise UsageError(
                "nobody else can write to an embedded chain while it is watched; leave --watch away"
            )
        ledger = ledger_of(opened)
        number = ledger.current_round()
        sent = open_ = 0
        while number and ledger.round(number).status is RoundStatus.PROPOSED:
            sent += ledger.answer_demands(number)
            open_ = len(ledger.open_demands(number))
            if not watch:
                break
            time.sleep(every)
        out().print(f"Round {number}: {sent} demands answered, {open_} that the store cannot answer.")
    if open_:
        raise typer.Exit(FAILURE)


COMMAND = Command(
    "answer",
    answer,
    (
        ("fedvm answer --run runs/demo", "what is demanded now"),
        ("fedvm answer --run runs/net --watch", "until the proposal is final"),
    ),
)
