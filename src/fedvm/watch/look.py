"""One look at a subject: whether the chain is still the one that was seen, what is new, what does not follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3.exceptions import BlockNotFound

from fedvm.audit.challenge import Challenger, Suspicion
from fedvm.audit.errors import AuditError
from fedvm.audit.findings import AuditReport, Finding, Nature, Place
from fedvm.audit.preimages import PreimageFolder
from fedvm.audit.replay import audit
from fedvm.audit.scope import Scope
from fedvm.chain.errors import CallFailed, ChainError, MalformedAnswer, MalformedEvent
from fedvm.chain.federation import FederationContract
from fedvm.chain.federation_types import RoundState
from fedvm.chain.logs import quoted
from fedvm.watch.events import Event, Kind
from fedvm.watch.memory import Checkpoint, Standing
from fedvm.watch.subject import Subject

ASK_AGAIN_SECONDS: Final = 600.0
"""After so long a store is asked again for what it had not, though the chain has nothing new."""
MOST_FINDINGS: Final = 10_000
"""So many are remembered of a subject: a node that lies anew each time must not fill the disk."""
Tell = Callable[[Event], None]

_PENDING: Final = "pending proposal"
"""The check under which a finding about a proposal that is not final yet stands."""
_CONTRACTS: Final = "contracts"
_UNREADABLE: Final = "reading"
"""The check under which it stands that what a node or a store gives cannot be read at all."""


class Looker:
    """Looks at one subject again and again. standing: what is known of it, and is changed here; tell: is called with
    what is new; preimages: a folder with what coordinators published of their trees."""

    def __init__(self, subject: Subject, standing: Standing, tell: Tell, *, preimages: Path) -> None:
        self.subject, self.standing = subject, standing
        self._tell, self._preimages = tell, preimages
        self._nobody: LocalAccount = Account.create()  # a challenger that sends nothing
        self._ask_again = 0.0

    def look(self) -> None:
        """Audit what came since the last look. What a node says that has no form is a finding.

        Raises:
            ChainError: the chain cannot be read now. OSError and Web3Exception mean the same.
        """
        try:
            self._look()
        except (MalformedAnswer, MalformedEvent, CallFailed, AuditError) as error:
            self._unreadable(str(error))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            if isinstance(error, OSError | ChainError):
                raise
            # web3 reads answers before this package does. A watch must not die of what a node says.
            self._unreadable(
                f"an answer of the node cannot be read: {type(error).__name__}: {quoted(str(error))}"
            )
        else:
            self._take([], lambda one: one.check == _UNREADABLE)

    @property
    def is_pending(self) -> bool:
        """Whether the federation has a proposal that can be challenged."""
        contract = self.subject.contract
        number = contract.current_round() if contract is not None and self._is_genuine else 0
        return bool(number) and contract is not None and contract.round(number).state is RoundState.PROPOSED

    @property
    def is_suspicious(self) -> bool:
        """Whether there is something to prove, or to ask, of the pending proposal."""
        return any(one.check == _PENDING for one in self.standing.findings)

    def _look(self) -> None:
        standing, w3 = self.standing, self.subject.w3
        self.subject.refresh()
        self._hold()
        latest = w3.eth.get_block("latest")
        head, head_hash = int(latest["number"]), "0x" + bytes(latest["hash"]).hex()
        is_first = not standing.checkpoints
        begin = self.subject.run.deployment.block if is_first else standing.checkpoints[-1].block + 1
        state = self.subject.state() if self._is_genuine and not is_first else standing.state
        is_stale = is_first or not self._is_genuine or self._lacks
        if is_stale or state != standing.state or self.subject.has_news(begin):
            self._audit()
            state = self.subject.state() if self._is_genuine else ""
        self._examine()
        # Last of all: a look that was cut short is taken again.
        standing.state = state
        standing.keep(Checkpoint(head, head_hash, self._final_round()))

    @property
    def _is_genuine(self) -> bool:
        return all(one.check != _CONTRACTS for one in self.standing.findings)

    @property
    def _lacks(self) -> bool:
        """Whether it is time to ask again for what a store had not."""
        lacking = any(
            one.nature is not Nature.FALSE and one.check != _PENDING for one in self.standing.findings
        )
        return lacking and time.monotonic() >= self._ask_again

    def _hold(self) -> None:
        """Forget what was seen on blocks that have left the chain."""
        standing = self.standing
        gone: list[Checkpoint] = []
        while (
            standing.checkpoints
            and self._hash(standing.checkpoints[-1].block) != standing.checkpoints[-1].hash
        ):
            gone.insert(0, standing.checkpoints.pop())
        if gone:
            since = (
                standing.checkpoints[-1].block + 1
                if standing.checkpoints
                else self.subject.run.deployment.block
            )
            standing.state, standing.examined = "", (0, 0)
            text = f"the chain was reorganised at block {since} or later; what came since is audited again"
            self._tell(Event(Kind.REORGANISATION, self.subject.name, text, {"block": since}))

    def _hash(self, number: int) -> str:
        try:
            return "0x" + bytes(self.subject.w3.eth.get_block(number)["hash"]).hex()
        except BlockNotFound:
            return ""

    def _audit(self) -> None:
        subject, standing = self.subject, self.standing
        self._ask_again = time.monotonic() + ASK_AGAIN_SECONDS
        federation = subject.federation
        contract = subject.contract
        latest = contract.current_round() if contract is not None and self._is_genuine else 0
        open_questions = [
            one.place.round for one in standing.findings if one.nature is not Nature.FALSE and one.place.round
        ]
        since = max(1, min(standing.audited_round + 1, latest, *open_questions))
        report = audit(
            subject.w3,
            subject.run.store,
            federation=federation,
            service=subject.service,
            first_block=subject.run.deployment.block,
            scope=Scope(since) if contract is not None else Scope(rounds=subject.version_rounds()),
        )
        self._take(report.findings, lambda one: one.check != _PENDING and (one.place.round or since) >= since)
        if contract is not None and self._is_genuine:
            for number in range(standing.audited_round + 1, self._final_round() + 1):
                self._tell_round(contract, number, report)

    def _tell_round(self, contract: FederationContract, number: int, report: AuditReport) -> None:
        state = contract.round(number).state.name.lower()
        found = sum(one.place.round == number for one in report.findings)
        text = f"round {number} is {state}; {'nothing found' if not found else f'{found} findings'}"
        self._tell(
            Event(Kind.ROUND, self.subject.name, text, {"round": number, "state": state, "findings": found})
        )

    def _final_round(self) -> int:
        """The latest round that is over."""
        contract = self.subject.contract
        if contract is None or not self._is_genuine:
            return 0
        number = contract.current_round()
        return number if number == 0 or contract.round(number).state.is_over else number - 1

    def _examine(self) -> None:
        """Recompute a pending proposal, each once."""
        contract = self.subject.contract
        if contract is None or not self._is_genuine:
            return
        number = contract.current_round()
        round_ = contract.round(number) if number else None
        if round_ is None or round_.state is not RoundState.PROPOSED:
            self._take([], lambda one: one.check == _PENDING)  # an audit judges what became final
            return
        if self.standing.examined == (number, round_.attempt):
            return
        suspicion = self.challenger(self._nobody).examine()
        found = [] if suspicion is None else [_finding_of(suspicion)]
        self._take(found, lambda one: one.check == _PENDING)
        self.standing.examined = (number, round_.attempt)

    def challenger(self, account: LocalAccount) -> Challenger:
        """A challenger of the federation's pending proposal."""
        run = self.subject.run
        return Challenger(
            run.federation_contract,
            run.store,
            account,
            source=PreimageFolder(self._preimages),
            first_block=run.deployment.block,
        )

    def _unreadable(self, message: str) -> None:
        self._take([Finding(_UNREADABLE, Place(), message)], lambda one: one.check == _UNREADABLE)

    def _take(self, found: Iterable[Finding], covers: Callable[[Finding], bool]) -> None:
        """Tell of findings that are new, and of those that were looked for again and not made. covers: whether a
        finding would have been made again."""
        now = list(dict.fromkeys(found))
        known = self.standing.findings
        for one in now:
            if one not in known:
                self._tell(told_of(Kind.FINDING, self.subject.name, one))
        gone = [one for one in known if covers(one) and one not in now]
        for one in gone:
            self._tell(told_of(Kind.CLEARED, self.subject.name, one))
        kept = [*(one for one in known if one not in gone), *(one for one in now if one not in known)]
        self.standing.findings = kept[-MOST_FINDINGS:]


def told_of(kind: Kind, subject: str, finding: Finding) -> Event:
    """The event of a finding."""
    place = str(finding.place)
    text = f"{finding.check}: {finding.nature}" + (f" ({place})" if place else "") + f": {finding.message}"
    where = {name: value for name, value in asdict(finding.place).items() if value not in (None, "")}
    fields = {
        "check": finding.check,
        "nature": finding.nature.value,
        "message": finding.message,
        "place": where,
    }
    return Event(kind, subject, text, fields)


def _finding_of(suspicion: Suspicion) -> Finding:
    place = Place(round=suspicion.round)
    if suspicion.fraud is not None:
        wrong = suspicion.fraud.name.replace("_", " ").lower()
        return Finding(_PENDING, place, f"the pending proposal {suspicion.attempt} is false: {wrong}")
    message = (
        f"the pending proposal {suspicion.attempt} does not follow from what is published: a challenger has to ask for "
        f"{suspicion.questions} preimages"
    )
    return Finding(_PENDING, place, message, Nature.MISSING)
