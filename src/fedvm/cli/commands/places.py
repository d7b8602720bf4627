"""Where a command's contracts are: named by a run's directory, or by addresses on a network. One reader for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedvm.cli.commands.shared import option, parameters_of, with_options
from fedvm.cli.commands.store_option import stores_option

if TYPE_CHECKING:
    from fedvm.chain.endpoint import Endpoint
    from fedvm.rundir.run import Run
    from fedvm.rundir.target import Target

NetworkOption = Annotated[
    str | None,
    typer.Option(
        "--network", metavar="NAME", help="The network, by a name that `fedvm networks list` shows."
    ),
]
RpcUrlOption = Annotated[
    str | None,
    typer.Option(
        "--rpc",
        metavar="URL",
        help="Its JSON-RPC address; instead of --network, or with it for a node of yours.",
    ),
]
_RunOption = Annotated[
    Path | None,
    typer.Option("--run", help="Directory of a run, whose deployment.json names chain and contracts."),
]
_RunArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="Directory of a federation, whose deployment.json names its chain."),
]
_ADDRESSES: dict[str, Any] = {
    "federation": Annotated[
        str | None,
        typer.Option(
            "--federation", metavar="ADDRESS", help="Instead of --run: the Federation contract, 0x… or f410…."
        ),
    ],
    "service": Annotated[
        str | None,
        typer.Option(
            "--service", metavar="ADDRESS", help="Instead of --run: the ModelService contract, 0x… or f410…."
        ),
    ],
}
_StoresOption = Annotated[
    list[str] | None,
    stores_option("Where models and updates are; needed without --run, else instead of its own store"),
]
_FirstBlockOption = Annotated[
    int | None,
    typer.Option(
        min=0, help="Without --run: a block at or before the contract's creation. Default: found out."
    ),
]


def checked_endpoint(network: str | None, rpc: str | None) -> Endpoint | None:
    """What --network and --rpc name, None for neither. Raises BadParameter for what is no network or address."""
    from fedvm.chain.endpoint import endpoint_of
    from fedvm.chain.errors import NetworkError

    try:
        return endpoint_of(network, rpc)
    except NetworkError as error:
        raise typer.BadParameter(str(error)) from None


def needed_endpoint(network: str | None, rpc: str | None) -> Endpoint:
    """The same where one is needed."""
    endpoint = checked_endpoint(network, rpc)
    if endpoint is None:
        raise typer.BadParameter("give --network NAME (fedvm networks list shows them) or --rpc URL")
    return endpoint


@dataclass(frozen=True)
class Place:
    """What the options of a command say. contracts: which of them it takes addresses of; needs a run, or a network and
    one of the addresses."""

    contracts: tuple[str, ...]
    run: Path | None = None
    network: str | None = None
    rpc: str | None = None
    federation: str | None = None
    service: str | None = None
    stores: tuple[str, ...] = ()
    first_block: int | None = None

    @property
    def target(self) -> Target:
        """What the options name. Raises BadParameter unless they name one place, and SettingsError for a malformed
        address."""
        from fedvm.federation.client.appointment import checked_address
        from fedvm.rundir.target import Target

        endpoint = checked_endpoint(self.network, self.rpc)
        named = {
            name: checked_address(name, address)
            for name in self.contracts
            if (address := getattr(self, name)) is not None
        }
        if bool(named) == (self.run is not None) or (self.run is None and endpoint is None):
            asked = " or ".join(f"--{name}" for name in self.contracts)
            raise typer.BadParameter(f"give --run, or --network NAME or --rpc URL with {asked}")
        stores = tuple(one if "://" in one else str(Path(one).absolute()) for one in self.stores)
        return Target(self.run, endpoint, **named, stores=stores, first_block=self.first_block)

    @contextmanager
    def opened(self, *, read_only: bool = True) -> Iterator[Run]:
        """The run that is named, or the contracts on a network, while their chain is open. read_only concerns an
        embedded chain. Raises as `target`, and ChainError."""
        with self.target.opened(read_only=read_only) as run:
            yield run

    def words(self) -> list[str]:
        """The options that name it, for a command line that is printed."""
        given: list[tuple[str, str | Path | None]] = [("--run", self.run), ("--network", self.network)]
        if self.rpc is not None:
            from fedvm.chain.rpc_url import shown

            given.append(("--rpc", shown(self.rpc)))
        given += [(f"--{name}", getattr(self, name)) for name in self.contracts]
        given += [("--store", store) for store in self.stores]
        return [str(word) for name, value in given if value is not None for word in (name, value)]


def placed(
    *contracts: str, stored: bool = False, argument: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command whose first parameter is `place`, a `Place`, the options that name it. stored: whether it needs
    artefacts or events; argument: whether the run is named by an argument, not by --run."""

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        _, *own = parameters_of(function)
        shared = place_options(contracts, stored=stored)
        if argument:
            shared["run"] = _RunArgument

        def action(**given: Any) -> None:
            function(place=take_place(given, contracts), **given)

        options = [option(name, annotation, None) for name, annotation in shared.items()]
        return with_options(action, function, [*own, *options])

    return wrap


def place_options(contracts: Sequence[str], *, stored: bool = False) -> dict[str, Any]:
    """The options that name a place, with their annotations."""
    options: dict[str, Any] = {"run": _RunOption, "network": NetworkOption, "rpc": RpcUrlOption}
    options |= {name: _ADDRESSES[name] for name in contracts}
    if stored:
        options |= {"stores": _StoresOption, "first_block": _FirstBlockOption}
    return options


def take_place(given: dict[str, Any], contracts: Sequence[str]) -> Place:
    """The place that a command's values name, which are taken out of them."""
    names = ("run", "network", "rpc", *contracts, "stores", "first_block")
    values = {name: given.pop(name) for name in names if name in given}
    values["stores"] = tuple(values.get("stores") or ())
    return Place(tuple(contracts), **values)
