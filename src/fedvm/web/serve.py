"""Serves the pages on this computer, and follows the chain meanwhile."""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path

import uvicorn

from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.target import Target
from fedvm.web.app import LOCAL_NAMES, make_app
from fedvm.web.database import Index
from fedvm.web.errors import WebError
from fedvm.web.render import Renderer
from fedvm.web.service import Follower
from fedvm.web.site import Site
from fedvm.web.source import open_source

_FIRST_SECONDS = 5.0
"""How long the first page waits for the chain to be read."""


def serve(
    target: Target,
    *,
    host: str,
    port: int,
    names: Collection[str] = (),
    index: Path | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the pages of a target until the process is asked to end.

    port: 0 for one that is free. names: further hosts under which browsers may ask. index: the file of the index, None
    for the usual place. `ready(address)` is called as soon as pages can be asked for.
    Raises WebError, and what opening a target on a network raises.
    """
    if target.run is None:
        open_source(target).close()  # a wrong address should be said at once
    elif not RunDirectory(target.run).started and not RunDirectory(target.run).deployment.is_file():
        raise WebError(
            f"{target.run} is no run's directory: make one with `fedvm run`, or name another with --run"
        )
    listening = _socket(host, port)
    opened = _index(target, index)
    site = Site(opened, target, Renderer(static=False))
    try:
        with Follower(site) as follower:
            follower.wait(_FIRST_SECONDS)
            app = make_app(
                site, names={*LOCAL_NAMES, *([host] if host not in ("0.0.0.0", "::") else []), *names}
            )
            config = uvicorn.Config(
                app, log_level="warning", server_header=False, timeout_graceful_shutdown=2
            )
            ready(_address(listening))
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()
        opened.close()


def index_file(target: Target) -> Path:
    """Where a target's index lies: in the user's cache. A run's directory may come from somebody else, and what is in
    an index is taken for what the chain says."""
    run = None if target.run is None else str(target.run.resolve())
    endpoint = None if target.endpoint is None else target.endpoint.url
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedvm" / "web"
    name = repr((run, endpoint, target.federation, target.service, target.first_block))
    return cache / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.sqlite"


def _index(target: Target, file: Path | None) -> Index:
    path = file or index_file(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Index(path)
    except (OSError, WebError, sqlite3.Error):
        if file is not None:
            raise
        return Index()  # the place cannot be written: read the chain anew each time


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise WebError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}. Choose others with --host and --port"
        ) from None
    listening.set_inheritable(True)
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"
