"""The RuleBook contract of a federation, typed: announced rules, and the keys that sign for members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import RULE_BOOK, contract_at
from fedvm.chain.call import read
from fedvm.chain.errors import ChainError
from fedvm.chain.events import EventReader, Place, RawEvent, as_told
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import rules_of
from fedvm.chain.prepared import PreparedCall
from fedvm.chain.sender import Receipt, Sender
from fedvm.protocol import Rules


@dataclass(frozen=True)
class RulesAnnounced:
    """Rules were announced that can be adopted from ``adoptable_at`` (Unix seconds) on; they replace any announced
    before."""

    rules_hash: bytes
    rules: Rules
    adoptable_at: int
    at: Place


@dataclass(frozen=True)
class RulesCancelled:
    """The rules announced last will not be adopted."""

    rules_hash: bytes
    at: Place


@dataclass(frozen=True)
class KeyAppointed:
    """From round ``from_round`` on ``key`` signs for ``member``, in place of any appointed before; both are checksummed
    addresses; ``key`` is "" if only the member's own key signs."""

    member: str
    key: str
    from_round: int
    at: Place


@dataclass(frozen=True)
class Announced:
    """Announced rules, and the first and last Unix second in which they can be adopted."""

    rules: Rules
    adoptable_at: int
    adoptable_until: int


NO_KEY = "0x" + 40 * "0"

RuleBookEvent = RulesAnnounced | RulesCancelled


class RuleBookContract:
    """The contract that changes one federation's rules and knows who signs for its members
    (`FederationContract.rule_book`).

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.contract: Contract = contract_at(w3, RULE_BOOK, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    def announce(self, rules: Rules) -> PreparedCall:
        """Announce other rules (owner), in place of any announced before; elements and fraction bits stay."""
        return self._prepared("announceRules", rules.as_tuple())

    def adopt(self) -> PreparedCall:
        """Have the federation adopt the announced rules: between rounds, after their notice (anyone)."""
        return self._prepared("adoptRules")

    def cancel(self) -> PreparedCall:
        """Take an announcement back (owner)."""
        return self._prepared("cancelRules")

    def announced(self) -> Announced | None:
        """What is announced, also where it has expired; None if nothing is."""
        rules, adoptable_at, adoptable_until = read(self.contract, "announcedRules")
        return Announced(rules_of(rules), int(adoptable_at), int(adoptable_until)) if adoptable_at else None

    def appoint_key(
        self, account: LocalAccount, key: str | None, proof: bytes = b""
    ) -> tuple[KeyAppointed, Receipt]:
        """Let a key (hex address) sign the account's updates from the next round on; None: only the account's own key.

        proof: 65 bytes by which the key says so itself, of :class:`~fedvm.protocol.consent.KeyProof` with
        :meth:`key_nonce`. Reverts with ``NotProved`` without it, with ``KeyTaken`` if the key signs for another
        account, and with ``SignsForItself`` if it is a member.
        """
        receipt = self.appointment(key, proof).send(account)
        events = [event for event in self._events.decode(receipt.raw["logs"]) if event.name == "KeyAppointed"]
        if len(events) != 1:
            raise ChainError(
                f"{receipt.tx_hash} appointed no key; is {self.address} a RuleBook of this version?"
            )
        member, key, from_round = (events[0].args[name] for name in ("member", "key", "fromRound"))
        return KeyAppointed(member, "" if key == NO_KEY else key, int(from_round), events[0].at), receipt

    def appointment(self, key: str | None, proof: bytes = b"") -> PreparedCall:
        """The call of :meth:`appoint_key`."""
        return self._prepared("appointKey", _stated(key), proof)

    def giving_up(self) -> PreparedCall:
        """The caller is a key, which signs for nobody from the next round on; what it proved before is void."""
        return self._prepared("giveUpKey")

    def key_nonce(self, key: str) -> int:
        """Number that the next proof of a key (hex address) must state."""
        return int(read(self.contract, "keyNonce", Web3.to_checksum_address(key)))

    def appointed_by(self, key: str) -> str:
        """Checksummed address of the account that a key (hex address) signs for from the next round on, "" if none."""
        member = str(read(self.contract, "appointedBy", Web3.to_checksum_address(key)))
        return "" if member == NO_KEY else member

    def key_of(self, member: str, number: int) -> str:
        """Checksummed address of the key that a member (hex address) had appointed for a round, "" if none."""
        key = str(read(self.contract, "keyOf", Web3.to_checksum_address(member), number))
        return "" if key == NO_KEY else key

    def events(self, first: int = 0, last: int | None = None) -> Iterator[RuleBookEvent]:
        """Events in order, from block ``first`` to ``last`` (None: the head)."""
        for event in self._events.fetch(("RulesAnnounced", "RulesCancelled"), first, last):
            yield _typed(event)

    def _prepared(self, function: str, *arguments: Any) -> PreparedCall:
        return PreparedCall(self.sender, self.contract, f"RuleBook.{function}", arguments)


def keys_in_round(contract: FederationContract, number: int) -> Callable[[str], str]:
    """From a member (hex address) to the key that it had appointed for round `number`, as `RuleBookContract.key_of`."""

    def key_of(member: str) -> str:  # usually asked about few members, so the chain is read only for those
        book = RuleBookContract(contract.w3, contract.rule_book(), sender=contract.sender)
        return book.key_of(member, number)

    return key_of


def _stated(key: str | None) -> str:
    return Web3.to_checksum_address(key) if key else NO_KEY


def _typed(event: RawEvent) -> RuleBookEvent:
    rules_hash = event.args["rulesHash"]
    if event.name == "RulesCancelled":
        return RulesCancelled(rules_hash, event.at)
    with as_told(event.name, event.at.tx_hash):
        rules = rules_of(event.args["rules"])
    return RulesAnnounced(rules_hash, rules, int(event.args["adoptableAt"]), event.at)
