"""`fedvm submit`: bring a kept update to its round past a coordinator that ignores it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command


def submit(
    update: Annotated[
        Path,
        typer.Argument(help="The kept update: FOLDER/FEDERATION/round-N.json of the client's `fedvm-keep`."),
    ],
    run: Annotated[
        Path | None, typer.Option("--run", help="Directory with deployment.json, chain and store.")
    ] = None,
    rpc: Annotated[
        str | None, typer.Option(help="JSON-RPC address of the federation's network, instead of --run.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="With --rpc: folder of the store to publish the vector in.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="The member's key (`fedvm keys new`), else PRIVATE_KEY; it pays.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay, and post the vector on chain if it is demanded.")
    ] = True,
) -> None:
    """Submit an update that your client signed and the coordinator did not relay; it must include it then.

    The client keeps its updates where its node config says `fedvm-keep="FOLDER"`. The vector is published in the
    store; if the coordinator does not find it there it may demand that you post it on chain, for a fee that pays for
    it. Stay to answer: who does not in time loses its stake. Exit status 1 when the update does not count.
    """
    from contextlib import ExitStack

    from fedvm.chain.direct import DirectState
    from fedvm.chain.federation import FederationContract
    from fedvm.chain.keys import load_key, read_key_file
    from fedvm.chain.networks import connect
    from fedvm.chain.run import open_run
    from fedvm.cli.console import out
    from fedvm.cli.entry import FAILURE
    from fedvm.federation.direct import see_through, submit_directly
    from fedvm.federation.kept import read_kept_update
    from fedvm.pipeline.errors import UsageError
    from fedvm.store import ContentStore

    if (run is None) == (rpc is None):
        raise typer.BadParameter("give --run or --rpc")
    kept = read_kept_update(update)
    account = read_key_file(key_file) if key_file is not None else load_key()
    if account.address.lower() != kept.signed.member.lower():
        raise UsageError(
            f"{update} was signed by {kept.signed.member}, the key is that of {account.address}: only the member can "
            "post the vector when it is demanded (--key-file)"
        )
    with ExitStack() as stack:
        if run is not None:
            opened = stack.enter_context(open_run(run, read_only=False))
            w3, published = opened.w3, opened.store
        else:
            w3 = connect(str(rpc), chain_id=kept.chain_id)
            published = ContentStore(store or update.parent / "store")
        contract = FederationContract(w3, kept.federation)
        receipt = submit_directly(contract, account, published, kept.signed)
        number = kept.signed.update.round
        out().print(f"Submitted for round {number} ({receipt.gas_used:,} gas); it waits to be included.")
        if not wait:
            return
        state = see_through(contract, account, kept.signed)
    if state is DirectState.INCLUDED:
        out().print(f"[bold green]Included[/]: it counts in round {number}.")
    elif state is DirectState.WAITING:
        out().print(
            f"Round {number} is over. It failed, or was rolled up: then [bold]fedvm audit[/] shows whether the update "
            "counts."
        )
    else:
        out().print(f"[bold red]{state.name.capitalize()}[/]: it does not count in round {number}.")
        raise typer.Exit(FAILURE)


COMMAND = Command(
    "submit",
    submit,
    (
        (
            "fedvm submit kept/0x…/round-3.json --rpc https://… --key-file client.key",
            "and stay until it is included",
        ),
        ("fedvm submit kept/0x…/round-3.json --run runs/demo --key-file client.key --no-wait", ""),
    ),
)
