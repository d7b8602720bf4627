"""Flower federations that are accountable to a contract.

* `grid`: a Flower `Grid` in one process; `workers`: its warm worker processes;
* `mod`, `client`: what runs at a client; `identity`, `roster`: which node is which member;
* `adversaries`: clients that misbehave on purpose;
* `strategy`, `settlement`, `rounds`: what runs at the coordinator; `ledger`: what it needs of a chain;
* `flower_strategies`, `flower_rules`: Flower's strategies by name, and the integer rule that each stands for;
* `server`: all of it in one call.

Names are imported when first used, so that `import fedvm.federation` loads neither Flower nor PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedvm.federation.chain_ledger import ChainLedger
    from fedvm.federation.client import ClientData, image_client_app
    from fedvm.federation.direct import submit_directly
    from fedvm.federation.directory import create_federation, open_federation
    from fedvm.federation.grid import Finished, InProcessGrid, Node, make_nodes
    from fedvm.federation.journal import RoundJournal
    from fedvm.federation.membership import Federation, publish_model
    from fedvm.federation.mod import accountable_mod, fedvm_mod
    from fedvm.federation.records import RoundRecord
    from fedvm.federation.rounds import FederationResult, run_rounds
    from fedvm.federation.schema import FederationSettings, TrainingSettings
    from fedvm.federation.server import Watch, image_nodes, initial_arrays, run_federation
    from fedvm.federation.strategy import Accountable

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
        "TrainingSettings",
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
    "Accountable": "strategy",
    "ChainLedger": "chain_ledger",
    "ClientData": "client",
    "Federation": "membership",
    "FederationResult": "rounds",
    "FederationSettings": "schema",
    "Finished": "grid",
    "InProcessGrid": "grid",
    "Node": "grid",
    "RoundJournal": "journal",
    "RoundRecord": "records",
    "TrainingSettings": "schema",
    "Watch": "server",
    "accountable_mod": "mod",
    "create_federation": "directory",
    "fedvm_mod": "mod",
    "image_client_app": "client",
    "image_nodes": "server",
    "initial_arrays": "server",
    "make_nodes": "grid",
    "open_federation": "directory",
    "publish_model": "membership",
    "run_federation": "server",
    "run_rounds": "rounds",
    "submit_directly": "direct",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
