"""The Federation contract, typed, on any chain web3 can reach."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.artifacts import DIRECT_SUBMISSIONS, FEDERATION, ROLLUPS, contract_at
from fedvm.chain.call import read
from fedvm.chain.errors import ChainError
from fedvm.chain.events import EventReader, RawEvent
from fedvm.chain.factory import DEFAULT_SALT, FederationFactory
from fedvm.chain.federation_types import (
    EVENT_TYPES,
    CoordinatorReplaced,
    FederationEvent,
    Included,
    Proposal,
    RollupSubmitted,
    Round,
    RoundFailed,
    RoundFinal,
    RoundOpened,
    RoundProposed,
    SubmittedDirectly,
    SuccessorNamed,
    UpdateAccepted,
    UpdateRefused,
    VectorForfeited,
    rules_of,
    security_of,
    typed_event,
)
from fedvm.chain.prepared import PreparedCall
from fedvm.chain.sender import Receipt, Sender
from fedvm.evm.limits import MAX_CALLDATA_BYTES
from fedvm.protocol import Rules, Security, Submission
from fedvm.protocol.address import Address, by_address
from fedvm.protocol.rules import WEIGHTED_MEAN
from fedvm.protocol.sealed.rules import SealedRules

Event = TypeVar("Event")
_SUBMIT_BYTES = 4 + 3 * 32
"""Calldata of ``submit`` without updates: selector, round, and where the array lies and how long it is."""

_SIDECARS = {
    ROLLUPS: (RollupSubmitted.__name__,),
    DIRECT_SUBMISSIONS: (SubmittedDirectly.__name__, Included.__name__, VectorForfeited.__name__),
}
"""Events of a federation that a contract beside it tells."""


@dataclass(frozen=True)
class Submitted:
    """The contract's verdicts on a batch of updates; events in the order of the members' addresses."""

    accepted: tuple[UpdateAccepted, ...]
    refused: tuple[UpdateRefused, ...]
    receipts: tuple[Receipt, ...]

    @property
    def gas_used(self) -> int:
        return sum(receipt.gas_used for receipt in self.receipts)


class FederationContract:
    """A deployed Federation. Reading needs no account. The coordinator's methods take the account that signs;
    those of owner and members prepare a call, which an account then sends.

    Reverts surface as :class:`~fedvm.chain.errors.TransactionFailed` with the contract's error decoded.
    """

    def __init__(self, w3: Web3, address: str, *, sender: Sender | None = None) -> None:
        self.w3 = w3
        self.contract: Contract = contract_at(w3, FEDERATION, address)
        self.address: str = self.contract.address
        self.sender = sender or Sender(w3)
        self._events = EventReader(w3, self.contract, self.sender.network)

    @classmethod
    def create(
        cls,
        factory: FederationFactory,
        account: LocalAccount,
        *,
        coordinator: str,
        rules: Rules,
        members: Sequence[str],
        model_root: bytes,
        model_cid: bytes,
        security: Security,
        owner: str | None = None,
        open_membership: bool = False,
        sealed: SealedRules | None = None,
        salt: bytes = DEFAULT_SALT,
    ) -> tuple[FederationContract, Receipt]:
        """Open a federation over the model of ``model_root`` (32 bytes) and ``model_cid`` (binary CIDv1).

        ``account`` pays, and owns the federation unless ``owner`` is given. ``security`` fixes the bond, stake, fees
        and times. With ``open_membership`` anyone may :meth:`join` with ``security.stake``, which must then be
        positive, and ``members`` may be empty. With ``sealed`` its rounds are sealed by these rules, for ever. Account
        and ``salt`` decide the address: :meth:`FederationFactory.address_of`.

        Raises :class:`~fedvm.chain.errors.TransactionFailed`: a parameter is refused, or the account opened a
        federation with this salt before.
        """
        parameters = cls.parameters(
            owner=owner or account.address,
            coordinator=coordinator,
            rules=rules,
            security=security,
            open_membership=open_membership,
            members=members,
            model_root=model_root,
            model_cid=model_cid,
        )
        if sealed is None:
            receipt = factory.create(account, parameters, salt)
        else:
            receipt = factory.create_sealed(account, parameters, sealed, salt)
        return cls(factory.w3, factory.address_of(account.address, salt), sender=factory.sender), receipt

    @staticmethod
    def parameters(
        *,
        owner: str,
        coordinator: str,
        rules: Rules,
        members: Sequence[str],
        model_root: bytes,
        model_cid: bytes,
        security: Security,
        open_membership: bool = False,
    ) -> tuple[Any, ...]:
        """What a factory takes: the fields of Solidity's ``FederationParameters``. Arguments as for :meth:`create`."""
        terms = (rules.as_tuple(), security.as_tuple(), open_membership)
        return (owner, coordinator, *terms, list(members), model_root, model_cid)

    @classmethod
    def deploy(cls, w3: Web3, account: LocalAccount, **parameters: Any) -> tuple[FederationContract, Receipt]:
        """:meth:`create` with a factory of its own, for a chain that has none: a transaction for each contract
        that federations are clones of, one for the factory, and one to open the federation."""
        factory = FederationFactory.deploy(w3, account)
        return cls.create(factory, account, **parameters)

    # Rounds

    def open_round(self, account: LocalAccount) -> tuple[RoundOpened, Receipt]:
        """Open the next round (coordinator)."""
        receipt = self._send(account, "openRound")
        return self._only(receipt, RoundOpened), receipt

    def submit(self, account: LocalAccount, number: int, submissions: Iterable[Submission]) -> Submitted:
        """Relay signed updates (coordinator), sorted by member address, in as few messages as hold them.

        Updates the rules refuse come back as events; a member below one accepted before makes the contract
        revert with ``MembersOutOfOrder``.
        """
        ordered = sorted(submissions, key=lambda submission: by_address(submission.member))
        receipts = []
        for batch in self._batches(number, ordered):
            tuples = [submission.as_tuple() for submission in batch]
            receipts.append(self._send(account, "submit", number, tuples))
        events = [event for receipt in receipts for event in self.events_of(receipt)]
        return Submitted(
            tuple(event for event in events if isinstance(event, UpdateAccepted)),
            tuple(event for event in events if isinstance(event, UpdateRefused)),
            tuple(receipts),
        )

    def propose(
        self, account: LocalAccount, number: int, proposal: Proposal, *, bonded: bool = False
    ) -> tuple[RoundProposed, Receipt]:
        """Propose the result of a round that has its quorum, and pay in what the bond lacks: the coordinator, or after
        its time anyone where :meth:`is_for_all`.

        bonded: whether it is the coordinator's first proposal over its roll-up, which has the bond already. Raises
        TransactionFailed with ``OtherPremises`` if the round does not hold the updates it was computed from.
        """
        lacking = 0 if bonded else self.lacking_bond(account.address)
        receipt = self._send(account, "propose", number, proposal.as_tuple(), value=lacking)
        return self._only(receipt, RoundProposed), receipt

    def lacking_bond(self, account: str) -> int:
        """Wei that an account (hex address) must send along with a statement that takes the bond."""
        return max(0, self.security().bond - self.owed(account))

    def is_for_all(self, round_: Round) -> bool:
        """Whether anyone may propose in an open or submitted round once its ``until`` is past: it was rolled up, and
        the rules name the weighted mean, which alone can be disputed."""
        return round_.rolled_up and self._read("aggregator") == WEIGHTED_MEAN

    def fails_after(self, round_: Round) -> int:
        """Unix seconds after which anyone may fail an open or submitted round."""
        return round_.until + (self.security().challenge_seconds if self.is_for_all(round_) else 0)

    def finalize_round(self, account: LocalAccount, number: int) -> tuple[RoundFinal, Receipt]:
        """Make a proposal final after its challenge window (anyone may)."""
        receipt = self._send(account, "finalizeRound", number)
        return self._only(receipt, RoundFinal), receipt

    def fail_round(self, account: LocalAccount, number: int) -> tuple[RoundFailed, Receipt]:
        """End a round without a result: the coordinator may while the quorum is missing, anyone after
        :meth:`fails_after`."""
        receipt = self._send(account, "failRound", number)
        return self._only(receipt, RoundFailed), receipt

    def finalize_call(self, number: int) -> PreparedCall:
        """The transaction of :meth:`finalize_round`."""
        return self._prepared("finalizeRound", number)

    def fail_call(self, number: int) -> PreparedCall:
        """The transaction of :meth:`fail_round`."""
        return self._prepared("failRound", number)

    # Membership: what an owner or a member sends

    def add_members(self, members: Sequence[str]) -> PreparedCall:
        """Invite members (hex addresses) between rounds (owner)."""
        return self._prepared("addMembers", [Web3.to_checksum_address(member) for member in members])

    def remove_member(self, member: str) -> PreparedCall:
        """Put a member (hex address) out between rounds, not below the quorum (owner)."""
        return self._prepared("removeMember", Web3.to_checksum_address(member))

    def join(self, account: str) -> PreparedCall:
        """Become a member between rounds, where membership is open, and pay in what the stake lacks; account: hex
        address of whoever joins."""
        lacking = max(0, self.security().stake - self.stake_of(account))
        return self._prepared("join", value=lacking)

    def quit(self) -> PreparedCall:
        """End one's membership, at any time (member)."""
        return self._prepared("quit")

    def replace_coordinator(self, coordinator: str) -> PreparedCall:
        """Have another account (hex address) open rounds and propose, from the next round on (owner)."""
        return self._prepared("replaceCoordinator", Web3.to_checksum_address(coordinator))

    # Bonds and stakes

    def deposit(self, amount: int) -> PreparedCall:
        """Pay in ``amount`` wei for future bonds."""
        return self._prepared("deposit", value=amount)

    def stake(self, amount: int) -> PreparedCall:
        """Add ``amount`` wei to one's stake (member)."""
        return self._prepared("stake", value=amount)

    def unstake(self) -> PreparedCall:
        """Let one's stake be owed; possible when the last round it counts in is over, and, where membership is open,
        after :meth:`quit`. While a rolled-up round is not over it is announced only."""
        return self._prepared("unstake")

    def withdraw(self, to: str | None = None) -> PreparedCall:
        """Fetch all that one is owed, or have it sent to another account (hex address)."""
        return self._prepared("withdraw") if to is None else self._prepared("withdrawTo", to)

    # State

    def owner(self) -> str:
        return str(self._read("owner"))

    def coordinator(self) -> str:
        return str(self._read("coordinator"))

    def successor(self) -> str | None:
        """Address of who coordinates from the next round on, if the owner named somebody while a round goes on."""
        named: str | None = None
        for event in self.events([CoordinatorReplaced, SuccessorNamed]):
            named = event.successor if isinstance(event, SuccessorNamed) else None
        return named

    def rules(self) -> Rules:
        return rules_of(self._read("rules"))

    def security(self) -> Security:
        """Bond, stake, fees and windows, which never change."""
        return self._security

    @cached_property
    def _security(self) -> Security:
        return security_of(self._read("security"))

    def disputes(self) -> str:
        """Address of the contract that judges disputes about proposals."""
        return self._disputes

    @cached_property
    def _disputes(self) -> str:
        return str(self._read("disputes"))  # fixed at creation, like the next three addresses

    def rule_book(self) -> str:
        """Address of the contract that changes the rules (`fedvm.chain.rule_book.RuleBookContract`)."""
        return self._rule_book

    @cached_property
    def _rule_book(self) -> str:
        return str(self._read("ruleBook"))

    def rollups(self) -> str:
        """Address of the contract that takes roll-ups and judges disputes about them; in a sealed federation that of
        `fedvm.chain.sealed_rounds.SealedRoundsContract`."""
        return self._rollups

    @cached_property
    def _rollups(self) -> str:
        return str(self._read("rollups"))

    def direct_submissions(self) -> str:
        """Address of the contract that takes updates which members submit themselves
        (`fedvm.chain.direct.DirectSubmissionsContract`); in a sealed federation that of
        `fedvm.chain.epochs.EpochsContract`."""
        return self._direct_submissions

    @cached_property
    def _direct_submissions(self) -> str:
        return str(self._read("directSubmissions"))

    def left_in(self, address: str) -> int:
        """The latest round at the time when an account left of its own accord, 0 if it never did."""
        return int(self._read("leftIn", self.w3.to_checksum_address(address)))

    def stake_changed_at(self, address: str) -> int:
        """Unix seconds of the latest change of an account's stake."""
        return int(self._read("stakeChangedAt", self.w3.to_checksum_address(address)))

    def owed(self, address: str) -> int:
        """Wei that an account may withdraw or use for a bond."""
        return int(self._read("owed", address))

    def stake_of(self, address: str) -> int:
        """Wei that a member has at stake."""
        return int(self._read("stakeOf", self.w3.to_checksum_address(address)))

    def rules_hash(self) -> bytes:
        answer: bytes = self._read("rulesHash")
        return answer

    def model_root(self) -> bytes:
        """Root of the model that the next round trains from."""
        answer: bytes = self._read("modelRoot")
        return answer

    def current_round(self) -> int:
        """Number of the latest round that was opened; 0 before the first."""
        return int(self._read("currentRound"))

    def round(self, number: int) -> Round:
        return Round.of(self._read("round", number))

    def opening(self, number: int) -> RoundOpened:
        """How a round was opened. Raises ChainError if it never was."""
        block = self.round(number).opened_in
        for event in self.events([RoundOpened], first=block, last=block) if block else ():
            if isinstance(event, RoundOpened) and event.round == number:
                return event
        raise ChainError(f"round {number} of {self.address} was never opened")

    def open_membership(self) -> bool:
        """Whether anyone may join with a stake."""
        return bool(self._read("openMembership"))

    def members(self) -> list[Address]:
        """Members in ascending order of address.

        The contract has no list of them, so their events are read, from the latest back until there are as many as it
        counts: not further than to its creation, wherever that was.
        """
        is_in: dict[Address, bool] = {}
        missing = self.member_count()
        events = self._events.fetch_back(("MemberAdded", "MemberRemoved"))
        while missing and (event := next(events, None)) is not None:
            member = Address(event.args["member"])
            if member not in is_in:
                is_in[member] = event.name == "MemberAdded"
                missing -= is_in[member]
        return sorted((member for member, there in is_in.items() if there), key=by_address)

    def member_count(self) -> int:
        """Number of members."""
        return int(self._read("memberCount"))

    def is_member(self, address: str) -> bool:
        return bool(self._read("isMember", address))

    # Events

    def events(
        self, kinds: Sequence[type[Any]] = (), first: int = 0, last: int | None = None
    ) -> Iterator[FederationEvent]:
        """Events in order, of the given dataclasses or all, from block ``first`` to ``last`` (None: the
        head)."""
        names = [kind.__name__ for kind in kinds] or list(EVENT_TYPES)
        elsewhere = {name for told in _SIDECARS.values() for name in told}
        own = [name for name in names if name not in elsewhere]
        sources = [self._events.fetch(own, first, last)] if own else []
        for contract, told in _SIDECARS.items():
            if wanted := [name for name in names if name in told]:
                sources.append(self._sidecars[contract].fetch(wanted, first, last))
        for event in heapq.merge(*sources, key=_order):
            yield typed_event(event)

    def events_of(self, receipt: Receipt) -> list[FederationEvent]:
        """This contract's events in one transaction."""
        decoded = self._events.decode(receipt.raw["logs"])
        return [typed_event(event) for event in decoded if event.name in EVENT_TYPES]

    def _only(self, receipt: Receipt, kind: type[Event]) -> Event:
        found = [event for event in self.events_of(receipt) if isinstance(event, kind)]
        if len(found) != 1:
            raise ChainError(
                f"{receipt.tx_hash} holds {len(found)} {kind.__name__} events, not one; "
                f"is {self.address} a Federation of this version?"
            )
        return found[0]

    def _send(self, account: LocalAccount, function: str, *arguments: Any, value: int = 0) -> Receipt:
        return self.sender.transact(account, self.contract, f"Federation.{function}", *arguments, value=value)

    def _prepared(self, function: str, *arguments: Any, value: int = 0) -> PreparedCall:
        return PreparedCall(self.sender, self.contract, f"Federation.{function}", arguments, value)

    @cached_property
    def _sidecars(self) -> dict[str, EventReader]:
        """Of each contract beside the federation that tells events of it."""
        addresses = {ROLLUPS: self.rollups(), DIRECT_SUBMISSIONS: self.direct_submissions()}
        return {
            name: EventReader(self.w3, contract_at(self.w3, name, address), self.sender.network)
            for name, address in addresses.items()
        }

    def _read(self, function: str, *arguments: Any) -> Any:
        return read(self.contract, function, *arguments)

    def _batches(self, number: int, ordered: Sequence[Submission]) -> Iterator[Sequence[Submission]]:
        batch: list[Submission] = []
        size = _SUBMIT_BYTES
        for submission in ordered:
            if batch and size + submission.encoded_bytes > MAX_CALLDATA_BYTES:
                yield batch
                batch, size = [], _SUBMIT_BYTES
            batch.append(submission)
            size += submission.encoded_bytes
        if batch:
            yield batch


def _order(event: RawEvent) -> tuple[int, int]:
    return event.at.block_number, event.at.log_index
