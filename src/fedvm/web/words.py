"""The contracts' terms in plain words: rules, refusals, states, proofs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fedvm.chain.court import Fraud
from fedvm.protocol import EncodingError, Refusal, Rules
from fedvm.protocol.aggregators import aggregator_named
from fedvm.protocol.durations import spoken

FRAUDS: Final[Mapping[Fraud, str]] = {
    Fraud.WRONG_MEAN: "a number of the new model is not what base and sum give",
    Fraud.WRONG_SUM: "a number of the sum is not the sum of the updates",
    Fraud.WRONG_PRODUCT: "an update was not multiplied with its weight",
    Fraud.WRONG_NODE: "two parts of the sum were not added up rightly",
    Fraud.WRONG_LEAF: "an update in the sum is not the one that was accepted",
    Fraud.MALFORMED_VECTOR: "the stated vector has not the form that it must have",
    Fraud.BAD_UPDATE: "an update that was counted has another size than its member signed",
    Fraud.MISSING_DATA: "the data behind the result were not shown",
    Fraud.WRONG_RECORD: "a record of an update is not what the rules give",
    Fraud.WRONG_SEQUENCE: "the records do not follow one another as they must",
    Fraud.WRONG_COMMITMENT: "an update was counted other than its record says",
    Fraud.MALFORMED_ROLLUP: "the list of records has not the form that it must have",
    Fraud.OMISSION: "an update that a member submitted itself was left out",
}


def number(value: float | None) -> str:
    """An integer with narrow spaces between the thousands; – for None."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def percent(share: float | None, digits: int = 1) -> str:
    """A share (0 … 1) in per cent; – for None."""
    return "–" if share is None else f"{share:.{digits}%}"


def chance(share: float) -> str:
    """A small probability in per cent, never rounded to nothing: `0.01%`."""
    return f"{100 * share:.3g}%"


def coins(wei: int, currency: str) -> str:
    """An amount of money: `0.01 FIL`."""
    whole, rest = divmod(int(wei), 10**18)
    return f"{whole}.{rest:018}".rstrip("0").rstrip(".") + f" {currency}"


def rule_sentences(rules: Rules) -> list[str]:
    """What the contract holds every update and round to, one sentence each."""
    return [*rules.sentences(), aggregation_sentence(rules.aggregator)]


def aggregation_sentence(identifier: bytes) -> str:
    """How updates become a model, and who can check that."""
    if not any(identifier):
        return (
            "The new model is the mean of the accepted updates, each counted by its weight. Who can show that it is "
            "another one brings it down, by a proof that the contract checks."
        )
    try:
        name = aggregator_named(identifier).describe()
    except EncodingError:
        name = f"a rule that this version does not know (0x{identifier.hex()})"
    return (
        f"The updates become a model by {name}. Everybody can recompute it, but no proof on chain covers it."
    )


def security_sentences(security: Mapping[str, Any], currency: str) -> list[str]:
    """What is at stake, and how long everybody has to object."""
    value = {name: int(one) for name, one in security.items()}
    found = []
    if value["bond"]:
        found.append(f"Whoever states a result loses {coins(value['bond'], currency)} if it is proved wrong.")
    found.append(
        f"Everybody has {spoken(value['challenge_seconds'])} to check a result before it can become final."
    )
    if value["open_seconds"]:
        found.append(
            f"For {spoken(value['open_seconds'])} after a round's opening nothing can be closed, so "
            "that a member whom the "
            "coordinator ignores can submit its update itself."
        )
    if value["stake"]:
        found.append(f"A member must have {coins(value['stake'], currency)} at stake.")
    if value["notice_seconds"]:
        found.append(f"Other rules must be announced {spoken(value['notice_seconds'])} before they hold.")
    return found


def refusal(reason: int) -> tuple[str, str]:
    """(the contract's name, what it means) of a refusal."""
    known = Refusal(reason) if reason in set(Refusal) else None
    if known is None or known is Refusal.NONE:
        return f"reason {reason}", "The contract gave a reason that this version does not know."
    return known.label, known.meaning


def short(text: str) -> str:
    """An address or hash by its ends."""
    return text if len(text) <= 14 else f"{text[:8]}…{text[-4:]}"
