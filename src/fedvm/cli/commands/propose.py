"""`fedvm propose`: propose what a rolled-up round came to, in place of a coordinator that does not."""

from __future__ import annotations

from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import paying, user_of
from fedvm.cli.commands.places import Place, placed
from fedvm.cli.commands.spending import Spending, with_spending


@with_spending
@placed("federation", stored=True)
def propose(
    place: Place,
    round_number: Annotated[
        int | None,
        typer.Option(
            "--round",
            min=1,
            metavar="N",
            help="The round that is meant. Default: the latest, which it must be.",
        ),
    ] = None,
    *,
    spending: Spending,
    as_json: JsonOption = False,
) -> None:
    """Propose what the updates of a round came to, where its coordinator does not. For anybody with the bond.

    When the updates of a round are handed in at once, as in every sealed round, all that its result follows from is
    public. If its coordinator does not propose in its time, anybody may. The result is computed again from the store
    and the chain, and the list of updates is judged as by a challenger: who proposes answers for that list, too, and
    loses the bond if something in it is false. If something is false or missing, nothing is sent. All that was read is
    kept in the stores that can be written, since it may be asked for: name a folder of yours beside those of others.

    The bond of the federation goes with it, and comes back when the proposal is final. Until then questions about it
    must be answered: leave `fedvm answer --watch` running with the same account and store.
    """
    from fedvm.chain.genuine import require_genuine
    from fedvm.cli.console import out
    from fedvm.cli.terminal import command_line
    from fedvm.pipeline.call_advice import utc
    from fedvm.pipeline.proposing import Proposing

    with (
        place.opened(read_only=spending.reads) as opened,
        paying(spending, opened.w3, opened.chain, as_json=as_json, default=user_of(opened.chain)) as payer,
    ):
        require_genuine(opened.w3, opened.federation_contract.address)
        proposing = Proposing.of(opened, str(payer.address), round_number)
        result = proposing.result(keeps=not spending.reads)
        if spending.reads:
            proposing.require_evidence()
            opened.federation_contract.propose(
                payer, proposing.number, result.proposal, bonded=proposing.is_bonded
            )
        proposed = proposing.send(result, payer)
    if as_json:
        facts = {"round": proposed.round, "attempt": proposed.attempt, "proposer": proposed.proposer}
        facts |= {"model_root": proposed.model_root.hex(), "until": proposed.until}
        print_json({**facts, "tx": proposed.at.tx_hash})
        return
    out().print(
        f"Proposal {proposed.attempt} of round {proposed.round} is made: model {proposed.model_root.hex()}. It can be "
        f"challenged until {utc(proposed.until)}, or longer if data are asked for. Answer what is asked, with the same "
        f"account: {command_line('fedvm', 'answer', *place.words(), '--watch')}",
        markup=False,
    )


COMMAND = Command(
    "propose",
    propose,
    (
        (
            "fedvm propose --network filecoin --federation 0x… --store blocks --account me --dry-run",
            "look first",
        ),
        ("fedvm propose --network filecoin --federation 0x… --store blocks --account me", ""),
        ("fedvm propose --run runs/demo --round 3 --json", ""),
    ),
)
