"""Chains: the embedded one, real networks, the contracts on them, and their programs in revm.

Names are imported when first used, so that ``import fedvm.chain`` loads neither web3 nor py-evm.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# py-evm hashes every trie node through eth-hash, whose first choice, pycryptodome, takes five times as long as the
# extension that `fedvm.encoding.keccak` uses anyway.
os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")

if TYPE_CHECKING:
    from fedvm.chain.deployment import ChainRef, Deployment
    from fedvm.chain.embedded import EmbeddedChain, open_chain
    from fedvm.chain.errors import ChainError
    from fedvm.chain.factory import FederationFactory
    from fedvm.chain.federation import FederationContract
    from fedvm.chain.federation_types import Refusal, RoundState, Submission
    from fedvm.chain.keys import load_key
    from fedvm.chain.model_service import ModelService, Version, pin_parts
    from fedvm.chain.networks import NETWORKS, connect
    from fedvm.chain.revm import RevmProgram
    from fedvm.chain.run import Run, open_run
    from fedvm.chain.sender import Receipt, Sender

_HOME = {
    "NETWORKS": "networks",
    "ChainError": "errors",
    "ChainRef": "deployment",
    "Deployment": "deployment",
    "EmbeddedChain": "embedded",
    "FederationContract": "federation",
    "FederationFactory": "factory",
    "ModelService": "model_service",
    "Receipt": "sender",
    "Refusal": "federation_types",
    "RevmProgram": "revm",
    "RoundState": "federation_types",
    "Run": "run",
    "Sender": "sender",
    "Submission": "federation_types",
    "Version": "model_service",
    "connect": "networks",
    "load_key": "keys",
    "open_chain": "embedded",
    "open_run": "run",
    "pin_parts": "model_service",
}

__all__ = [
    "NETWORKS",
    "ChainError",
    "ChainRef",
    "Deployment",
    "EmbeddedChain",
    "FederationContract",
    "FederationFactory",
    "ModelService",
    "Receipt",
    "Refusal",
    "RevmProgram",
    "RoundState",
    "Run",
    "Sender",
    "Submission",
    "Version",
    "connect",
    "load_key",
    "open_chain",
    "open_run",
    "pin_parts",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
