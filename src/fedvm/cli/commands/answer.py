"""`fedvm answer`: show what challengers ask of a pending proposal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import approve_rest, paying
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.spending import Spending, with_spending

if TYPE_CHECKING:
    from fedvm.chain.federation_types import RoundState
    from fedvm.federation.coordinator.chain_ledger import ChainLedger


@with_spending
@placed("federation", stored=True)
def answer(
    place: Place,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until the proposal is final or has fallen (on a network).")
    ] = False,
    every: Annotated[
        float,
        typer.Option(
            min=0.1, help="With --watch: most seconds between two looks, or less for short windows."
        ),
    ] = 15.0,
    *,
    spending: Spending,
    as_json: JsonOption = False,
) -> None:
    """Answer what is asked of the pending proposal; half of the fees is earned when it becomes final.

    For whose proposal it is: a question that is not answered in time makes it fail. A run answers by itself while it
    waits for a proposal to become final; use this command after a run was interrupted, or after `fedvm propose`. With
    --watch the command continues through outages of the RPC, until the proposal is final or rejected. Exit status 1
    when it is rejected, or when data that are asked for are not in the store.
    """
    from contextlib import ExitStack
    from functools import partial

    from fedvm.chain.history import answerer_of
    from fedvm.cli.console import out
    from fedvm.cli.status import FAILURE
    from fedvm.federation.coordinator.directory import ledger_of
    from fedvm.pipeline.errors import UsageError

    if watch and spending.reads:
        raise typer.BadParameter("--watch goes on and answers: leave --dry-run and --unsigned away")
    with ExitStack() as stack:
        opened = stack.enter_context(place.opened(read_only=spending.reads))
        if watch and opened.chain is not None:
            raise UsageError(
                "nobody else can write to an embedded chain while it is watched; leave --watch away"
            )
        answerer = partial(answerer_of, opened.federation_contract)
        payer = stack.enter_context(
            paying(spending, opened.w3, opened.chain, as_json=as_json, default=answerer)
        )
        ledger = ledger_of(opened, payer)
        answers = _Answers(ledger, ledger.current_round())
        if not answers.number:
            raise UsageError("no round was opened yet: there is nothing to answer for")
        fell = False
        if watch:
            # Several looks before an answer is overdue, since one takes a while and can fail.
            seconds = min(every, opened.federation_contract.security().answer_seconds / 4)
            approve_rest(payer)
            fell = _watch(answers, place, seconds)
        else:
            answers.look()
        facts = {"round": answers.number, "answered": answers.sent, "open": answers.open, "fell": fell}
        if as_json:
            print_json(facts)
        else:
            out().print(
                f"Round {answers.number}: {answers.sent} questions answered, {answers.open} that the store cannot "
                "answer."
            )
    if answers.open or fell:
        raise typer.Exit(FAILURE)


@dataclass
class _Answers:
    """What was answered for a round's proposal. open: questions that the store cannot answer."""

    ledger: ChainLedger
    number: int
    sent: int = 0
    open: int = 0

    def look(self) -> RoundState:
        """Answer what can be answered of a pending proposal."""
        from fedvm.chain.federation_types import RoundState

        status = self.ledger.round(self.number).status
        if status is RoundState.PROPOSED:
            self.sent += self.ledger.answer_questions(self.number)
            self.open = len(self.ledger.open_questions(self.number))
        return status


def _watch(answers: _Answers, place: Place, seconds: float) -> bool:
    """Look every so many seconds until the proposal is final or has fallen; returns whether it has fallen."""
    from fedvm.chain.federation_types import RoundState
    from fedvm.chain.patience import patiently
    from fedvm.cli.console import Interrupted, err
    from fedvm.cli.terminal import command_line

    def tell(text: str) -> None:
        err().print(text, markup=False)

    def pause() -> None:
        time.sleep(seconds)

    number = answers.number
    tell(f"Watching the proposal of round {number} of {answers.ledger.address}; Ctrl-C ends it.")
    told = answered = 0
    try:
        while (status := patiently(answers.look, tell=tell, pause=pause)) is RoundState.PROPOSED:
            if answers.sent > answered:
                tell(f"Questions answered so far: {answers.sent}.")
            answered = answers.sent
            if answers.open > told:
                tell(f"Questions that the store cannot answer: {answers.open}. Put back what it has lost.")
            told = answers.open
            pause()
    except KeyboardInterrupt:
        raise Interrupted(
            f"Round {number}: {answers.sent} questions answered, {answers.open} open. Nobody answers what is asked "
            f"from now on; go on with: {command_line('fedvm', 'answer', *place.words(), '--watch')}"
        ) from None
    fell = status is not RoundState.FINAL
    tell(f"The proposal of round {number} {'has fallen' if fell else 'is final'}.")
    if not fell:
        answers.open = 0
    return fell


COMMAND = Command(
    "answer",
    answer,
    (
        ("fedvm answer --run runs/demo", "what is asked now"),
        ("fedvm answer --run runs/net --watch", "until the proposal is final"),
    ),
)
