"""What a coordinator left standing, and the transaction by which anybody may bring it to its end."""

from __future__ import annotations

from fedvm.chain.epoch_types import EpochState
from fedvm.chain.epochs import DRAWN_AFTER, EpochsContract
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState
from fedvm.chain.genuine import is_sealed
from fedvm.pipeline.call_advice import utc
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.plans import Plan


def end(federation: FederationContract) -> Plan:
    """End what stands: a proposal that nobody brought down becomes final, a round without one fails, as does an epoch
    of a sealed federation, which is closed or drawn first. No bond or stake is lost by it.

    Raises UsageError, which says since when it can be ended, if it is too early; or that nothing stands.
    """
    number = federation.current_round()
    if number > 0 and not federation.round(number).state.is_over:
        return _round(federation, number)
    if is_sealed(federation.w3, federation.address):
        epochs = EpochsContract.of(federation)
        if (plan := _epoch(federation, epochs)) is not None:
            return plan
    raise UsageError(
        "nothing stands that could be ended: no round is open, and no epoch waits to be closed, drawn or failed"
    )


def _round(federation: FederationContract, number: int) -> Plan:
    standing = federation.round(number)
    _require_past(federation, f"round {number}", standing.until)
    since = utc(standing.until)
    if standing.state is RoundState.PROPOSED:
        sentence = (
            f"Round {number} is made final: its proposal could be challenged until {since}, and has not fallen. "
            "Its bond goes back to who posted it"
        )
        return Plan(sentence, federation.finalize_call(number), federation.owner())
    if (over := federation.fails_after(standing)) > standing.until and _now(federation) <= over:
        raise UsageError(
            f"the updates of round {number} are rolled up, and its coordinator's time is over: until {utc(over)} "
            "anybody may propose what they come to (fedvm propose); after that anybody can end it"
        )
    bond = ". The bond of the roll-up goes back to who posted it" if standing.rolled_up else ""
    sentence = (
        f"Round {number} ends without a result: its time was over at {since}, and no proposal stands. The model "
        f"stays as it was, and the coordinator can open another round{bond}"
    )
    return Plan(sentence, federation.fail_call(number), federation.owner())


def _epoch(federation: FederationContract, epochs: EpochsContract) -> Plan | None:
    standing, owner = epochs.standing(), federation.owner()
    number = standing.number
    if standing.state is EpochState.ENROLLING:
        _require_past(federation, f"enrolment for epoch {number}", standing.until)
        few = standing.members < epochs.sealed_rules().min_roster
        what = "fails, since too few members enrolled" if few else "has its roster"
        return Plan(
            f"Epoch {number} {what}: {standing.members} enrolled until {utc(standing.until)}",
            epochs.prepared("closeEnrolment", number),
            owner,
        )
    if standing.state is EpochState.CLOSED:
        drawn_by = standing.closed_in + DRAWN_AFTER
        if federation.w3.eth.block_number <= drawn_by:
            raise UsageError(
                f"the groups of epoch {number} can be drawn after block {drawn_by}: try it again"
            )
        return Plan(f"The groups of epoch {number} are drawn", epochs.draw_call(number), owner)
    if standing.state is EpochState.DRAWN and not standing.is_stated:
        _require_past(federation, f"the exchange of keys in epoch {number}", standing.until)
        return Plan(
            f"Epoch {number} fails: until {utc(standing.until)} nobody stated who is ready",
            epochs.prepared("failEpoch", number),
            owner,
        )
    return None


def _require_past(federation: FederationContract, what: str, until: int) -> None:
    if _now(federation) <= until:
        raise UsageError(f"{what} is the coordinator's until {utc(until)}; after that anybody can end it")


def _now(federation: FederationContract) -> int:
    return int(federation.w3.eth.get_block("latest")["timestamp"])
