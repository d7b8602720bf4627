"""What became of each client's update in a round, as lines for Flower's log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from logging import INFO, WARNING

from flwr.app import MetricRecord
from flwr.common import log

from fedvm.chain.federation_types import UpdateAccepted
from fedvm.federation.coordinator.outcome import TrainOutcome
from fedvm.federation.coordinator.reception import Received
from fedvm.federation.metrics import MetricNames
from fedvm.protocol import Refusal

SHOWN_EACH = 100
"""So many accepted clients of a round get a line each; of more, those to which nothing happened are counted."""
_LOST = 0.01
"""Share of an update's norm that rounding may lose without a word."""
_NAMES = MetricNames()
_MISSING = {
    Refusal.LOSS_TOO_HIGH.label: _NAMES.attested_loss,
    Refusal.ACCURACY_TOO_LOW.label: _NAMES.attested_accuracy,
    Refusal.TOO_FEW_LABELS.label: _NAMES.labels,
    Refusal.BUDGET_SPENT.label: _NAMES.epsilon,
}
"""Refusals for what a client attests, and the metric that the rule asks for."""


def log_verdicts(
    outcome: TrainOutcome, received: Mapping[str, Received], *, weighted_by: str, bound: float
) -> None:
    """Log how a round ended, and a line for each client, ascending by address. received: by member's address; may lack
    members. weighted_by: the metric that updates are weighted by. bound: of the rules, on an update's L2 norm."""
    settlement = outcome.settlement
    accepted, refused, failed = len(settlement.accepted), len(settlement.refused), len(outcome.failures)
    log(
        INFO if settlement.model is not None else WARNING,
        "Round %d is %s: %d updates accepted, %d refused, %d clients failed",
        settlement.round.number,
        settlement.round.status.name.lower(),
        accepted,
        refused,
        failed,
    )
    plain = 0
    for update in settlement.accepted:
        notes = list(_notes(update, received.get(update.member), weighted_by, bound))
        if not notes and accepted > SHOWN_EACH:
            plain += 1
            continue
        said = "; ".join([f"accepted, weight {update.weight:,}", *notes])
        log(WARNING if notes else INFO, "\t├──> %s: %s", _who(update.member, received), said)
    if plain:
        log(INFO, "\t├──> %d more: accepted as they are", plain)
    for one in settlement.refused:
        words = why_refused(one.reason, received.get(one.member))
        log(WARNING, "\t├──> %s: refused by the %s: %s", _who(one.member, received), one.by, words)
    for failure in outcome.failures:
        log(WARNING, "\t├──> %s: failed: %s", _who(failure.member, received), failure.reason)


def why_refused(reason: str, received: Received | None) -> str:
    """A refusal in words: the metric that the rule asks for is named where the client's app does not report it."""
    metric = _MISSING.get(reason)
    if metric is None or received is None:
        return reason
    given = _metrics(received)
    if metric in given:
        return f"{reason} ({metric} is {given[metric]}; fedvm rules show says what the rules ask for)"
    return (
        f"{reason} (a rule asks for the metric {metric!r}, which the app's train reply does not have: report it, or "
        "make the federation without that rule)"
    )


def _metrics(received: Received) -> MetricRecord:
    return next(iter(received.metrics.metric_records.values()), MetricRecord())


def _who(member: str, received: Mapping[str, Received]) -> str:
    one = received.get(member)
    return member if one is None else f"{member} (node {one.node_id})"


def _notes(
    update: UpdateAccepted, received: Received | None, weighted_by: str, bound: float
) -> Iterator[str]:
    if update.weight < update.examples:
        yield f"{update.examples:,} examples are capped"
    if received is None:
        return
    if weighted_by not in _metrics(received):
        yield f"it reports no {weighted_by!r}, and counts as one example"
    rounding = received.rounding
    if rounding is None:
        return
    if rounding.norm > bound:
        yield f"clipped from norm {rounding.norm:.4g} to {rounding.sent:.4g}"
    if rounding.lost > _LOST * min(rounding.norm, bound):
        yield (
            f"of its update's norm, {min(rounding.norm, bound):.3g}, rounding took {rounding.lost:.3g}: a federation "
            "of more fraction_bits keeps more"
        )
