"""What a run reports while it works. The command line shows it; other programs may ignore it."""

from __future__ import annotations

from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.results import RoundRow


class Observer:
    """Ignores every report; override the methods you need. Calls come one at a time; notes about long work can come
    from another thread."""

    def started(self, config: RunConfig, resumed: bool) -> None:
        """The run directory is held and the configuration is resolved."""

    def step(self, title: str) -> None:
        """A step begins."""

    def note(self, text: str) -> None:
        """A fact about the current step."""

    def progress(self, what: str, done: int, total: int) -> None:
        """`done` of `total` units of `what` are finished."""

    def round_done(self, row: RoundRow, total: int) -> None:
        """A round is final or failed; `total` rounds are planned."""

    def ended(self) -> None:
        """The run is over: done, failed or interrupted. Called once, if `started` was."""


class Observers(Observer):
    """Passes each report on to several observers, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def started(self, config: RunConfig, resumed: bool) -> None:
        for one in self._observers:
            one.started(config, resumed)

    def step(self, title: str) -> None:
        for one in self._observers:
            one.step(title)

    def note(self, text: str) -> None:
        for one in self._observers:
            one.note(text)

    def progress(self, what: str, done: int, total: int) -> None:
        for one in self._observers:
            one.progress(what, done, total)

    def round_done(self, row: RoundRow, total: int) -> None:
        for one in self._observers:
            one.round_done(row, total)

    def ended(self) -> None:
        for one in self._observers:
            one.ended()
