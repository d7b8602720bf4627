"""Keeps an index up to date in a thread of its own, while pages are served from it."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from web3.exceptions import Web3Exception

from fedvm.chain.errors import ChainError
from fedvm.rundir.deployment import Deployment
from fedvm.store import StoreError
from fedvm.web.errors import WebError
from fedvm.web.site import Site
from fedvm.web.source import Source, open_source
from fedvm.web.sync import Reader

_LOG = logging.getLogger(__name__)
_LEAST_SECONDS = 1.0


class Follower:
    """Follows the chain of a site; a context manager. While the chain cannot be read, the pages say why and show what
    is known."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._sources: list[Source] = []
        self._deployed: Deployment | None = None
        self._stop, self._read_once = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="index", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        self.site.source = None
        for source in self._sources:
            source.close()

    def wait(self, seconds: float) -> None:
        """Wait until the chain was read once, or found not to be readable, but no longer than so many seconds."""
        self._read_once.wait(seconds)

    def read(self) -> None:
        """Bring the index up to the head once. Raises what opening and reading raise."""
        source = self._opened()
        Reader(self.site.index, source).read()
        _ = self.site.chronicle  # computed here, so that no visitor waits for it

    def _opened(self) -> Source:
        """The source, opened again when the run has deployed more."""
        target = self.site.target
        deployed = None if target.run is None else Deployment.load(target.run)
        if self.site.source is not None and deployed == self._deployed:
            return self.site.source
        source = open_source(target)
        self._sources.append(source)  # pages may still read from the one before, so all are closed at the end
        self.site.source, self._deployed = source, deployed
        return source

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self.read()
                self.site.problem = ""
            except (ChainError, WebError, StoreError, Web3Exception, OSError) as error:
                waiting = self.site.network is None and self.site.target.run is not None
                self.site.problem = "" if waiting else f"The chain cannot be read now: {str(error)[:300]}"
            except Exception:  # a page that shows what is known is better than none
                _LOG.exception("reading the chain failed")
                self.site.problem = "The chain cannot be read now: the server's output says why."
            self._read_once.set()
            network = self.site.network
            self._stop.wait(max(_LEAST_SECONDS, network.poll_seconds if network is not None else 0.0))
