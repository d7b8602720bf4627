"""What an audit reads from: the contracts that the options name, and the store that has their artefacts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedvm.cli.commands.federation_options import stores_option

if TYPE_CHECKING:
    from web3 import Web3

    from fedvm.store import Store

AuditStores = Annotated[
    list[str] | None, stores_option("Where the artefacts are, instead of in the run's own store")
]
FirstBlock = Annotated[
    int, typer.Option(min=0, help="With --rpc: a block at or before the creation of the contracts.")
]


@dataclass(frozen=True)
class Recorded:
    """An open chain, the addresses (hex) of contracts on it, None for one that is not named, and their store. program:
    addresses that a run's deployment.json names."""

    w3: Web3
    store: Store
    federation: str | None
    service: str | None
    first_block: int
    program: tuple[str, ...] = ()


@contextmanager
def opened_record(
    run: Path | None,
    rpc: str | None,
    federation: str | None,
    service: str | None,
    stores: Sequence[str] | None,
    first_block: int,
) -> Iterator[Recorded]:
    """What a run's directory names, or contracts on a network.

    Raises BadParameter unless the options name one of them, SettingsError for a malformed address, and ChainError.
    """
    from fedvm.chain.networks import connect
    from fedvm.federation.client.appointment import checked_address
    from fedvm.rundir.run import open_run
    from fedvm.store import open_store

    if run is not None and rpc is None and federation is None and service is None:
        with open_run(run) as opened:
            store, at = open_store(stores) if stores else opened.store, opened.deployment
            yield Recorded(opened.w3, store, at.federation, at.service, at.block, at.program)
        return
    if run is not None or rpc is None or not (federation or service) or not stores:
        raise typer.BadParameter("give a run, or --rpc and --store with --federation or --service")
    named = {
        what: None if address is None else checked_address(what, address)
        for what, address in (("federation", federation), ("service", service))
    }
    yield Recorded(connect(rpc), open_store(stores), named["federation"], named["service"], first_block)
