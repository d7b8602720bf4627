"""`fedvm web`: the pages of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.federation_options import FederationOption, RpcOption, ServiceOption
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.recorded import AuditStores, FirstBlock

if TYPE_CHECKING:
    from fedvm.web.source import Target


def web(
    run: Annotated[
        Path | None, typer.Option("--run", help="Directory of a run, also of one that goes on now.")
    ] = None,
    rpc: RpcOption = None,
    federation: FederationOption = None,
    service: ServiceOption = None,
    stores: AuditStores = None,
    first_block: FirstBlock = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for one that is free.")] = 0,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="Another name under which browsers may ask; repeatable."),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the pages in a browser.")] = False,
    export_to: Annotated[
        Path | None,
        typer.Option("--export", metavar="DIR", help="Write the pages as a static site instead, and end."),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="File of the index. Default: in the run's directory, or the user's cache."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a federation to people: rounds, rules, refusals, the model, a field to ask it, and all decisions.

    The pages are read from the chain and the store alone, and follow a run that goes on. They hold no secrets.
    Whoever can reach the address can read them; a decision is recorded
    by the run's test account or by the visitor's own wallet.
    """
    from fedvm.cli.console import err, out
    from fedvm.web.export import export
    from fedvm.web.serve import serve

    target = _target(run, rpc, federation, service, stores, first_block)
    if export_to is not None:
        from fedvm.cli.progress import CountDisplay

        with CountDisplay(err()) as display:
            made = export(target, export_to, lambda done, total: display.progress("pages", done, total))
        if as_json:
            print_json({"pages": made.pages, "folder": str(export_to)})
            return
        out().print(f"{made.pages} pages in {export_to}. Open {export_to / 'index.html'}", markup=False)
        return

    def ready(address: str) -> None:
        if as_json:
            print_json({"address": address})
        else:
            out().print(f"{address}  (Ctrl-C ends it)", markup=False)
        if open_browser:
            typer.launch(address)

    serve(target, host=host, port=port, names=names or (), index=index, ready=ready)


def _target(
    run: Path | None,
    rpc: str | None,
    federation: str | None,
    service: str | None,
    stores: list[str] | None,
    first_block: int,
) -> Target:
    """What the options name. Raises BadParameter unless they name a run, or contracts on a network with a store."""
    from fedvm.federation.client.appointment import checked_address
    from fedvm.web.source import Target

    if run is not None and rpc is None and federation is None and service is None:
        return Target(run=run, stores=tuple(stores or ()))
    if run is not None or rpc is None or not (federation or service) or not stores:
        raise typer.BadParameter("give a run, or --rpc and --store with --federation or --service")
    return Target(
        rpc=rpc,
        federation=None if federation is None else checked_address("federation", federation),
        service=None if service is None else checked_address("service", service),
        stores=tuple(stores),
        first_block=first_block,
    )


COMMAND = Command(
    "web",
    web,
    (
        ("fedvm web --run runs/demo --open", ""),
        ("fedvm web --run runs/demo --export site", "files for any web space or IPFS"),
        (
            "fedvm web --rpc filecoin-calibration --federation 0x… --service 0x… --store blocks",
            "on a network",
        ),
    ),
)
