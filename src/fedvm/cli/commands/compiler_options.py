"""The compiler's choices, as the command line offers them."""

from __future__ import annotations

from enum import StrEnum


class Optimize(StrEnum):
    """What the compiler should keep small: gas per prediction (run), or the contracts (deploy)."""

    RUN = "run"
    DEPLOY = "deploy"


class Target(StrEnum):
    """Which chain's gas limit applies."""

    ETHEREUM = "ethereum"
    FILECOIN = "filecoin"
