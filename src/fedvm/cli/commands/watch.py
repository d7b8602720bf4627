"""`fedvm watch`: follow federations and services, audit what is new, challenge what is false, answer what is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, checked_endpoint
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing
from fedvm.cli.commands.spending import YesOption, confirm
from fedvm.cli.commands.store_option import stores_option

if TYPE_CHECKING:
    from fedvm.rundir.run import Run
    from fedvm.watch.events import Event
    from fedvm.watch.subject import Subject
    from fedvm.watch.watcher import Terms

WEBHOOK = "FEDVM_WEBHOOK"


def watch(
    runs: Annotated[
        list[Path] | None, typer.Option("--run", help="Directory of a run; repeat it for several.")
    ] = None,
    network: NetworkOption = None,
    rpc: RpcUrlOption = None,
    federations: Annotated[
        list[str] | None,
        typer.Option(
            "--federation", metavar="ADDRESS", help="A Federation contract, 0x… or f410…; repeat it."
        ),
    ] = None,
    services: Annotated[
        list[str] | None,
        typer.Option(
            "--service", metavar="ADDRESS", help="A ModelService contract, 0x… or f410…; repeat it."
        ),
    ] = None,
    stores: Annotated[
        list[str] | None, stores_option("Where models and updates are; needed with addresses")
    ] = None,
    first_block: Annotated[
        int | None,
        typer.Option(min=0, help="With addresses: a block at or before their creation. Default: found out."),
    ] = None,
    account: AccountOption = None,
    key_file: KeyFileOption = None,
    yes: YesOption = False,
    preimages: Annotated[
        Path, typer.Option(help="Folder with what coordinators published of their trees.")
    ] = Path("preimages"),
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end, e.g. for cron.")] = False,
    place: Annotated[
        Path | None,
        typer.Option(
            "--place",
            dir_okay=False,
            help="The file that keeps what was audited and told. Default: the user's own.",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve Prometheus metrics on this port of 127.0.0.1; 0: any."),
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(envvar=WEBHOOK, help="Post findings, challenges and reorganisations there, as JSON."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line for each event, or the error.")
    ] = False,
) -> None:
    """Follow federations and services: audit each round as it becomes visible, and name what does not follow.

    A proposal that is pending is recomputed before it is final. Without --account or --key-file nothing is sent. With
    one, questions about proposals of that account are answered, and false proposals of others are challenged, as
    `fedvm answer` and `fedvm challenge` do. What was audited and told is kept in a file, so that a watch that was
    killed goes on where it was; outages of the RPC are sat out, and blocks that left the chain are audited again.

    With --once exit status 1 says that something that was found stands. Otherwise the watch runs until Ctrl-C.
    """
    from fedvm.watch.watcher import Terms

    signing = Signing(account, key_file)
    subjects = [
        *_of_runs(runs or [], network, rpc, acts=signing.is_named),
        *_of_addresses(network, rpc, federations or [], services or [], stores or [], first_block),
    ]
    if not subjects:
        raise typer.BadParameter("give --run, or --network NAME or --rpc URL with --federation or --service")
    payer = signing.load() if signing.is_named else None
    if payer is not None:
        _approve(str(payer.address), subjects, yes=yes)
    outward = _Outward(metrics_port, webhook, as_json)
    _watch(subjects, place or _usual_place(subjects), Terms(every, payer, preimages), outward, once=once)


def _approve(payer: str, subjects: Sequence[Subject], *, yes: bool) -> None:
    """Ask now for what the payer (hex address) may have to send: later nobody may be there. Raises as `confirm`, and
    what opening a subject raises."""
    from fedvm.chain.networks import network_of

    for network in {one.name: one for one in (network_of(subject.w3) for subject in subjects)}.values():
        confirm(f"{payer} will pay on {network.title} for answers and challenges.", network, yes=yes)


@dataclass(frozen=True)
class _Outward:
    """How the watch tells: on a port, to a webhook, in lines of JSON."""

    metrics_port: int | None
    webhook: str | None
    as_json: bool


def _watch(subjects: Sequence[Subject], place: Path, terms: Terms, outward: _Outward, *, once: bool) -> None:
    import logging

    from fedvm.cli.console import Interrupted, err
    from fedvm.cli.status import FAILURE
    from fedvm.watch.memory import opened_memory
    from fedvm.watch.metrics import Metrics, MetricsServer
    from fedvm.watch.watcher import Watcher

    logging.getLogger("fedvm.chain.transport").setLevel(logging.ERROR)  # outages are told once, by the watch
    metrics, show = Metrics(), partial(_show, as_json=outward.as_json)
    with opened_memory(place) as memory:
        watcher = Watcher(subjects, memory, terms, show=show, metrics=metrics, webhook=outward.webhook)
        if once:
            watcher.look()
            if not watcher.is_clean:
                raise typer.Exit(FAILURE)
            return
        port = outward.metrics_port
        server = None if port is None else MetricsServer(metrics, port)
        try:
            named = ", ".join(one.name for one in subjects)
            at = "" if server is None else f" Metrics: http://127.0.0.1:{server.port}/metrics."
            sends = "nothing is sent" if terms.account is None else f"{terms.account.address} acts"
            err().print(f"Watching {named}; {sends}.{at} Ctrl-C ends it.", markup=False)
            watcher.follow()
        except KeyboardInterrupt:
            raise Interrupted(
                f"What was seen is kept in {memory.path}; the same command goes on from there."
            ) from None
        finally:
            if server is not None:
                server.close()


def _of_runs(runs: Sequence[Path], network: str | None, rpc: str | None, *, acts: bool) -> list[Subject]:
    from dataclasses import replace

    from fedvm.chain.endpoint import Endpoint
    from fedvm.chain.transport import Patience
    from fedvm.pipeline.errors import UsageError
    from fedvm.rundir.deployment import Deployment
    from fedvm.rundir.run import open_run
    from fedvm.watch.subject import Subject

    found = []
    for path in runs:
        at = Deployment.load(path)
        endpoint = checked_endpoint(network, rpc)
        if endpoint is None and at.chain.kind == "rpc":
            endpoint = Endpoint(at.chain.location)
        if endpoint is None and acts:
            raise UsageError(
                f"the chain of {path} is embedded, and its clock stands still: leave the account away, and use fedvm "
                "challenge and fedvm answer"
            )
        if endpoint is not None:
            endpoint = replace(endpoint, patience=Patience(total=PATIENCE))
        found.append(
            Subject(at.federation or at.service or str(path), partial(open_run, path, endpoint=endpoint))
        )
    return found


def _of_addresses(
    network: str | None,
    rpc: str | None,
    federations: Sequence[str],
    services: Sequence[str],
    stores: Sequence[str],
    first_block: int | None,
) -> list[Subject]:
    """One subject for a federation and a service, where one of each is named; else one for each address."""
    from dataclasses import replace

    from fedvm.chain.transport import Patience
    from fedvm.federation.client.appointment import checked_address
    from fedvm.rundir.run import run_at
    from fedvm.watch.subject import Subject

    endpoint = checked_endpoint(network, rpc)
    if not federations and not services:
        return []
    if endpoint is None or not stores:
        raise typer.BadParameter("addresses need --network NAME or --rpc URL, and --store")
    endpoint = replace(endpoint, patience=Patience(total=PATIENCE))
    named = [checked_address("federation", one) for one in federations]
    serving = [checked_address("service", one) for one in services]
    pairs: list[tuple[str | None, str | None]] = (
        [(named[0], serving[0])]
        if len(named) == len(serving) == 1
        else [*((one, None) for one in named), *((None, one) for one in serving)]
    )
    places = tuple(one if "://" in one else str(Path(one).absolute()) for one in stores)

    def opener(federation: str | None, service: str | None) -> Callable[[], Run]:
        return partial(
            run_at, endpoint, federation=federation, service=service, stores=places, first_block=first_block
        )

    return [Subject(_name(*pair), opener(*pair)) for pair in pairs]


PATIENCE = 5.0
"""Seconds for which one request is tried again; the watch itself has more patience."""


def _name(federation: str | None, service: str | None) -> str:
    return "+".join(one for one in (federation, service) if one is not None)


def _usual_place(subjects: Sequence[Subject]) -> Path:
    """A file of the user's for these subjects."""
    from fedvm.chain.outbox import state_folder
    from fedvm.evm.keccak import keccak

    which = keccak(" ".join(one.name for one in subjects).encode()).hex()[:16]
    return state_folder() / "watch" / f"{which}.json"


def _show(event: Event, *, as_json: bool) -> None:
    import json
    import time

    from fedvm.cli.console import out
    from fedvm.cli.terminal import printable

    if as_json:
        print(json.dumps(event.to_json()), flush=True)
        return
    clock = time.strftime("%Y-%m-%d %H:%M:%S")
    about = f" {event.subject}:" if event.subject else ""
    out().print(f"{clock} {event.kind.value}{about} {printable(event.text)}", markup=False)


COMMAND = Command(
    "watch",
    watch,
    (
        ("fedvm watch --run runs/net", "a run on a network; nothing is sent"),
        (
            "fedvm watch --network filecoin --federation 0x… --service 0x… --store blocks --account me "
            "--metrics-port 9464",
            "challenge what is false; with figures for Prometheus",
        ),
        (
            "fedvm watch --run runs/a --run runs/b --once --json",
            "for cron: exit status 1 if something is found",
        ),
    ),
)
