"""`fedvm create`: a federation for a Flower app, in a directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.addresses import address_facts, print_address
from fedvm.cli.commands.command import Command
from fedvm.cli.commands.federation_options import stores_option
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, checked_endpoint
from fedvm.cli.commands.signing import AccountOption, KeyFileOption, Signing
from fedvm.cli.commands.spending import PriceOption, YesOption, spend

if TYPE_CHECKING:
    from flwr.app import ArrayRecord

    from fedvm.chain.endpoint import Endpoint
    from fedvm.chain.networks import Network
    from fedvm.pipeline.config import RunConfig


_ValidationOption = Annotated[
    Path | None,
    typer.Option(
        help="With --clients: an .npz that only you have, of inputs as bytes and their labels. Models of the "
        "federation then serve after a trial on them ([gate] of --config)."
    ),
]


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
    network: NetworkOption = None,
    rpc: RpcUrlOption = None,
    account: AccountOption = None,
    key_file: KeyFileOption = None,
    members: Annotated[
        list[str] | None,
        typer.Option("--member", help="On a network: a member's address (`fedvm keys new`); repeat it."),
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
    validation: _ValidationOption = None,
    seed: Annotated[int, typer.Option(help="Fixes the keys of the directory's chain.")] = 7,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="On a network: say what it costs; send nothing.")
    ] = False,
    yes: YesOption = False,
    price: PriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create the contract to which a Flower app of yours is accountable, and a directory that names it.

    With --clients the chain and a key for each simulated client lie in the directory. With --network or --rpc, and
    --member, the contract is created on a network, and members keep their keys to themselves. The account that pays
    becomes owner and coordinator.

    Run this command in the app's directory. Then wrap the app's strategy, `Accountable(FedAvg(...),
    federation=open_federation(context))`, add `fedvm_mod` to its ClientApp, and run it as ever, with
    `--run-config 'fedvm-directory="/path/to/DIRECTORY"'`.
    """
    from fedvm.chain.networks import EMBEDDED
    from fedvm.pipeline.config_file import load_config, parse_assignment
    from fedvm.pipeline.user_model import create_for_model, import_model

    endpoint = checked_endpoint(network, rpc)
    if (clients is None) == (endpoint is None) or (endpoint is None) != (not members):
        raise typer.BadParameter(
            "give --clients to simulate, or --network or --rpc with a --member for each client"
        )
    overrides: dict[str, Any] = {
        "data.clients": clients or len(members or ()),
        "rules.max_examples": max_examples,
    }
    overrides |= {"run.store": stores} if stores else {}
    overrides |= dict(parse_assignment(assignment) for assignment in assignments or [])
    wanted = load_config(config, overrides)
    initial = import_model(model, Path.cwd())
    if validation is not None and endpoint is not None:
        raise typer.BadParameter("--validation goes with --clients: on a network `fedvm run` fixes a gate")
    if endpoint is None:
        address = create_for_model(directory, wanted, initial, seed=seed, validation=validation)
        _tell(address, EMBEDDED, wanted, directory, as_json)
        return
    asked = {"dry_run": dry_run, "yes": yes, "price": price, "as_json": as_json}
    _create_on(endpoint, Signing(account, key_file), wanted, initial, members or [], directory, asked)


def _create_on(
    endpoint: Endpoint,
    signing: Signing,
    wanted: RunConfig,
    initial: ArrayRecord,
    members: list[str],
    directory: Path,
    asked: dict[str, Any],
) -> None:
    """Create it on a network, after saying what that costs."""
    from fedvm.chain.costs import PlannedStep
    from fedvm.chain.factory import founding_steps
    from fedvm.chain.networks import network_of
    from fedvm.federation.client.appointment import checked_address
    from fedvm.pipeline.network_times import check_times
    from fedvm.pipeline.user_model import create_for_model_on

    named = [checked_address("member", member) for member in members]
    payer, w3 = signing.load(), endpoint.connect()
    check_times(wanted, network_of(w3))
    sealed = bool(wanted.sealed.group_size)
    steps = founding_steps(w3, str(payer.address), len(named), sealed=sealed)
    if not spend(
        "Creating a federation", [PlannedStep(one) for one in steps], w3, str(payer.address), **asked
    ):
        return
    address = create_for_model_on(endpoint, directory, wanted, initial, members=named, account=payer)
    _tell(address, network_of(w3), wanted, directory, asked["as_json"])


def _tell(address: str, at: Network, wanted: RunConfig, directory: Path, as_json: bool) -> None:
    if as_json:
        facts = {"federation": address, "members": wanted.data.clients, "network": at.name}
        print_json({**facts, **address_facts(address, at), "directory": str(directory.resolve())})
        return
    print_address("federation", address, at)
    print(f"with {wanted.data.clients} members in {directory}")
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
            "fedvm create federation --model quickstart.task:initial_model --max-examples 500 "
            "--network filecoin-calibration --account me --member 0x… --member 0x…",
            "on a network, for clients elsewhere",
        ),
        (
            "fedvm create federation --model quickstart.task:initial_model --clients 10 --max-examples 500 "
            "--set federation.strategy=fedmedian",
            "for an app whose strategy is FedMedian; its models are audit-only",
        ),
    ),
)
