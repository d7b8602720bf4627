"""Posts what is urgent to a web address, again and again until it is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from fedvm.chain.rpc_url import shown
from fedvm.watch.errors import WatchError

SECONDS: Final = 10
MOST_KEPT: Final = 1_000
"""Events that wait for an address that takes none; the oldest are dropped then."""
_LONGEST_PAUSE: Final = 300.0


class Webhook:
    """Posts one JSON object an event. The address may hold a key: it is never shown whole. tell: called when posting
    begins to fail, and when it works again.

    Raises:
        WatchError: the address is no http or https URL.
    """

    def __init__(self, url: str, tell: Callable[[str], None]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WatchError(f"{shown(url)} is no address to post to; write https://host/path")
        self._url, self._tell = url, tell
        self._pause, self._next, self._fails = 1.0, 0.0, False
        self.failures = 0

    def deliver(self, waiting: list[dict[str, Any]], *, taken: Callable[[], None]) -> None:
        """Post what waits, the oldest first, and remove what is taken; stops at the first failure, for a growing
        pause. taken: called after each one."""
        del waiting[: max(len(waiting) - MOST_KEPT, 0)]
        if time.monotonic() < self._next:
            return
        while waiting:
            if problem := self._post(waiting[0]):
                self.failures += 1
                if not self._fails:
                    self._tell(f"{shown(self._url)} does not take what is posted ({problem}); trying on")
                self._fails = True
                self._next = time.monotonic() + self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                return
            del waiting[0]
            taken()
            if self._fails:
                self._tell(f"{shown(self._url)} takes what is posted again")
            self._pause, self._next, self._fails = 1.0, 0.0, False

    def _post(self, event: dict[str, Any]) -> str:
        """What went wrong, "" if nothing."""
        try:
            answer = requests.post(self._url, json=event, timeout=SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            return type(error).__name__
        return "" if answer.ok and not answer.is_redirect else f"HTTP status {answer.status_code}"
