"""Flower federations that are accountable to a contract.

* `client`: what runs at a client, including the mod that signs its update;
* `coordinator`: the strategy, the rounds and their settlement on chain;
* `engines`: where the clients run;
* `simulated`: a whole federation on one machine, with clients that misbehave on purpose;
* this package itself: the messages between clients and coordinator, and their encodings.

Names are imported when first used, so that `import fedvm.federation` loads neither Flower nor PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedvm.federation.client.app import ClientData, image_client_app
    from fedvm.federation.client.direct import submit_directly
    from fedvm.federation.client.mod import accountable_mod, fedvm_mod
    from fedvm.federation.coordinator.accountable import Accountable
    from fedvm.federation.coordinator.chain_ledger import ChainLedger
    from fedvm.federation.coordinator.directory import create_federation, open_federation
    from fedvm.federation.coordinator.journal import RoundJournal
    from fedvm.federation.coordinator.membership import Federation, publish_model
    from fedvm.federation.coordinator.records import RoundRecord
    from fedvm.federation.coordinator.rounds import FederationResult, run_rounds
    from fedvm.federation.engines.grid import Finished, InProcessGrid, Node, make_nodes
    from fedvm.federation.simulated.server import Watch, image_nodes, initial_arrays, run_federation
    from fedvm.federation.simulated.settings import FederationSettings

    __all__ = [
        "Accountable",
        "ChainLedger",
        "ClientData",
        "Federation",
        "FederationResult",
        "FederationSettings",
        "Finished",
        "InProcessGrid",
        "Node",
        "RoundJournal",
        "RoundRecord",
        "Watch",
        "accountable_mod",
        "create_federation",
        "fedvm_mod",
        "image_client_app",
        "image_nodes",
        "initial_arrays",
        "make_nodes",
        "open_federation",
        "publish_model",
        "run_federation",
        "run_rounds",
        "submit_directly",
    ]

_HOME = {
    "Accountable": "coordinator.accountable",
    "ChainLedger": "coordinator.chain_ledger",
    "ClientData": "client.app",
    "Federation": "coordinator.membership",
    "FederationResult": "coordinator.rounds",
    "FederationSettings": "simulated.settings",
    "Finished": "engines.grid",
    "InProcessGrid": "engines.grid",
    "Node": "engines.grid",
    "RoundJournal": "coordinator.journal",
    "RoundRecord": "coordinator.records",
    "Watch": "simulated.server",
    "accountable_mod": "client.mod",
    "create_federation": "coordinator.directory",
    "fedvm_mod": "client.mod",
    "image_client_app": "client.app",
    "image_nodes": "simulated.server",
    "initial_arrays": "simulated.server",
    "make_nodes": "engines.grid",
    "open_federation": "coordinator.directory",
    "publish_model": "coordinator.membership",
    "run_federation": "simulated.server",
    "run_rounds": "coordinator.rounds",
    "submit_directly": "client.direct",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
