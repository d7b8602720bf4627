"""Aggregation rules in exact fixed point (docs/protocol.md, section 7), and the identifiers that name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedvm.protocol.aggregators.adaptive import ServerAdagrad, ServerYogi
from fedvm.protocol.aggregators.boosters import BoosterBagging, BoosterTurns
from fedvm.protocol.aggregators.bulyan import Bulyan
from fedvm.protocol.aggregators.byte_rule import MOST_BYTES, NAME_ELEMENTS, ByteRule
from fedvm.protocol.aggregators.coordinate_median import CoordinateMedian
from fedvm.protocol.aggregators.fair import FairAverage
from fedvm.protocol.aggregators.krum import Krum
from fedvm.protocol.aggregators.rule import (
    MICROS,
    Aggregator,
    Payloads,
    RoundFacts,
    RoundResult,
    ServerState,
    aggregate,
    aggregate_sums,
    unpack,
)
from fedvm.protocol.aggregators.server_adam import ServerAdam
from fedvm.protocol.aggregators.server_momentum import ServerMomentum
from fedvm.protocol.aggregators.trimmed_mean import TrimmedMean
from fedvm.protocol.aggregators.weighted import WeightedMean
from fedvm.protocol.checks import check_bytes
from fedvm.protocol.errors import EncodingError
from fedvm.protocol.rules import Rules

__all__ = [
    "MICROS",
    "MOST_BYTES",
    "NAME_ELEMENTS",
    "Aggregator",
    "BoosterBagging",
    "BoosterTurns",
    "Bulyan",
    "ByteRule",
    "CoordinateMedian",
    "FairAverage",
    "Krum",
    "Payloads",
    "RoundFacts",
    "RoundResult",
    "ServerAdagrad",
    "ServerAdam",
    "ServerMomentum",
    "ServerState",
    "ServerYogi",
    "TrimmedMean",
    "WeightedMean",
    "aggregate",
    "aggregate_sums",
    "aggregator_named",
    "byte_rule",
    "is_over_bytes",
]

_KINDS: Mapping[int, tuple[Callable[..., Aggregator], int]] = {
    ServerMomentum.kind: (ServerMomentum, 2),
    ServerAdam.kind: (ServerAdam, 4),
    CoordinateMedian.kind: (CoordinateMedian, 0),
    TrimmedMean.kind: (TrimmedMean, 1),
    Krum.kind: (Krum, 2),
    ServerYogi.kind: (ServerYogi, 4),
    ServerAdagrad.kind: (ServerAdagrad, 2),
    Bulyan.kind: (Bulyan, 1),
    FairAverage.kind: (FairAverage, 2),
    BoosterBagging.kind: (BoosterBagging, 0),
    BoosterTurns.kind: (BoosterTurns, 0),
}


def aggregator_named(identifier: bytes) -> Aggregator:
    """The rule that `Rules.aggregator` names, 32 bytes.

    Raises:
        EncodingError: no rule that is known, or parameters out of range.
    """
    check_bytes("aggregator", identifier, 32)
    if not any(identifier):
        return WeightedMean()
    if identifier[0] not in _KINDS:
        raise EncodingError(
            f"aggregator 0x{identifier.hex()} is of a kind that is not known: is FedVM up to date?"
        )
    make, count = _KINDS[identifier[0]]
    return make(*unpack(identifier, count))


def byte_rule(rules: Rules) -> ByteRule | None:
    """The rules' aggregator if it works on bytes; None for another, and if it is unknown."""
    try:
        rule = aggregator_named(rules.aggregator)
    except EncodingError:
        return None
    return rule if isinstance(rule, ByteRule) else None


def is_over_bytes(rules: Rules) -> bool:
    """Whether the rules' aggregator works on bytes; not if it is unknown."""
    return byte_rule(rules) is not None
