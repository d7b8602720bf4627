"""Posts what is urgent to a web address, again and again until it is taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from fedvm.chain.rpc_url import shown
from fedvm.watch.errors import WatchError

SECONDS: Final = 10
LONGEST: Final = 3 * SECONDS
"""Seconds for one post as a whole."""
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
        try:
            parts = urlsplit(url)
            named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            named = False
        if not named:
            raise WatchError(f"{shown(url)} is no address to post to; write https://host/path")
        self._url, self._tell = url, tell
        self._pause, self._next, self._fails = 1.0, 0.0, False
        self._post_on_its_way: _Post | None = None
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
        """What went wrong, "" if nothing. A server that sends its answer drop by drop does not hold up the watch."""
        if self._post_on_its_way is not None and self._post_on_its_way.is_alive():
            return "its answer to an earlier one has no end"
        self._post_on_its_way = post = _Post(self._url, event)
        post.join(LONGEST)
        return "its answer has no end" if post.is_alive() else post.problem


class _Post(threading.Thread):
    """One request. problem: what went wrong, "" if nothing."""

    def __init__(self, url: str, event: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._url, self._event, self.problem = url, event, ""
        self.start()

    def run(self) -> None:
        """Post; of the answer only the status counts, and nothing more is read."""
        try:
            with requests.post(
                self._url, json=self._event, timeout=SECONDS, allow_redirects=False, stream=True
            ) as answer:
                self.problem = "" if 200 <= answer.status_code < 300 else f"HTTP status {answer.status_code}"
        except Exception as error:  # of requests, or of what it uses
            self.problem = type(error).__name__
