"""Whether a federation's windows suit the network it runs on: shorter ones would protect nobody."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from fedvm.chain.networks import Network
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.errors import ConfigError

CENSORED_BLOCKS: Final = 20
"""So many blocks in a row may leave a challenger's transaction out, by accident or against it."""
ANSWER_BLOCKS: Final = 10
"""To see a question, to send the answer, and to send it again."""


@dataclass(frozen=True)
class Window:
    """A setting, the seconds that it has and needs, and why."""

    setting: str
    seconds: int
    least: int
    reason: str


def windows_of(config: RunConfig, network: Network) -> tuple[Window, ...]:
    """The windows that depend on the network, with the least that it allows."""
    block, finality = network.block_seconds, network.finality_seconds
    censored, answering = ceil(CENSORED_BLOCKS * block), ceil(ANSWER_BLOCKS * block)
    rules, security = config.rules, config.security
    return (
        Window(
            "security.challenge_seconds",
            security.challenge_seconds,
            finality + censored,
            f"blocks are final after {finality:,} s, and {CENSORED_BLOCKS} blocks of {block:g} s may omit a challenge",
        ),
        Window(
            "security.answer_seconds",
            security.answer_seconds,
            answering,
            f"{ANSWER_BLOCKS} blocks of {block:g} s to see a question and have the answer included",
        ),
        Window(
            "rules.round_seconds",
            rules.round_seconds,
            security.open_seconds + 2 * answering,
            f"a round is submitted and proposed in transactions, each within {ANSWER_BLOCKS} blocks of {block:g} s",
        ),
    )


def check_times(config: RunConfig, network: Network) -> tuple[str, ...]:
    """A line for each window that says what it is and why that is enough.

    Raises:
        ConfigError: one is too short for the network, with the least that it may be.
    """
    lines = []
    for one in windows_of(config, network):
        if one.seconds < one.least:
            raise ConfigError(
                f"{one.setting} = {one.seconds} is too short for {network.title}: {one.reason}. Set it to {one.least} "
                "or more"
            )
        if one.least:
            lines.append(f"{one.setting} {one.seconds:,} s, at least {one.least:,} s here: {one.reason}")
    return tuple(lines)
