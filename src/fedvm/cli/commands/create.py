"""`fedvm create`: a federation for a Flower app, in a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedvm.cli.commands.command import Command
from fedvm.cli.commands.federation_options import rpc_option, stores_option
from fedvm.cli.commands.json_option import JsonOption, print_json


def create(
    directory: Annotated[Path, typer.Argument(help="The directory to make.")],
    model: Annotated[
        str,
        typer.Option(help="MODULE:FUNCTION of the app, which returns the model that round 1 starts from."),
    ],
    max_examples: Annotated[int, typer.Option(help="The most examples that one client's update counts for.")],
    clients: Annotated[
        int | None, typer.Option(help="How many simulated members; a key is made for each.")
    ] = None,
    rpc: Annotated[
        str | None,
        rpc_option("A network to create it on, with PRIVATE_KEY's account"),
    ] = None,
    members: Annotated[
        list[str] | None,
        typer.Option("--member", help="With --rpc: a member's address (`fedvm keys new`); repeat it."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file whose [rules], [security], [sealed], [privacy], federation.strategy, [strategy] and "
            "run.store are taken."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of it, e.g. rules.max_norm=5.", metavar="KEY=VALUE"),
    ] = None,
    stores: Annotated[
        list[str] | None,
        stores_option(
            "Where models and updates go, in DIRECTORY if relative. Default: run.store of --config"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes the keys of the directory's chain.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Create the contract to which a Flower app of yours is accountable, and a directory that names it.

    With --clients the chain and a key for each simulated client lie in the directory. With --rpc and --member the
    contract is created on a network, and members keep their keys to themselves.

    Run this command in the app's directory. Then wrap the app's strategy, `Accountable(FedAvg(...),
    federation=open_federation(context))`, add `fedvm_mod` to its ClientApp, and run it as ever, with
    `--run-config 'fedvm-directory="/path/to/DIRECTORY"'`.
    """
    from fedvm.pipeline.config_file import load_config, parse_assignment
    from fedvm.pipeline.user_model import create_for_model, create_for_model_on, import_model

    if (clients is None) == (rpc is None) or (rpc is None) != (not members):
        raise typer.BadParameter("give --clients to simulate, or --rpc with a --member for each client")
    overrides: dict[str, Any] = {
        "data.clients": clients or len(members or ()),
        "rules.max_examples": max_examples,
    }
    overrides |= {"run.store": stores} if stores else {}
    overrides |= dict(parse_assignment(assignment) for assignment in assignments or [])
    wanted = load_config(config, overrides)
    initial = import_model(model, Path.cwd())
    if rpc is None:
        address = create_for_model(directory, wanted, initial, seed=seed)
    else:
        address = create_for_model_on(rpc, directory, wanted, initial, members=members or [])
    _tell(address, wanted.data.clients, directory, as_json)


def _tell(federation: str, members: int, directory: Path, as_json: bool) -> None:
    if as_json:
        print_json({"federation": federation, "members": members, "directory": str(directory.resolve())})
        return
    print(f"federation {federation} with {members} members in {directory}")
    print(f'run-config: fedvm-directory="{directory.resolve()}"')


COMMAND = Command(
    "create",
    create,
    (
        (
            "fedvm create federation --model quickstart.task:initial_model --clients 10 --max-examples 500",
            "for the app in this directory",
        ),
        (
            "fedvm create federation --model quickstart.task:initial_model --max-examples 500 --rpc https://… "
            "--member 0x… --member 0x…",
            "on a network, for clients elsewhere",
        ),
        (
            "fedvm create federation --model quickstart.task:initial_model --clients 10 --max-examples 500 "
            "--set federation.strategy=fedmedian",
            "for an app whose strategy is FedMedian; its models are audit-only",
        ),
    ),
)
