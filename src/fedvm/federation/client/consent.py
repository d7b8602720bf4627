"""What a client agrees to sign, read from its own node config; a server's message can never widen it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fedvm.federation.errors import TermsError
from fedvm.federation.keys import (
    FEDERATION,
    MAX_EPSILON,
    MIN_CLIENTS,
    MIN_EXAMPLES,
    NODE_KEYS,
    PREFIX,
    RULES,
)
from fedvm.federation.settings import ConsentSettings
from fedvm.protocol import Rules
from fedvm.protocol.address import to_address

_MICRO = 1_000_000


@dataclass(frozen=True)
class Consent(ConsentSettings):
    """The rules under which a client signs; a field that is None demands nothing. federation: the contract's address;
    rules: the hash of the rules (`Rules.digest`), 0x and 64 hexadecimal digits; max_epsilon: the rules must have a
    privacy budget of at most this ε; min_examples, min_clients: the rules must demand at least this many examples of
    every update, and a quorum of at least this many clients.
    """

    @classmethod
    def from_node_config(cls, config: Mapping[str, Any]) -> Consent:
        """As a SuperNode's `--node-config` states it.

        Raises TermsError for a malformed value, and for an unknown key that begins with `fedvm-`: a misspelt limit must
        not be ignored.
        """
        if unknown := sorted(key for key in config if key.startswith(PREFIX) and key not in NODE_KEYS):
            raise TermsError(
                f"this client's node config has {', '.join(unknown)}, which means nothing; known: "
                f"{', '.join(sorted(NODE_KEYS))}"
            )
        return cls(
            _text(config, FEDERATION, 40),
            _text(config, RULES, 64),
            _number(config, MAX_EPSILON, float),
            _number(config, MIN_EXAMPLES, int),
            _number(config, MIN_CLIENTS, int),
        )

    def node_config(self) -> dict[str, str | int | float]:
        """The keys of a node config that say the same."""
        values = {
            FEDERATION: self.federation,
            RULES: self.rules,
            MAX_EPSILON: self.max_epsilon,
            MIN_EXAMPLES: self.min_examples,
            MIN_CLIENTS: self.min_clients,
        }
        return {key: value for key, value in values.items() if value is not None}

    def check_federation(self, named: str) -> None:
        """Raise TermsError unless the client agrees to the federation at the checksummed address `named`."""
        if self.federation is not None and to_address(self.federation) != named:
            raise TermsError(
                f"this client signs for the federation {self.federation} only, the server names {named}"
            )

    def check_rules(self, rules: Rules) -> None:
        """Raise TermsError, saying what is wrong with `rules`, unless the client agrees to them."""
        stated = "0x" + rules.digest().hex()
        if self.rules is not None and self.rules.lower() != stated:
            raise TermsError(
                f"this client agreed to the rules {self.rules} only, the server names {stated}: read them, then name "
                f"them as {RULES} in its node config or leave the federation"
            )
        epsilon = rules.max_epsilon_micros
        if self.max_epsilon is not None and not 0 < epsilon <= round(self.max_epsilon * _MICRO):
            found = f"allow ε = {epsilon / _MICRO:g}" if epsilon else "have no privacy budget"
            raise _beyond(MAX_EPSILON, f"a budget of ε ≤ {self.max_epsilon:g}", found)
        if self.min_examples is not None and rules.min_examples < self.min_examples:
            wanted = f"at least {self.min_examples} examples of every update"
            raise _beyond(MIN_EXAMPLES, wanted, f"ask for {rules.min_examples}")
        if self.min_clients is not None and rules.min_clients < self.min_clients:
            wanted = f"a quorum of at least {self.min_clients} clients"
            raise _beyond(MIN_CLIENTS, wanted, f"have one of {rules.min_clients}")


def _beyond(key: str, wanted: str, found: str) -> TermsError:
    return TermsError(
        f"this client signs under rules with {wanted} only; those that the server names {found}: change {key} in its "
        "node config or leave the federation"
    )


def _text(config: Mapping[str, Any], key: str, digits: int) -> str | None:
    value = config.get(key)
    if value is not None and not re.fullmatch(f"0x[0-9a-fA-F]{{{digits}}}", str(value)):
        raise TermsError(f"{key} is {value!r} in this client's node config: give 0x and {digits} hex digits")
    return None if value is None else str(value)


def _number(config: Mapping[str, Any], key: str, kind: Callable[[Any], Any]) -> Any:
    value = config.get(key)
    if value is None:
        return None
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not numeric or value <= 0 or value != kind(value):
        what = "a whole number" if kind is int else "a number"
        raise TermsError(f"{key} is {value!r} in this client's node config: give {what} above 0")
    return kind(value)
