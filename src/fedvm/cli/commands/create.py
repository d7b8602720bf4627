"""`fedvm create`: a federation for a Flower app, in a directory."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.addresses import address_facts, print_address
from fedvm.cli.commands.command import Command
from fedvm.cli.commands.json_option import JsonOption, print_json
from fedvm.cli.commands.paying import actor_of, print_batch
from fedvm.cli.commands.places import NetworkOption, RpcUrlOption, checked_endpoint
from fedvm.cli.commands.spending import Spending, spend, with_spending
from fedvm.cli.commands.store_option import stores_option

if TYPE_CHECKING:
    from flwr.app import ArrayRecord
    from web3 import Web3

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


@with_spending
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
    members: Annotated[
        list[str] | None,
        typer.Option("--member", help="On a network: a member's address (`fedvm keys new`); repeat it."),
    ] = None,
    coordinator: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="On a network: who opens rounds and proposes. Default: who pays, the owner.",
        ),
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
    *,
    spending: Spending,
    as_json: JsonOption = False,
) -> None:
    """Create the contract to which a Flower app of yours is accountable, and a directory that names it.

    With --clients the chain and a key for each simulated client lie in the directory. With --network or --rpc, and
    --member, the contract is created on a network, and members keep their keys to themselves. The account that pays
    becomes owner, and coordinator unless --coordinator names another. With `--unsigned --from WALLET` the wallet
    becomes the owner, and what it is to send is printed; DIRECTORY names the address that the federation will have.

    Run this command in the app's directory. Then wrap the app's strategy, `Accountable(FedAvg(...),
    federation=open_federation(context))`, add `fedvm_mod` to its ClientApp, and run it as ever, with
    `--run-config 'fedvm-directory="/path/to/DIRECTORY"'`.
    """
    from fedvm.chain.networks import EMBEDDED
    from fedvm.pipeline.config_file import load_config, stated_keys
    from fedvm.pipeline.user_model import create_for_model, import_model

    endpoint = checked_endpoint(network, rpc)
    _require_one_place(endpoint, clients, members)
    if endpoint is None and (spending != Spending() or coordinator is not None):
        raise typer.BadParameter(
            "--clients makes a chain of its own, where nobody pays: name a network for that"
        )
    overrides = _overrides(clients or len(members or ()), max_examples, stores, assignments)
    wanted, stated = load_config(config, overrides), stated_keys(config, overrides)
    initial = import_model(model, Path.cwd())
    if validation is not None and endpoint is not None:
        raise typer.BadParameter("--validation goes with --clients: on a network `fedvm run` fixes a gate")
    if endpoint is None:
        address = create_for_model(directory, wanted, initial, seed=seed, validation=validation)
        _tell(address, EMBEDDED, wanted, directory, as_json)
        return
    w3 = endpoint.connect()
    wanted = _suited(wanted, w3, stated)
    _create_on(endpoint, w3, spending, wanted, initial, members or [], coordinator, directory, as_json)


def _require_one_place(endpoint: Endpoint | None, clients: int | None, members: list[str] | None) -> None:
    if (clients is None) == (endpoint is None) or (endpoint is None) != (not members):
        raise typer.BadParameter(
            "give --clients to simulate, or --network or --rpc with a --member for each client"
        )


def _overrides(
    clients: int, max_examples: int, stores: list[str] | None, assignments: list[str] | None
) -> dict[str, Any]:
    """What the options say of the settings, by their keys."""
    from fedvm.pipeline.config_file import parse_assignment

    said: dict[str, Any] = {"data.clients": clients, "rules.max_examples": max_examples}
    said |= {"run.store": stores} if stores else {}
    return said | dict(parse_assignment(assignment) for assignment in assignments or [])


def _create_on(
    endpoint: Endpoint,
    w3: Web3,
    spending: Spending,
    wanted: RunConfig,
    initial: ArrayRecord,
    members: list[str],
    coordinator: str | None,
    directory: Path,
    as_json: bool,
) -> None:
    """Create it on a network, after saying what that costs."""
    from fedvm.chain.costs import PlannedStep
    from fedvm.chain.factory import founding_steps
    from fedvm.chain.networks import network_of
    from fedvm.federation.client.appointment import checked_address
    from fedvm.pipeline.user_model import create_for_model_on, leave_for_model_on

    named = [checked_address("member", member) for member in members]
    leader = None if coordinator is None else checked_address("coordinator", coordinator)
    if spending.unsigned and leader is None:
        raise typer.BadParameter(
            "--unsigned goes with --coordinator: rounds are opened by an account with a key, which a wallet that "
            "sends nothing by itself is not"
        )
    payer = actor_of(spending)
    if spending.unsigned and leader is not None:
        planned = leave_for_model_on(
            endpoint, directory, wanted, initial, members=named, owner=payer.address, coordinator=leader
        )
        what = f"Creating the federation {planned.federation}, named in {directory}"
        print_batch(planned.transactions, payer.address, what)
        return
    sealed = bool(wanted.sealed.group_size)
    steps = [PlannedStep(one) for one in founding_steps(w3, payer.address, len(named), sealed=sealed)]
    asked: dict[str, Any] = {"dry_run": spending.dry_run, "yes": spending.yes, "price": spending.price}
    if not spend("Creating a federation", steps, w3, payer.address, **asked, as_json=as_json):
        return
    assert payer.account is not None
    address = create_for_model_on(
        endpoint, directory, wanted, initial, members=named, account=payer.account, coordinator=leader
    )
    _tell(address, network_of(w3), wanted, directory, as_json)


def _suited(wanted: RunConfig, w3: Web3, stated: Collection[str]) -> RunConfig:
    """The configuration with windows that suit the network, which are said with their reasons."""
    from fedvm.chain.networks import network_of
    from fedvm.cli.console import err
    from fedvm.pipeline.network_times import check_times, suited

    network = network_of(w3)
    config = suited(wanted, network, stated)
    for line in check_times(config, network):
        err().print(line, style="dim", markup=False)
    return config


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
