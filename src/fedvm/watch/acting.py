"""What a watch does with an account: it challenges false proposals, or answers for its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from eth_account.signers.local import LocalAccount

from fedvm.audit.challenge import Upheld
from fedvm.chain.history import answerer_of
from fedvm.federation.coordinator.answers import OpenQuestion
from fedvm.federation.coordinator.chain_ledger import ChainLedger
from fedvm.federation.coordinator.directory import ledger_of
from fedvm.watch.errors import is_outage, words
from fedvm.watch.events import Event, Kind
from fedvm.watch.look import Looker, Tell

FIRST_PAUSE: Final = 30.0
LONGEST_PAUSE: Final = 3_600.0
"""Seconds until a challenge that failed is tried again, since each try may cost gas: they double."""


class Actor:
    """Acts for one federation. Its account answers for proposals of its own, and challenges those of others.

    A challenge waits for answers, which may take hours: it runs beside the watch, one at a time. What it has asked
    stands on the chain, so that a watch that was killed goes on with it.
    """

    def __init__(self, looker: Looker, account: LocalAccount, tell: Tell) -> None:
        self._looker, self._account, self._tell = looker, account, tell
        self._challenge: _Challenge | None = None
        self._ledger: ChainLedger | None = None
        self._told: tuple[OpenQuestion, ...] = ()
        self._prevented = ""
        self._answerer: tuple[tuple[int, int], str] = ((0, 0), "")
        self._again, self._pause = 0.0, FIRST_PAUSE
        self.challenges = self.answers = 0

    @property
    def open_questions(self) -> int:
        """Questions that the store could not answer at the last look."""
        return len(self._told)

    def act(self) -> None:
        """Do what there is to do now. Raises as `Looker.look`."""
        self._report()
        if not self._looker.is_pending:
            self._told = ()
        elif self._answers():
            self._answer()
        elif self._looker.is_suspicious and self._challenge is None and time.monotonic() >= self._again:
            self._challenge = _Challenge(self._looker.challenger(self._account).challenge)

    def wait(self) -> None:
        """Wait for a challenge that is under way, and tell of it."""
        if self._challenge is not None:
            self._challenge.join()
            self._report()

    def _report(self) -> None:
        challenge = self._challenge
        if challenge is None or challenge.is_alive():
            return
        self._challenge = None
        name = self._looker.subject.name
        if challenge.failure is not None:
            self._looker.standing.examined = (0, 0)  # look at it again
            self._again = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            text = f"the challenge did not come to its end: {challenge.failure}"
            self._tell(Event(Kind.CHALLENGE, name, text, {"upheld": False}))
        elif (upheld := challenge.upheld) is not None:
            self.challenges += 1
            self._pause = FIRST_PAUSE
            wrong = upheld.fraud.name.replace("_", " ").lower()
            text = f"proposal {upheld.attempt} of round {upheld.round} fell: {wrong}; {upheld.reward} wei won"
            fields = {
                "upheld": True,
                "round": upheld.round,
                "attempt": upheld.attempt,
                "fraud": upheld.fraud.name,
            }
            more = {"gas": upheld.gas_used, "questions": upheld.demands, "reward": str(upheld.reward)}
            self._tell(Event(Kind.CHALLENGE, name, text, {**fields, **more}))

    def _answers(self) -> bool:
        """Whether the pending proposal is the account's."""
        contract = self._looker.subject.run.federation_contract
        number = contract.current_round()
        attempt = (number, contract.round(number).attempt)
        if self._answerer[0] != attempt:
            self._answerer = attempt, answerer_of(contract)
        return self._answerer[1] == self._account.address

    def _answer(self) -> None:
        """Answer what is asked. What prevents it, other than an outage, is urgent: the bond is at stake."""
        try:
            self._show_what_is_asked()
        except Exception as error:
            if not is_outage(error) and (why := words(error)) != self._prevented:
                self._prevented = why
                name = self._looker.subject.name
                text = f"questions about the pending proposal cannot be answered: {why}; trying on"
                self._tell(Event(Kind.UNANSWERED, name, text, {"why": why}))
            raise
        self._prevented = ""

    def _show_what_is_asked(self) -> None:
        run, name = self._looker.subject.run, self._looker.subject.name
        ledger = self._ledger = self._ledger or ledger_of(run, self._account)
        number = ledger.current_round()
        sent = ledger.answer_questions(number)
        if sent:
            self.answers += sent
            text = f"{sent} questions about the proposal of round {number} answered"
            self._tell(Event(Kind.ANSWER, name, text, {"round": number, "answers": sent}))
        left = tuple(ledger.open_questions(number))
        for one in left:
            if one not in self._told:
                text = (
                    f"the store cannot answer a question about round {number} that is due at {one.due} (Unix seconds): "
                    "put back what it has lost, or the bond is"
                )
                self._tell(Event(Kind.UNANSWERED, name, text, {"round": number, "due": one.due}))
        self._told = left


class _Challenge(threading.Thread):
    """A challenge that runs beside the watch. upheld and failure: what it came to."""

    def __init__(self, challenge: Callable[[], Upheld | None]) -> None:
        super().__init__(daemon=True)
        self._do = challenge
        self.upheld: Upheld | None = None
        self.failure: str | None = None
        self.start()

    def run(self) -> None:
        try:
            self.upheld = self._do()
        except Exception as error:  # whatever it is, it must be told, and not tried again at once
            self.failure = words(error)
