"""Checks one round or one version again, with the auditor's own code."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.errors import AuditError
from fedvm.audit.findings import CHECKS, Finding, Ledger, Place
from fedvm.audit.open_round import FinalRound
from fedvm.audit.rounds import FederationReplay
from fedvm.audit.versions import VersionReplay
from fedvm.chain.genuine import deviations, service_deviations
from fedvm.chain.model_service import ModelService, VersionRegistered
from fedvm.web.source import Source


@dataclass(frozen=True)
class Checked:
    """What was checked, and what does not follow."""

    passed: Counter[str]
    findings: list[Finding]
    seconds: float

    @property
    def rows(self) -> list[tuple[str, int, int, str]]:
        """(check, times it held, times it failed, what it says)."""
        failed = Counter(finding.check for finding in self.findings)
        return [
            (name, self.passed[name], failed[name], meaning)
            for name, meaning in CHECKS.items()
            if self.passed[name] or failed[name]
        ]

    @property
    def total(self) -> int:
        """How many checks were made."""
        return sum(self.passed.values()) + len(self.findings)


class _About(Ledger):
    """Keeps what is said of one round or version; the rest is dropped."""

    def __init__(self, round_: int | None, version: int | None) -> None:
        super().__init__()
        self._round, self._version = round_, version

    def check(self, name: str, holds: bool, place: Place, message: str) -> bool:
        """Record the outcome if it is about that, and return it."""
        about = place.round == self._round if self._round is not None else place.version == self._version
        if about or place == Place():
            return super().check(name, holds, place, message)
        return holds


class _One(ModelService):
    """A service of which one version is looked at."""

    wanted = 0

    def versions(self, first: int = 0, last: int | None = None) -> Iterator[VersionRegistered]:
        """The registration of that version."""
        return (event for event in super().versions(first, last) if event.id == self.wanted)


class _Enough(Exception):
    """The round is over in the replay."""


def check_round(source: Source, number: int) -> Checked:
    """Replay the federation up to the end of a round, and say what was checked of it.

    Raises AuditError and ChainError.
    """
    begun, ledger = time.monotonic(), _About(number, None)
    _replayed(source, ledger, until=number)
    return Checked(ledger.passed, ledger.findings, time.monotonic() - begun)


def check_version(source: Source, number: int, round_: int) -> Checked:
    """Compile a version again and compare it with the chain; and its weights with the model of its round.

    Raises AuditError and ChainError.
    """
    if source.service is None:
        raise AuditError("no service is named here")
    begun, ledger = time.monotonic(), _About(None, number)
    finals: dict[str, dict[int, FinalRound]] = {}
    if source.federation is not None and round_:
        finals[source.federation.address] = _replayed(source, _About(None, number), until=round_)
    for message in service_deviations(source.w3, source.service.address, first_block=source.first_block):
        ledger.check("contracts", False, Place(), message)
    service = _One(source.w3, source.service.address)
    service.wanted = number
    VersionReplay(ChainReader(source.w3), service, source.store, ledger, finals).run(source.first_block)
    return Checked(ledger.passed, ledger.findings, time.monotonic() - begun)


def _replayed(source: Source, ledger: Ledger, until: int) -> Any:
    federation = source.federation
    if federation is None:
        raise AuditError("no federation is named here")
    wrong = list(deviations(source.w3, federation.address))
    for message in wrong or [""]:
        ledger.check("contracts", not message, Place(), message)
    replay = FederationReplay(ChainReader(source.w3), federation, source.store, ledger)

    def look(done: int, events: int) -> None:
        if until in replay.finals:
            raise _Enough

    with suppress(_Enough):
        replay.run(source.first_block, look)
    return replay.finals
