"""Choices of the compiler as the command line offers them."""

from __future__ import annotations

from enum import StrEnum


class Optimize(StrEnum):
    """What a program should be good at."""

    RUN = "run"
    DEPLOY = "deploy"


class Target(StrEnum):
    """Whose gas limit holds."""

    ETHEREUM = "ethereum"
    FILECOIN = "filecoin"
