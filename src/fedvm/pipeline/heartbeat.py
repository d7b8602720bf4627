"""Occasional notes from long work that has no progress to count."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fedvm.pipeline.events import Observer

_EVERY: Final = 20.0


@contextmanager
def heartbeat(observer: Observer, doing: str, every: float = _EVERY) -> Iterator[None]:
    """Within this context the observer is told at regular intervals how long the work has been going on.

    For work that starts no processes: forking beside a thread is not safe.
    """
    over, begun = threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(every):
            observer.note(f"still {doing}, {time.monotonic() - begun:.0f} s")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
