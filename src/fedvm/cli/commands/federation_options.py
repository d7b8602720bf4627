"""Options that name a federation: by the directory of a run, or by a network and an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fedvm.chain.federation import FederationContract


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


RunOption = Annotated[
    Path | None, typer.Option("--run", help="Directory with deployment.json, which names the federation.")
]
RpcOption = Annotated[str | None, rpc_option("Instead of --run: the federation's network")]
FederationOption = Annotated[
    str | None, typer.Option("--federation", help="With --rpc: address of the Federation contract.")
]


@contextmanager
def named_federation(
    run: Path | None, rpc: str | None, federation: str | None, *, read_only: bool
) -> Iterator[FederationContract]:
    """The federation that the options name, while its chain is open. read_only concerns an embedded chain.

    Raises BadParameter unless they name one, SettingsError for a malformed address, and ChainError.
    """
    from fedvm.chain.federation import FederationContract
    from fedvm.chain.networks import connect
    from fedvm.federation.client.appointment import checked_address
    from fedvm.rundir.run import open_run

    if run is not None and rpc is None and federation is None:
        with open_run(run, read_only=read_only) as opened:
            yield opened.federation_contract
    elif run is None and rpc is not None and federation is not None:
        yield FederationContract(connect(rpc), checked_address("federation", federation))
    else:
        raise typer.BadParameter("give --run, or --rpc and --federation")
