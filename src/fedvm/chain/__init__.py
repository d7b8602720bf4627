"""Chains: the embedded one, real networks, the contracts on them, and their programs in revm.

Names are imported when first used, so that ``import fedvm.chain`` does not load web3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedvm.chain.embedded import EmbeddedChain, open_chain

    __all__ = ["EmbeddedChain", "open_chain"]

_HOME = {
    "EmbeddedChain": "embedded",
    "open_chain": "embedded",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
