"""`fedvm flower`: Flower apps on this machine, without Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.group import command_group
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.help import HelpfulCommand

if TYPE_CHECKING:
    from fedvm.federation.engines.grid import Finished

GROUP = command_group("Run Flower apps on this machine, without Ray.")

_EPILOG = """Examples:

- `fedvm flower run .` the app in this directory, with 10 clients

- `fedvm flower run . --num-supernodes 100 --run-config 'lr=0.1 num-server-rounds=5'`
"""


@GROUP.command(cls=HelpfulCommand, epilog=_EPILOG)
def run(
    app: Annotated[Path, typer.Argument(help="The app's directory, with its pyproject.toml.")] = Path(),
    num_supernodes: Annotated[
        int | None, typer.Option(help="Number of clients. Default: what the app says, or 10.", min=1)
    ] = None,
    run_config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Values of the app's config, as `flwr run` takes them; repeat it."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Fixes all random numbers that the app does not seed itself.")
    ] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that run clients; 0: in this one. Default: a processor each, up to 8.", min=0
        ),
    ] = None,
    client_timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds for one message; a client that takes longer counts as failed. Default: 600."
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(help="Where Accountable(...) makes its federations. Default: FEDVM_HOME, or ~/.fedvm."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run an unmodified Flower app, accountable or not, in processes of this machine.

    Results are those of Flower's simulation with the same seeds, and the same in every run: replies are taken in the
    order of the messages. A client that fails is shown with its traceback; the others go on.
    """
    from fedvm.federation.coordinator.in_place import HOME
    from fedvm.federation.engines.components import AppFiles, parse_run_config
    from fedvm.federation.engines.in_process import CLIENT_TIMEOUT, InProcessRun, run_directory

    if home is not None:
        os.environ[HOME] = str(home.resolve())
    overrides = parse_run_config(run_config or [])
    nodes = num_supernodes or AppFiles.read(app).num_supernodes
    with _progress() as show:
        how = InProcessRun(nodes, seed, workers, client_timeout or CLIENT_TIMEOUT, show)
        run_directory(app, overrides=overrides, how=how)
    if as_json:  # the app's own output stands before it
        print_json({"app": str(app.resolve()), "clients": nodes, "seed": seed})


@contextmanager
def _progress() -> Iterator[Callable[[Finished], None] | None]:
    """A line on a terminal that says how many clients have answered the latest messages."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status("") as status:
        yield lambda one: status.update(f"{one.done} of {one.total} clients have answered")
