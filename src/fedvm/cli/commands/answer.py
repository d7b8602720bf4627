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
    every: Annotated[
        float,
        typer.Option(
            min=0.1, help="With --watch: most seconds between two looks, or less for short windows."
        ),
    ] = 15.0,
) -> None:
    """Answer what is demanded of the pending proposal, and earn the fees of those demands.

    For coordinators: an answer that is not there in time brings the proposal down. A run answers by itself while it
    waits for a proposal to become final; this is for one that was interrupted. With --watch it goes on through
    outages of the RPC, until the proposal is final or has fallen. Exit status 1 when it has fallen, or something
    that is demanded is not in the store.
    """
    import time

    from fedvm.chain.run import open_run
    from fedvm.cli.console import Interrupted, err, out
    from fedvm.cli.entry import FAILURE
    from fedvm.federation.directory import ledger_of
    from fedvm.federation.ledger import RoundStatus
    from fedvm.federation.patience import patiently
    from fedvm.pipeline.errors import UsageError

    with open_run(run, read_only=False) as opened:
        if watch and opened.chain is not None:
            raise UsageError(
                "nobody else can write to an embedded chain while it is watched; leave --watch away"
            )
        ledger = ledger_of(opened)
        number = ledger.current_round()
        sent = open_ = 0

        def look() -> RoundStatus:
            nonlocal sent, open_
            status = ledger.round(number).status
            if status is RoundStatus.PROPOSED:
                sent += ledger.answer_demands(number)
                open_ = len(ledger.open_demands(number))
            return status

        def tell(text: str) -> None:
            err().print(text, markup=False)

        if not number:
            raise UsageError("no round was opened yet: there is nothing to answer for")
        if not watch:
            look()
        else:
            # Several looks before an answer is overdue, since one takes a while and can fail.
            seconds = min(every, opened.federation_contract.security().answer_seconds / 4)

            def pause() -> None:
                time.sleep(seconds)

            tell(f"Watching the proposal of round {number} of {ledger.address}; Ctrl-C ends it.")
            told = 0
            try:
                while (status := patiently(look, tell=tell, pause=pause)) is RoundStatus.PROPOSED:
                    if open_ > told:
                        tell(f"Demands that the store cannot answer: {open_}. Put back what it has lost.")
                    told = open_
                    pause()
            except KeyboardInterrupt:
                raise Interrupted(
                    f"Round {number}: {sent} demands answered, {open_} open. Nobody answers what is demanded "
                    f"from now on; go on with: fedvm answer --run {run} --watch"
                ) from None
            fell = status is not RoundStatus.FINAL
            tell(f"The proposal of round {number} {'has fallen' if fell else 'is final'}.")
            open_ = open_ if fell else 0
        out().print(f"Round {number}: {sent} demands answered, {open_} that the store cannot answer.")
    if open_ or (watch and fell):
        raise typer.Exit(FAILURE)


COMMAND = Command(
    "answer",
    answer,
    (
        ("fedvm answer --run runs/demo", "what is demanded now"),
        ("fedvm answer --run runs/net --watch", "until the proposal is final"),
    ),
)
