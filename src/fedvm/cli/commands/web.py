"""`fedvm web`: the pages of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import Place, placed


@placed("federation", "service", stored=True)
def web(
    place: Place,
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
        typer.Option(help="File of the index. Default: one in the user's cache."),
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

    target = place.target
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


COMMAND = Command(
    "web",
    web,
    (
        ("fedvm web --run runs/demo --open", ""),
        ("fedvm web --run runs/demo --export site", "files for any web space or IPFS"),
        (
            "fedvm web --network filecoin-calibration --federation 0x… --service 0x… --store blocks",
            "on a network",
        ),
    ),
)
