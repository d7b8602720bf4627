"""Options that commands which read records share: a network's address, contracts on it, and stores."""

from __future__ import annotations

from typing import Annotated, Any

import typer


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
        help=f"{what}: JSON-RPC address, or a name that `fedvm networks list` shows.",
    )


def stores_option(what: str) -> Any:
    """`--store`, which may be repeated: locations that `fedvm.store.open_store` takes."""
    return typer.Option("--store", metavar="FOLDER|URL", help=f"{what}; repeat it for several.")


RpcOption = Annotated[str | None, rpc_option("Instead of --run: the federation's network")]
FederationOption = Annotated[
    str | None, typer.Option("--federation", help="With --rpc: address of the Federation contract.")
]
ServiceOption = Annotated[
    str | None, typer.Option("--service", help="With --rpc: address of the ModelService contract.")
]
