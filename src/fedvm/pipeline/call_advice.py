"""What to do next when a contract refuses what an owner or a member sends."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from fedvm.chain.errors import TransactionFailed

Reason = list[str]
"""The arguments of a contract's error, as `fedvm.chain.revert` shows them."""


def advice_on(error: TransactionFailed, owner: str) -> str | None:
    """The refusal with a way out of it, None where there is none to give. owner: address of the contract's owner."""
    found = re.fullmatch(r"(\w+)\((.*)\)", error.reason)
    if found is None:
        return None
    name, arguments = found[1], found[2].split(", ")
    if name in _OWNERS:
        return (
            f"{error.reason}: only the owner may do this, {owner}. Give its key (--key-file or PRIVATE_KEY), or print "
            "the transaction for it with --unsigned"
        )
    advice = _ADVICE.get(name)
    return None if advice is None else f"{error.reason}: {advice(arguments)}"


def utc(seconds: int) -> str:
    """A Unix time for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


_OWNERS: Final = frozenset({"NotOwner", "OwnableUnauthorizedAccount"})
_ADVICE: Final[dict[str, Callable[[Reason], str]]] = {
    # rules
    "NothingAnnounced": lambda _: "no rules are announced. Announce some: fedvm rules announce",
    "NoticeNotOver": lambda said: (
        f"members have notice of the new rules until {utc(int(said[0]))}. Give the same command after that"
    ),
    "AnnouncementExpired": lambda said: (
        f"the rules could be adopted until {utc(int(said[0]))}. The owner announces them anew: fedvm rules announce"
    ),
    "RuleFixed": lambda said: f"{said[0]} belongs to the model, and stays with the federation. Leave it out",
    "InvalidRule": lambda said: f"the contract takes no such {said[0]}. Choose another value",
    "QuorumUnreachable": lambda said: (
        f"with {said[0]} members the quorum of {said[1]} could never be reached. Add members, or lower min_clients"
    ),
    "AggregateCouldOverflow": lambda said: (
        f"{said[0]} members of weight {said[1]} could overflow the sum. Lower max_examples, or have fewer members"
    ),
    "RoundStillOpen": lambda said: (
        f"round {said[0]} is neither final nor failed. Wait until its coordinator has ended it, then give the same "
        "command"
    ),
    "InvalidEvidence": lambda said: f"the contract takes no such {said[0]}. Choose another value",
    # members and money
    "AlreadyMember": lambda said: f"{said[0]} is a member already. Leave it out",
    "KeyOfMember": lambda said: f"{said[0]} signs for a member. It gives that up first: fedvm keys give-up",
    "UnknownMember": lambda said: f"{said[0]} is no member. fedvm members list shows who is",
    "ByInvitationOnly": lambda _: (
        "members are invited here. Ask the owner to add your address: fedvm members add"
    ),
    "StakeBelowMinimum": lambda said: (
        f"{said[0]} wei are at stake, {said[1]} are needed. Add what is lacking: fedvm members stake"
    ),
    "StillMember": lambda _: "the stake stands for the membership. End that first: fedvm members quit",
    "NoStake": lambda said: f"{said[0]} has nothing at stake. fedvm members list shows what each member has",
    "StakeLocked": lambda said: (
        f"the stake answers for an update in round {said[0]}. Give the same command when that round is over"
    ),
    "NothingOwed": lambda said: f"{said[0]} is owed nothing. After fedvm members unstake it is",
    # the service
    "UnknownVersion": lambda said: (
        f"there is no version {said[0]}. fedvm service versions lists those there are"
    ),
    "NotPassed": lambda said: (
        f"version {said[0]} has never served: it has not passed its gate. fedvm service versions shows which have"
    ),
    "InvalidFee": lambda said: (
        "a fee needs a --treasury"
        if said[0] == "treasury"
        else "at most half of a fee may go to the treasury. Lower --treasury-share to 0.5"
    ),
}
