"""`fedvm submit`: submit a kept update to its round when the coordinator ignores it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import approve_rest, paying
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, checked_endpoint
from fedvm.cli.commands.spending import Spending, with_spending
from fedvm.cli.commands.store_option import stores_option

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fedvm.chain.direct import DirectState
    from fedvm.chain.endpoint import Endpoint
    from fedvm.chain.federation import FederationContract
    from fedvm.devnet.embedded import EmbeddedChain
    from fedvm.federation.commitment import SignedUpdate
    from fedvm.protocol import Domain
    from fedvm.store import Store


@with_spending
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
    *,
    spending: Spending,
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
    from fedvm.chain.direct import DirectState
    from fedvm.chain.keys import read_key_file
    from fedvm.cli.console import err, out
    from fedvm.cli.status import FAILURE
    from fedvm.federation.client.direct import may_post
    from fedvm.federation.client.kept import read_kept_update

    endpoint = checked_endpoint(network, rpc)
    if (run is None) == (endpoint is None):
        raise typer.BadParameter("give --run, or --network NAME or --rpc URL")
    kept = read_kept_update(update)
    key = None if signing_key_file is None else read_key_file(signing_key_file)
    place = run or endpoint
    assert place is not None
    with (
        _opened(place, kept.domain, update, stores, read_only=spending.reads) as (contract, published, chain),
        paying(spending, contract.w3, chain, as_json=as_json) as payer,
    ):
        if not may_post(contract, payer, kept.signed):
            err().print(
                f"{payer.address} pays; if the vector is demanded, {kept.signed.member} or its key must post it in "
                "time, or it loses the stake that is asked for.",
                markup=False,
            )
        number = kept.signed.update.round
        said = _send(contract, payer, key, published, kept.signed, writes=not spending.dry_run)
        if not as_json:
            out().print(said)
        state = DirectState.WAITING
        if wait and not spending.dry_run:
            approve_rest(payer)
            state = _stay(contract, payer, kept.signed, update, posts=not spending.unsigned)
    if as_json:
        print_json({"round": number, "member": kept.signed.member, "state": state.name.lower()})
    elif wait:
        _print_end(state, number)
    if state not in (DirectState.INCLUDED, DirectState.WAITING):
        raise typer.Exit(FAILURE)


@contextmanager
def _opened(
    place: Path | Endpoint, domain: Domain, update: Path, stores: list[str] | None, *, read_only: bool
) -> Iterator[tuple[FederationContract, Store, EmbeddedChain | None]]:
    """The federation, where the vector goes, and the chain if it is embedded: of a run, or on a network."""
    from fedvm.chain.federation import FederationContract
    from fedvm.rundir.run import open_run
    from fedvm.store import DEFAULT_STORES, open_store

    if isinstance(place, Path):
        with open_run(place, read_only=read_only) as opened:
            yield FederationContract(opened.w3, domain.federation), opened.store, opened.chain
        return
    w3 = place.connect(chain_id=domain.chain_id)
    published = open_store(stores or DEFAULT_STORES, None if stores else update.parent)
    yield FederationContract(w3, domain.federation), published, None


def _send(
    contract: FederationContract,
    account: LocalAccount,
    key: LocalAccount | None,
    published: Store,
    signed: SignedUpdate,
    *,
    writes: bool,
) -> str:
    """Submit the update unless that was done before, and say so. writes: whether the vector goes into the store.

    Raises UsageError if another update of the member was submitted, SettingsError as `consent_of`.
    """
    from fedvm.chain.direct import DirectState, DirectSubmissionsContract
    from fedvm.chain.genuine import require_genuine
    from fedvm.federation.client.direct import consent_of
    from fedvm.pipeline.errors import UsageError
    from fedvm.protocol import to_bytes

    require_genuine(contract.w3, contract.address)
    number = signed.update.round
    standing = DirectSubmissionsContract.of(contract).update_of(number, signed.member)
    if standing.state is DirectState.NONE:
        consent = consent_of(contract, account, signed, key)
        if writes:
            published.put(to_bytes(signed.vector))
        direct = DirectSubmissionsContract.of(contract)
        receipt = direct.submit(account, number, signed.submission, consent)
        return f"Submitted for round {number} ({receipt.gas_used:,} gas); it waits to be included."
    if standing.update_root != signed.update.update_root:
        raise UsageError(f"{signed.member} has submitted another update for round {number}")
    if writes:
        published.put(to_bytes(signed.vector))
    return f"It was submitted for round {number} before."


def _stay(
    contract: FederationContract, account: LocalAccount, signed: SignedUpdate, update: Path, *, posts: bool
) -> DirectState:
    """Wait for the end of the update's round; write the postings to a file beside it if another account must send
    them, or this one has no key here (posts: whether it has)."""
    from fedvm.chain.direct import DirectSubmissionsContract
    from fedvm.chain.safe_batch import safe_batch
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
        batch = safe_batch(posting, signed.member, f"Posting of round {signed.update.round}")
        write_atomically(file, json.dumps(batch, indent=2) + "\n")
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(due))
        tell(
            f"The vector is demanded: {signed.member} must post it before {until}. Its transactions, in their "
            f"order, are in {file}"
        )

    told = None if posts and may_post(contract, account, signed) else demanded
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
