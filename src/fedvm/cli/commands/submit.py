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
        Path | None,
        typer.Option(help="Key of the account that pays, best the member's own; else PRIVATE_KEY."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay, and post the vector on chain if it is demanded.")
    ] = True,
) -> None:
    """Submit an update that your client signed and the coordinator did not relay; it must include it then.

    The client keeps its updates where its node config says `fedvm-keep="FOLDER"`. The vector is published in the
    store; if the coordinator does not find it there it may demand that you post it on chain, for a fee that pays for
    it. Stay to answer: who does not in time loses its stake. After an interruption the same command goes on.

    Any account can pay, so an update that the member's appointed key signed (`fedvm keys appoint`) is submitted like
    one that it signed itself. Only the member can post: where another account pays, the transactions for it to send are
    written beside the update when they are demanded; or this command, given the member's key, posts. Exit status 1 when
    the update does not count.
    """
    import json
    import time
    from contextlib import ExitStack

    from fedvm.chain.direct import DirectState, DirectSubmissionsContract
    from fedvm.chain.federation import FederationContract
    from fedvm.chain.keys import load_key, read_key_file
    from fedvm.chain.networks import connect
    from fedvm.cli.console import err, out
    from fedvm.cli.status import FAILURE
    from fedvm.federation.client.direct import see_through, submit_directly
    from fedvm.federation.client.kept import read_kept_update
    from fedvm.files import write_atomically
    from fedvm.pipeline.errors import UsageError
    from fedvm.protocol import to_bytes
    from fedvm.rundir.run import open_run
    from fedvm.store import ContentStore

    if (run is None) == (rpc is None):
        raise typer.BadParameter("give --run or --rpc")
    kept = read_kept_update(update)
    account = read_key_file(key_file) if key_file is not None else load_key()
    is_member = account.address.lower() == kept.signed.member.lower()
    if not is_member:
        err().print(
            f"{account.address} pays; if the vector is demanded, {kept.signed.member} itself must post it in time, or "
            "loses its stake.",
            markup=False,
        )
    with ExitStack() as stack:
        if run is not None:
            opened = stack.enter_context(open_run(run, read_only=False))
            w3, published = opened.w3, opened.store
        else:
            w3 = connect(str(rpc), chain_id=kept.chain_id)
            published = ContentStore(store or update.parent / "store")
        contract = FederationContract(w3, kept.federation)
        direct, number = DirectSubmissionsContract.of(contract), kept.signed.update.round
        standing = direct.update_of(number, kept.signed.member)
        if standing.state is DirectState.NONE:
            receipt = submit_directly(contract, account, published, kept.signed)
            out().print(f"Submitted for round {number} ({receipt.gas_used:,} gas); it waits to be included.")
        elif standing.update_root == kept.signed.update.update_root:
            published.put(to_bytes(kept.signed.vector))
            out().print(f"It was submitted for round {number} before.")
        else:
            raise UsageError(f"{kept.signed.member} has submitted another update for round {number}")
        if not wait:
            return

        def tell(text: str) -> None:
            err().print(text, markup=False)

        def demanded(due: int) -> None:
            posting = direct.unsent_posting(number, to_bytes(kept.signed.vector))
            file = update.with_suffix(".posting.json")
            write_atomically(file, json.dumps([one.as_json() for one in posting], indent=2) + "\n")
            until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(due))
            tell(
                f"The vector is demanded: {kept.signed.member} must post it before {until}. Its transactions, in their "
                f"order, are in {file}"
            )

        state = see_through(
            contract, account, kept.signed, demanded=None if is_member else demanded, tell=tell
        )
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
