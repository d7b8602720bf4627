"""What all pages share: the index, the state of the chain, and how pages are made."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import fedvm
from fedvm.chain.endpoint import Endpoint
from fedvm.chain.networks import EMBEDDED, Network
from fedvm.rundir.target import Target
from fedvm.web.artefacts import Artefacts
from fedvm.web.chronicle import Chronicle, VersionFacts
from fedvm.web.database import Index
from fedvm.web.render import Renderer
from fedvm.web.source import Source


class NotThere(LookupError):
    """There is no such page."""


@dataclass(frozen=True)
class Header:
    """What every page says: title, state of the index, kind of chain, and what keeps the pages from being up to date.
    waiting: nothing is on a chain yet; reading: the chain was not read to its head once."""

    title: str
    revision: str
    block: int
    is_file: bool
    is_local: bool
    network: str
    chain_id: int
    federation: str
    service: str
    explorer: str | None
    problem: str
    waiting: bool
    reading: bool
    fedvm: str = fedvm.__version__


class Site:
    """The pages of one federation. source: None before the chain could be opened; problem: why the index is behind."""

    def __init__(self, index: Index, target: Target, renderer: Renderer) -> None:
        self.index, self.target, self.renderer = index, target, renderer
        self.source: Source | None = None
        self._artefacts: dict[tuple[int, str], Artefacts] = {}
        self.problem = ""
        self._lock = threading.Lock()
        self._chronicle: Chronicle | None = None

    @property
    def chronicle(self) -> Chronicle:
        """The facts of the index as it is."""
        with self._lock:
            if self._chronicle is None or self._chronicle.revision != self.index.revision:
                self._chronicle = Chronicle(self.index)
            return self._chronicle

    @property
    def network(self) -> Network | None:
        """The network that the chain is of."""
        return None if self.source is None else self.source.network

    @property
    def federation(self) -> str:
        """Address of the federation, "" if there is none yet."""
        return "" if self.source is None or self.source.federation is None else self.source.federation.address

    @property
    def service(self) -> str:
        """Address of the model service, "" if there is none yet."""
        return "" if self.source is None or self.source.service is None else self.source.service.address

    def artefacts(self, version: VersionFacts) -> Artefacts:
        """What a version is made of. Raises NotThere before the chain was opened."""
        if self.source is None:
            raise NotThere
        key = version.number, version.digest
        with self._lock:
            if (found := self._artefacts.get(key)) is None or found.onnx is None:
                found = Artefacts(version, self.source.store, self.source.directory)
                self._artefacts[key] = found
            return found

    def header(self) -> Header:
        """What every page says."""
        network = self.network
        return Header(
            title=self.chronicle.title,
            revision=self.index.revision,
            block=max(0, self.index.next_block - 1),
            is_file=network is EMBEDDED if network is not None else self.target.run is not None,
            is_local=network is not None and network.is_local,
            network="" if network is None else network.title,
            chain_id=0 if network is None else network.chain_id,
            federation=self.federation,
            service=self.service,
            explorer=None if network is None else network.explorer,
            problem=self.problem,
            waiting=network is None,
            reading=network is not None and not self.index.next_block,
        )

    @property
    def currency(self) -> str:
        """What the chain's money is called."""
        return "coins" if self.network is None else self.network.currency

    @property
    def audit(self) -> str:
        """The command that checks everything."""
        return self._command("audit")

    @property
    def reports(self) -> str:
        """The command that writes the model card, and reports in the forms of others."""
        return self._command("export", "--all")

    def _command(self, *command: str) -> str:
        if self.target.run is not None:
            return shlex.join(["fedvm", *command, "--run", self.target.run.name])
        words = ["fedvm", *command, *_network_words(self.target.endpoint)]
        for name, value in (("--federation", self.federation), ("--service", self.service)):
            words += [name, value] if value else []
        return shlex.join([*words, "--store", "STORE"])

    def render(self, template: str, path: str, **facts: Any) -> str:
        """A page."""
        return self.renderer.page(
            template, path, site=self.header(), chronicle=self.chronicle, audit=self.audit, **facts
        )


Page = Callable[[], str]


def _network_words(endpoint: Endpoint | None) -> list[str]:
    """How a command names a network; never by an address of a node, which may hold a key."""
    network = None if endpoint is None else endpoint.network
    return ["--rpc", "URL"] if network is None else ["--network", network.name]


def page_count(items: int, size: int) -> int:
    """How many pages a list takes, at least one."""
    return max(1, -(-items // size))


def pages_of(base: str, make: Callable[[int], str], count: int) -> Mapping[str, Page]:
    """Path → page of a list that takes `count` pages."""
    return {
        base if number == 1 else f"{base}/pages/{number}": partial(make, number)
        for number in range(1, count + 1)
    }
