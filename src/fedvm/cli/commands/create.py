"""`fedvm create`: a federation for a Flower app, in a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedvm.cli.commands.command import Command


def create(
    directory: Annotated[Path, typer.Argument(help="The directory to make.")],
    model: Annotated[
        str,
        typer.Option(help="MODULE:FUNCTION of the app, which returns the model that round 1 starts from."),
    ],
    clients: Annotated[int, typer.Option(help="How many members; a key is made for each.")],
    max_examples: Annotated[int, typer.Option(help="The most examples that one client's update counts for.")],
    config: Annotated[
        Path | None, typer.Option(help="A TOML file whose [rules] and [security] are taken.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of it, e.g. rules.max_norm=5.", metavar="KEY=VALUE"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes the keys of the directory's chain.")] = 7,
) -> None:
    """Make the chain, the contract and the clients' keys that a Flower app of yours is accountable to.

    Run it in the app's directory. Then wrap the app's strategy, `Accountable(FedAvg(...),
    federation=open_federation(context))`, add `fedvm_mod` to its ClientApp, and run it as ever, with
    `--run-config 'fedvm-directory="/path/to/DIRECTORY"'`.
    """
    from fedvm.pipeline.config_file import load_config, parse_assignment
    from fedvm.pipeline.user_model import create_for_model, import_model

    overrides = {"data.clients": clients, "rules.max_examples": max_examples}
    overrides |= dict(parse_assignment(assignment) for assignment in assignments or [])
    wanted = load_config(config, overrides)
    address = create_for_model(directory, wanted, import_model(model, Path.cwd()), seed=seed)
    typer.echo(f"federation {address} with {clients} members in {directory}")
    typer.echo(f'run-config: fedvm-directory="{directory.resolve()}"')


COMMAND = Command(
    "create",
    create,
    (
        (
            "fedvm create federation --model quickstart.task:initial_model --clients 10 --max-examples 500",
            "for the app in this directory",
        ),
    ),
)
