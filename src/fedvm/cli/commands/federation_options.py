"""Options that name a federation: by the directory of a run, or by a network and an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from web3 import Web3

    from fedvm.chain.federation import FederationContract
    from fedvm.chain.model_service import ModelService
    from fedvm.devnet.embedded import EmbeddedChain
    from fedvm.rundir.run import Run


def _address_of(named: str) -> str:
    from fedvm.chain.errors import NetworkError
    from fedvm.chain.networks import rpc_address

    try:
        return rpc_address(named)
    except NetworkError as error:
        raise typer.BadParameter(str(error)) from None


def rpc_option(what: str) -> Any:
    """`--rpc`: the JSON-RPC address of a network, or the name of a network whose address FedVM knows."""
    return typer.Option(
        "--rpc",
        parser=_address_of,
        metavar="URL|NAME",
        help=f"{what}: JSON-RPC address, or a name that `fedvm networks` lists.",
    )


def stores_option(what: str) -> Any:
    """`--store`, which may be repeated: locations that `fedvm.store.open_store` takes."""
    return typer.Option("--store", metavar="FOLDER|URL", help=f"{what}; repeat it for several.")


RunOption = Annotated[
    Path | None, typer.Option("--run", help="Directory with deployment.json, which names the federation.")
]
RpcOption = Annotated[str | None, rpc_option("Instead of --run: the federation's network")]
FederationOption = Annotated[
    str | None, typer.Option("--federation", help="With --rpc: address of the Federation contract.")
]


ServiceOption = Annotated[
    str | None, typer.Option("--service", help="With --rpc: address of the ModelService contract.")
]


@contextmanager
def named_federation(
    run: Path | None, rpc: str | None, federation: str | None, *, read_only: bool
) -> Iterator[FederationContract]:
    """The federation that the options name, while its chain is open. read_only concerns an embedded chain.

    Raises BadParameter unless they name one, SettingsError for a malformed address, and ChainError.
    """
    with opened_federation(run, rpc, federation, read_only=read_only) as (contract, _):
        yield contract


@contextmanager
def opened_federation(
    run: Path | None, rpc: str | None, federation: str | None, *, read_only: bool
) -> Iterator[tuple[FederationContract, EmbeddedChain | None]]:
    """The same with the embedded chain that it lives on, None on a network. Raises as `named_federation`."""
    from fedvm.chain.federation import FederationContract

    with _opened(run, rpc, federation, "federation", read_only) as (opened, w3, address):
        if opened is not None:
            yield opened.federation_contract, opened.chain
        else:
            yield FederationContract(w3, address), None


@contextmanager
def opened_service(
    run: Path | None, rpc: str | None, service: str | None, *, read_only: bool
) -> Iterator[tuple[ModelService, EmbeddedChain | None]]:
    """The ModelService that the options name, and the embedded chain it lives on. Raises as `named_federation`."""
    from fedvm.chain.model_service import ModelService

    with _opened(run, rpc, service, "service", read_only) as (opened, w3, address):
        if opened is not None:
            yield opened.model_service, opened.chain
        else:
            yield ModelService(w3, address), None


@contextmanager
def _opened(
    run: Path | None, rpc: str | None, address: str | None, what: str, read_only: bool
) -> Iterator[tuple[Run | None, Web3, str]]:
    """The run that is named, or None with a connection and the address of the contract."""
    from fedvm.chain.networks import connect
    from fedvm.federation.client.appointment import checked_address
    from fedvm.rundir.run import open_run

    if run is not None and rpc is None and address is None:
        with open_run(run, read_only=read_only) as opened:
            yield opened, opened.w3, ""
    elif run is None and rpc is not None and address is not None:
        yield None, connect(rpc), checked_address(what, address)
    else:
        raise typer.BadParameter(f"give --run, or --rpc and --{what}")
