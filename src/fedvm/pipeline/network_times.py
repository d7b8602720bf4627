"""How long a federation's windows must be on the network it runs on, and how long they are if nobody says. One home.

A window that is too short protects nobody: what was done in it can be undone by a reorganisation, or a few blocks that
leave a transaction out use it up. What follows from the network is stated in `least` and its reason; what a federation
gets that states nothing, in `usual`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final

from fedvm.chain.networks import Network
from fedvm.federation.settings import RulesSettings
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.errors import ConfigError

CENSORED_BLOCKS: Final = 20
"""So many blocks in a row may leave a challenger's transaction out, by accident or against it."""
ANSWER_BLOCKS: Final = 10
"""To see a question, to send the answer, and to send it again."""
RECOMPUTE_SECONDS: Final = 1_800
"""For a challenger to notice a proposal, to fetch what is behind it, and to compute it again."""

_CHALLENGE, _ANSWER, _ROUND = "security.challenge_seconds", "security.answer_seconds", "rules.round_seconds"


@dataclass(frozen=True)
class Window:
    """A setting, the seconds that it has, that it needs and that it gets if nobody states it; and why."""

    setting: str
    seconds: int
    least: int
    reason: str
    usual: int
    usual_reason: str


def windows_of(config: RunConfig, network: Network) -> tuple[Window, ...]:
    """The windows that depend on the network, with what it asks for. A network whose blocks come with transactions and
    are final at once asks for nothing."""
    block, finality = network.block_seconds, network.finality_seconds
    censored, answering = ceil(CENSORED_BLOCKS * block), ceil(ANSWER_BLOCKS * block)
    rules, security = config.rules, config.security
    proposing = security.open_seconds + 2 * answering
    return (
        Window(
            _CHALLENGE,
            security.challenge_seconds,
            finality + censored,
            f"blocks are final after {finality:,} s, and {CENSORED_BLOCKS} blocks of {block:g} s may omit a challenge",
            2 * finality + censored + RECOMPUTE_SECONDS,
            f"2 × finality of {finality:,} s + {CENSORED_BLOCKS} blocks of {block:g} s that may omit a challenge + "
            f"{RECOMPUTE_SECONDS:,} s to fetch and recompute",
        ),
        Window(
            _ANSWER,
            security.answer_seconds,
            answering,
            f"{ANSWER_BLOCKS} blocks of {block:g} s to see a question and have the answer included",
            finality + 2 * answering,
            f"finality of {finality:,} s + twice {ANSWER_BLOCKS} blocks of {block:g} s, so that an answer that a "
            "reorganisation undoes is given again",
        ),
        Window(
            _ROUND,
            rules.round_seconds,
            proposing,
            f"a round is submitted and proposed in transactions, each within {ANSWER_BLOCKS} blocks of {block:g} s",
            max(RulesSettings.round_seconds, proposing + RECOMPUTE_SECONDS, 2 * security.open_seconds),
            f"enough for {security.open_seconds:,} s open, at most half of it, and for twice {ANSWER_BLOCKS} blocks of "
            f"{block:g} s to submit and propose + {RECOMPUTE_SECONDS:,} s to train",
        ),
    )


def suited(config: RunConfig, network: Network, stated: Collection[str]) -> RunConfig:
    """The configuration with the windows that follow from the network in place of those that nobody stated ("table.key"
    of those that somebody did). Where blocks come with transactions it stays as it is."""
    if not network.block_seconds:
        return config
    changes: dict[str, dict[str, Any]] = {"security": {}, "rules": {}}
    for one in windows_of(config, network):
        if one.setting not in stated:
            table, key = one.setting.split(".")
            changes[table][key] = one.usual
    return replace(
        config,
        security=replace(config.security, **changes["security"]),
        rules=replace(config.rules, **changes["rules"]),
    )


def values_of(config: RunConfig) -> Mapping[str, int]:
    """What the configuration has for each setting that follows from the network where nobody states it."""
    security, rules = config.security, config.rules
    return {
        _CHALLENGE: security.challenge_seconds,
        _ANSWER: security.answer_seconds,
        _ROUND: rules.round_seconds,
    }


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
                f"or more, or leave it out: then it is {one.usual} ({one.usual_reason})"
            )
        if one.least:
            why = f"{one.usual_reason}; " if one.seconds == one.usual else ""
            lines.append(
                f"{one.setting} {one.seconds:,} s: {why}at least {one.least:,} s here, since {one.reason}"
            )
    return tuple(lines)
