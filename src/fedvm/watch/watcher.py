"""The loop of a watch: look at every subject, act, keep the place, pause; through outages, until it is told to end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eth_account.signers.local import LocalAccount

from fedvm.watch.acting import Actor
from fedvm.watch.errors import words
from fedvm.watch.events import URGENT, Event, Kind
from fedvm.watch.look import Looker
from fedvm.watch.memory import Memory
from fedvm.watch.metrics import Metrics
from fedvm.watch.subject import Subject
from fedvm.watch.webhook import Webhook

LONGEST_PAUSE: Final = 300.0
"""Seconds between two looks at a chain that does not answer, at most."""


@dataclass(frozen=True)
class Terms:
    """every: seconds between two looks; account: challenges and answers, None to send nothing; preimages: folder with
    what coordinators published of their trees."""

    every: float = 30.0
    account: LocalAccount | None = None
    preimages: Path = Path("preimages")


class Watcher:
    """Watches some subjects. show: is called with every event, before it is kept as told."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        memory: Memory,
        terms: Terms,
        *,
        show: Callable[[Event], None],
        metrics: Metrics | None = None,
        webhook: str | None = None,
    ) -> None:
        self._memory, self._terms, self._show = memory, terms, show
        self._metrics = metrics or Metrics()
        self._webhook = None if webhook is None else Webhook(webhook, self._tell_webhook)
        self._lookers = [
            Looker(one, memory.of(one.name), self._tell, preimages=terms.preimages) for one in subjects
        ]
        account = terms.account
        self._actors = {
            one.subject.name: Actor(one, account, self._tell) for one in self._lookers if account is not None
        }
        self._outages: dict[str, _Outage] = {}
        self._unkept = False

    @property
    def is_clean(self) -> bool:
        """Whether nothing that was found stands."""
        return not any(one.standing.findings for one in self._lookers)

    def look(self) -> None:
        """Look at every subject once. Raises what prevents it: ChainError, OSError or Web3Exception where one cannot be
        read."""
        for looker in self._lookers:
            self._look_at(looker)
            if (actor := self._actors.get(looker.subject.name)) is not None:
                actor.wait()
                looker.look()  # what has become of the proposal
        self._keep()

    def follow(self) -> None:
        """Look again and again, until the process is told to end. Outages are sat out, with growing pauses."""
        while True:
            begun = time.monotonic()
            for looker in self._lookers:
                outage = self._outages.setdefault(looker.subject.name, _Outage())
                if time.monotonic() < outage.until:
                    continue
                try:
                    self._look_at(looker)
                # Whatever goes wrong with one subject, the others are watched, and this one is looked at again.
                except Exception as error:
                    self._metrics.failed(looker.subject.name)
                    outage.began(self._terms.every)
                    self._tell_outage(looker.subject.name, outage, words(error))
                else:
                    if outage.told:
                        self._tell(Event(Kind.RECOVERED, looker.subject.name, "the chain can be read again"))
                    outage.ended()
                self._keep_if_it_can_be()
            time.sleep(max(0.05, self._terms.every - (time.monotonic() - begun)))

    def _look_at(self, looker: Looker) -> None:
        looker.look()
        if (actor := self._actors.get(looker.subject.name)) is not None:
            actor.act()
            self._metrics.acted(looker.subject.name, actor)
        self._metrics.looked(looker.subject.name, looker.standing, time.time())

    def _keep(self) -> None:
        """Write down what was told, then post it: what a killed process had not posted is posted by the next."""
        self._memory.save()
        waiting = self._memory.undelivered
        if self._webhook is not None:
            self._webhook.deliver(waiting, taken=self._memory.save)
        self._metrics.waiting(len(waiting))

    def _keep_if_it_can_be(self) -> None:
        """As `_keep`; a full disk does not end the watch."""
        try:
            self._keep()
        except OSError as error:
            if not self._unkept:
                text = f"{self._memory.path} cannot be written ({error.strerror}): after a restart it is all told anew"
                self._show(Event(Kind.OUTAGE, "", text, {"why": str(error.strerror)}))
            self._unkept = True
        else:
            self._unkept = False

    def _tell(self, event: Event) -> None:
        self._show(event)
        self._metrics.told(event.kind)
        if self._webhook is not None and event.kind in URGENT:
            self._memory.undelivered.append(event.to_json())

    def _tell_webhook(self, text: str) -> None:
        self._tell(Event(Kind.WEBHOOK, "", text))

    def _tell_outage(self, subject: str, outage: _Outage, why: str) -> None:
        if not outage.told:
            outage.told = why
            text = f"the chain or the store cannot be read ({why}); trying on"
            self._tell(Event(Kind.OUTAGE, subject, text, {"why": why}))


@dataclass
class _Outage:
    """Of one subject. until: no look before this (time.monotonic); told: what was said of it, "" if there is none."""

    until: float = 0.0
    pause: float = 0.0
    told: str = ""

    def began(self, every: float) -> None:
        """It begins, or goes on."""
        self.pause = min(2 * self.pause or every, LONGEST_PAUSE)
        self.until = time.monotonic() + self.pause * random.uniform(0.5, 1.0)

    def ended(self) -> None:
        """It is over."""
        self.until, self.pause, self.told = 0.0, 0.0, ""
