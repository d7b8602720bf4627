"""Kill a coordinator at a chosen step of a real ledger or store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Stands for kill -9: nothing that handles errors may catch it."""


class Crashing:
    """Passes every call on to `inner`, but kills before or after the `nth` call (from 1) of one method."""

    def __init__(self, inner: Any, method: str, when: str, nth: int = 1) -> None:
        self._inner, self._method, self._when, self._left = inner, method, when, nth

    def __getattr__(self, name: str) -> Any:
        target = getattr(self._inner, name)
        return self._killing(target) if name == self._method else target

    def _killing(self, target: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._when == "before":
                raise Killed
            result = target(*arguments, **named)
            if self._left == 0 and self._when == "after":
                raise Killed
            return result

        return call


class HalfSubmitting(Crashing):
    """Submits only the first `count` updates of the second round's batch, then kills."""

    def __init__(self, inner: Any, count: int) -> None:
        super().__init__(inner, "submit", "never")
        self._count = count

    def submit(self, number: int, updates: Any) -> None:
        if number != 2:
            self._inner.submit(number, updates)
            return
        ordered = sorted(updates, key=lambda signed: int(signed.member, 16))
        self._inner.submit(number, ordered[: self._count])
        raise Killed
