"""Which exact fixed-point aggregation rule corresponds to which Flower strategy."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg, Strategy
from flwr.serverapp.strategy.multikrum import select_multikrum

from fedvm.federation.errors import SettingsError
from fedvm.federation.metrics import MetricNames
from fedvm.protocol import EncodingError
from fedvm.protocol.aggregators import (
    MICROS,
    Aggregator,
    BoosterBagging,
    BoosterTurns,
    Bulyan,
    CoordinateMedian,
    FairAverage,
    Krum,
    ServerAdagrad,
    ServerAdam,
    ServerMomentum,
    ServerYogi,
    TrimmedMean,
    WeightedMean,
    aggregator_named,
)


def rule_of(inner: Strategy) -> Aggregator:
    """The rule that computes in integers what the `aggregate_train` of the inner strategy's Flower class computes in
    floats.

    A subclass of a Flower strategy has the rule of that, unless its own `aggregate_train` does without Flower's.
    Raises SettingsError, with the reason, for a strategy whose aggregation has no fixed-point definition here, and
    for parameters that have more than six decimals or are out of range.
    """
    name, kind = type(inner).__name__, flower_class(type(inner))
    aggregation = kind.aggregate_train
    make = next((make for known, make in _RULES if known.aggregate_train is aggregation), None)
    if make is None or not isinstance(inner, FedAvg):
        why = next(
            (why for known, why in _REFUSALS if known.aggregate_train is aggregation), _OWN_AGGREGATION
        )
        raise SettingsError(f"{name} cannot be made accountable: {why}. Use one of {', '.join(_NAMES)}")
    if not _goes_through(type(inner), kind):
        raise SettingsError(
            f"{name} cannot be made accountable: {_OWN_AGGREGATION}. An override may log, count or change metrics, and "
            f"must call super().aggregate_train(server_round, replies); {kind.__name__} does the rest"
        )
    try:
        return make(inner)
    except EncodingError as error:
        raise SettingsError(f"{name} cannot be made accountable: {error}") from error


def flower_class(kind: type[Strategy]) -> type[Any]:
    """The class of Flower's that a strategy's class is, or derives from. Raises SettingsError if that is none that
    aggregates."""
    found = next(one for one in kind.__mro__ if one.__module__.partition(".")[0] == "flwr")
    if found is Strategy:
        raise SettingsError(
            f"{kind.__name__} cannot be made accountable: {_OWN_AGGREGATION}. Derive it from one of {', '.join(_NAMES)}"
        )
    return found


def _goes_through(kind: type[Strategy], flower_kind: type[Strategy]) -> bool:
    """Whether each override of `aggregate_train` calls the next one, as far as its code tells."""
    for one in kind.__mro__[: kind.__mro__.index(flower_kind)]:
        code = getattr(one.__dict__.get("aggregate_train"), "__code__", None)
        if code is not None and "aggregate_train" not in code.co_names:
            return False
    return True


def check_rule(inner: Strategy, rule: Aggregator, recorded: bytes) -> None:
    """Raise SettingsError, naming both, unless the contract's rules name the wrapped strategy's rule.

    recorded: `Rules.aggregator`, 32 bytes.
    """
    if rule.identifier == recorded:
        return
    try:
        other = aggregator_named(recorded).describe()
    except EncodingError:
        other = f"0x{recorded.hex()}, which this version does not know"
    raise SettingsError(
        f"the strategy {type(inner).__name__} aggregates by {rule.describe()}, but the contract's rules say {other}: "
        f"wrap the strategy that the rules name, or create the federation for this one (federation.strategy in its "
        f"configuration, aggregator 0x{rule.identifier.hex()} in its rules)"
    )


def check_asker(asker: object) -> None:
    """Raise SettingsError if what asks an accountable strategy for a round is one of Flower's wrappers that change the
    updates before it, and the model after it."""
    why = next((why for kind, why in _REFUSALS if isinstance(asker, kind)), None)
    if why is not None:
        raise SettingsError(f"{type(asker).__name__} cannot wrap an accountable strategy: {why}")


def loss_key(inner: Strategy) -> str:
    """The metric of a train reply that a client attests as its loss: the one that the strategy weights by, if any."""
    return inner.train_loss_key if isinstance(inner, flower.QFedAvg) else MetricNames.attested_loss


def micros(name: str, value: float) -> int:
    """A parameter in millionths. Raises SettingsError unless it is a number with at most six decimals."""
    try:
        scaled = Decimal(repr(float(value))) * MICROS
        if scaled == int(scaled):
            return int(scaled)
    except (TypeError, ValueError, OverflowError):
        pass
    raise SettingsError(
        f"{name} is {value!r}; the contract's rules hold millionths: give at most six decimals"
    )


def _momentum(inner: Any) -> Aggregator:
    return ServerMomentum(
        micros("server_learning_rate", inner.server_learning_rate),
        micros("server_momentum", inner.server_momentum),
    )


def _optimiser(kind: Callable[..., Aggregator], *names: str) -> Callable[[Any], Aggregator]:
    return lambda inner: kind(*(micros(name, getattr(inner, name)) for name in names))


def _krum(inner: Any) -> Aggregator:
    return Krum(inner.num_malicious_nodes, inner.num_nodes_to_select)


def _bulyan(inner: Any) -> Aggregator:
    if inner.selection_rule is not select_multikrum:
        raise SettingsError(
            "Bulyan cannot be made accountable with a selection_rule of its own, which nobody could recompute: leave "
            "it out, for Multi-Krum's"
        )
    return Bulyan(inner.num_malicious_nodes)


def _fair(inner: Any) -> Aggregator:
    return FairAverage(micros("client_learning_rate", inner.client_learning_rate), micros("q", inner.q))


_RULES: tuple[tuple[type[Strategy], Callable[[Any], Aggregator]], ...] = (
    (flower.FedAvg, lambda inner: WeightedMean()),  # FedProx aggregates by the same function
    (flower.FedAvgM, _momentum),
    (flower.FedAdam, _optimiser(ServerAdam, "eta", "beta_1", "beta_2", "tau")),
    (flower.FedYogi, _optimiser(ServerYogi, "eta", "beta_1", "beta_2", "tau")),
    (flower.FedAdagrad, _optimiser(ServerAdagrad, "eta", "tau")),
    (flower.FedMedian, lambda inner: CoordinateMedian()),
    (flower.FedTrimmedAvg, lambda inner: TrimmedMean(micros("beta", inner.beta))),
    (flower.MultiKrum, _krum),  # Krum aggregates by the same function
    (flower.Bulyan, _bulyan),
    (flower.QFedAvg, _fair),
    (flower.FedXgbBagging, lambda inner: BoosterBagging()),
    (flower.FedXgbCyclic, lambda inner: BoosterTurns()),
)
_NAMES = (
    "FedAvg",
    "FedProx",
    "FedAvgM",
    "FedAdam",
    "FedYogi",
    "FedAdagrad",
    "FedMedian",
    "FedTrimmedAvg",
    "Krum",
    "MultiKrum",
    "Bulyan",
    "QFedAvg",
    "FedXgbBagging",
    "FedXgbCyclic",
)

_OWN_AGGREGATION = "its aggregate_train is its own, and nobody could recompute what that does with floats"
_NOISE = (
    "the noise it adds to the aggregate on the server is secret, so that nobody could recompute the model. Wrap the "
    "strategy inside it instead: the rule max_norm clips every update, and noise that clients add themselves "
    "(docs/privacy.md, or Flower's LocalDpMod after fedvm_mod) needs no trusted server"
)
_REFUSALS: tuple[tuple[type[Strategy], str], ...] = (
    (flower.DifferentialPrivacyServerSideFixedClipping, _NOISE),
    (flower.DifferentialPrivacyServerSideAdaptiveClipping, _NOISE),
    (flower.DifferentialPrivacyClientSideFixedClipping, _NOISE),
    (flower.DifferentialPrivacyClientSideAdaptiveClipping, _NOISE),
)
