"""Flower federations that are accountable to a contract.

* `client`: what runs at a client, including the mod that signs its update;
* `coordinator`: the strategy, the rounds and their settlement on chain;
* `engines`: where the clients run;
* `simulated`: a whole federation on one machine, with clients that misbehave on purpose;
* this package itself: the messages between clients and coordinator, and their encodings.

Names are imported when first used, so that `import fedvm.federation` loads neither Flower nor PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedvm.lazy import importing

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
    from fedvm.federation.engines.clients import Node
    from fedvm.federation.engines.grid import Finished, InProcessGrid, make_nodes
    from fedvm.federation.engines.in_process import InProcessRun, run_in_process
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
        "InProcessRun",
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
        "run_in_process",
        "run_rounds",
        "submit_directly",
    ]

__getattr__ = importing(
    __name__,
    {
        "client.app": ("ClientData", "image_client_app"),
        "client.direct": ("submit_directly",),
        "client.mod": ("accountable_mod", "fedvm_mod"),
        "coordinator.accountable": ("Accountable",),
        "coordinator.chain_ledger": ("ChainLedger",),
        "coordinator.directory": ("create_federation", "open_federation"),
        "coordinator.journal": ("RoundJournal",),
        "coordinator.membership": ("Federation", "publish_model"),
        "coordinator.records": ("RoundRecord",),
        "coordinator.rounds": ("FederationResult", "run_rounds"),
        "engines.clients": ("Node",),
        "engines.grid": ("Finished", "InProcessGrid", "make_nodes"),
        "engines.in_process": ("InProcessRun", "run_in_process"),
        "simulated.server": ("Watch", "image_nodes", "initial_arrays", "run_federation"),
        "simulated.settings": ("FederationSettings",),
    },
)
