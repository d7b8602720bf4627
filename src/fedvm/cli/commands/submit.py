"""`fedvm submit`: submit a kept update to its round when the coordinator ignores it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, checked_endpoint
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing
from fedvm.cli.commands.store_option import stores_option

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fedvm.chain.direct import DirectState
    from fedvm.chain.federation import FederationContract
    from fedvm.federation.commitment import SignedUpdate
    from fedvm.store import Store


def submit(
    update: Annotated[
        Path,
        typer.Argument(help="The kept update: FOLDER/FEDERATION/round-N.json of the client's `fedvm-keep`."),
    ],
    run: Annotated[
        Path | None, typer.Option("--run", help="Directory with deployment.json, chain and store.")
    ] = None,
    network: NetworkOption = None,
    rpc: RpcUrlOption = None,
    stores: Annotated[
        list[str] | None, stores_option("On a network: where the vector goes, else `store` beside UPDATE")
    ] = None,
    account: AccountOption = None,
    key_file: KeyFileOption = None,
    signing_key_file: Annotated[
        Path | None,
        typer.Option(help="If another account pays: the key that signed the update, which consents to this."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay, and post the vector on chain if it is demanded.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Submit an update that your client signed and the coordinator did not relay; the coordinator must then include it.

    The client keeps its updates where its node config says `fedvm-keep="FOLDER"`. The vector is published in the
    store. If the coordinator does not find it there, it may demand that you post it on chain, for a fee that pays for
    the posting. Let the command run until it ends: a member that does not post in time loses the stake that the
    federation asks for. After an interruption the same command continues.

    The member's own account can pay, or that of the key that signs for it (`fedvm keys appoint`). For any other, one of
    the two must consent: `--signing-key-file`. A signed update alone is no consent, since the coordinator has those of
    all. The same two can post. If another account pays and the vector is demanded, the transactions that the member
    must send are written to a file beside the update; or this command posts, when it is given the key of one of the
    two. Exit status 1 when the update does not count.
    """
    from contextlib import ExitStack

    from fedvm.chain.direct import DirectState
    from fedvm.chain.federation import FederationContract
    from fedvm.chain.keys import read_key_file
    from fedvm.cli.console import err, out
    from fedvm.cli.status import FAILURE
    from fedvm.federation.client.direct import may_post
    from fedvm.federation.client.kept import read_kept_update
    from fedvm.rundir.run import open_run
    from fedvm.store import DEFAULT_STORES, open_store

    endpoint = checked_endpoint(network, rpc)
    if (run is None) == (endpoint is None):
        raise typer.BadParameter("give --run, or --network NAME or --rpc URL")
    kept = read_kept_update(update)
    payer = Signing(account, key_file).load()
    key = None if signing_key_file is None else read_key_file(signing_key_file)
    with ExitStack() as stack:
        if run is not None:
            opened = stack.enter_context(open_run(run, read_only=False))
            w3, published = opened.w3, opened.store
        else:
            assert endpoint is not None
            w3 = endpoint.connect(chain_id=kept.domain.chain_id)
            published = open_store(stores or DEFAULT_STORES, None if stores else update.parent)
        contract = FederationContract(w3, kept.domain.federation)
        if not may_post(contract, payer, kept.signed):
            err().print(
                f"{payer.address} pays; if the vector is demanded, {kept.signed.member} or its key must post it in "
                "time, or it loses the stake that is asked for.",
                markup=False,
            )
        said, number = _send(contract, payer, key, published, kept.signed), kept.signed.update.round
        if not as_json:
            out().print(said)
        state = _stay(contract, payer, kept.signed, update) if wait else DirectState.WAITING
    if as_json:
        print_json({"round": number, "member": kept.signed.member, "state": state.name.lower()})
    elif wait:
        _print_end(state, number)
    if state not in (DirectState.INCLUDED, DirectState.WAITING):
        raise typer.Exit(FAILURE)


def _send(
    contract: FederationContract,
    account: LocalAccount,
    key: LocalAccount | None,
    published: Store,
    signed: SignedUpdate,
) -> str:
    """Submit the update unless that was done before, and say so. Raises UsageError if another update of the member was
    submitted, SettingsError as `consent_of`."""
    from fedvm.chain.direct import DirectState, DirectSubmissionsContract
    from fedvm.chain.genuine import require_genuine
    from fedvm.federation.client.direct import consent_of, submit_directly
    from fedvm.pipeline.errors import UsageError
    from fedvm.protocol import to_bytes

    require_genuine(contract.w3, contract.address)
    number = signed.update.round
    standing = DirectSubmissionsContract.of(contract).update_of(number, signed.member)
    if standing.state is DirectState.NONE:
        consent = consent_of(contract, account, signed, key)
        receipt = submit_directly(contract, account, published, signed, consent=consent)
        return f"Submitted for round {number} ({receipt.gas_used:,} gas); it waits to be included."
    if standing.update_root != signed.update.update_root:
        raise UsageError(f"{signed.member} has submitted another update for round {number}")
    published.put(to_bytes(signed.vector))
    return f"It was submitted for round {number} before."


def _stay(
    contract: FederationContract, account: LocalAccount, signed: SignedUpdate, update: Path
) -> DirectState:
    """Wait for the end of the update's round; write the postings to a file beside it if another account must send
    them."""
    from fedvm.chain.direct import DirectSubmissionsContract
    from fedvm.cli.console import err
    from fedvm.federation.client.direct import may_post, see_through
    from fedvm.files import write_atomically
    from fedvm.protocol import to_bytes

    def tell(text: str) -> None:
        err().print(text, markup=False)

    def demanded(due: int) -> None:
        direct = DirectSubmissionsContract.of(contract)
        posting = direct.unsent_posting(signed.update.round, signed.member, to_bytes(signed.vector))
        file = update.with_suffix(".posting.json")
        write_atomically(file, json.dumps([one.as_json() for one in posting], indent=2) + "\n")
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(due))
        tell(
            f"The vector is demanded: {signed.member} must post it before {until}. Its transactions, in their "
            f"order, are in {file}"
        )

    told = None if may_post(contract, account, signed) else demanded
    return see_through(contract, account, signed, demanded=told, tell=tell)


def _print_end(state: DirectState, number: int) -> None:
    from fedvm.chain.direct import DirectState
    from fedvm.cli.console import out

    if state is DirectState.INCLUDED:
        out().print(f"[bold green]Included[/]: it counts in round {number}.")
    elif state is DirectState.WAITING:
        out().print(
            f"Round {number} is over. It failed, or was rolled up: then [bold]fedvm audit[/] shows whether the update "
            "counts."
        )
    else:
        out().print(f"[bold red]{state.name.capitalize()}[/]: it does not count in round {number}.")


COMMAND = Command(
    "submit",
    submit,
    (
        (
            "fedvm submit kept/0x…/round-3.json --network NAME --key-file client.key",
            "and stay until it is included",
        ),
        ("fedvm submit kept/0x…/round-3.json --run runs/demo --key-file client.key --no-wait", ""),
    ),
)
