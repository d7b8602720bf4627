"""The pages as a static site: files with relative links, for any web space, gateway or folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from fedvm.audit.findings import cid_text
from fedvm.files import atomic_folder, is_free
from fedvm.rundir.target import Target
from fedvm.web.app import STATIC
from fedvm.web.asking import ask_page
from fedvm.web.database import Index
from fedvm.web.decisions import SHOWN, decision_page, decisions_page
from fedvm.web.errors import WebError
from fedvm.web.models import model_page
from fedvm.web.render import Renderer, file_of
from fedvm.web.rounds import ROUNDS_SHOWN, federation_page, round_page, rounds_page, update_pages
from fedvm.web.site import Page, Site, page_count, pages_of
from fedvm.web.source import open_source
from fedvm.web.sync import Reader

MARK: Final = "fedvm-site.json"
"""A file by which a site is known, so that an export never takes the place of anything else."""
_SCRIPTS: Final = ("ask.js",)
"""Scripts that need the server."""


@dataclass(frozen=True)
class Exported:
    """What was written: how many pages, and bytes of all files."""

    pages: int
    size: int


def export(
    target: Target, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Exported:
    """Write the pages of a target into a directory, whole or not at all. A site that is there already is replaced.

    `progress(pages, of how many)`. Raises WebError if something else is there, and what opening
    and reading raise.
    """
    require_free(directory)
    index = Index()
    try:
        with open_source(target) as source:
            site = Site(index, target, Renderer(static=True))
            site.source = source
            Reader(index, source).read()
            with atomic_folder(directory) as made:
                written = _write(site, made, progress)
    finally:
        index.close()
    return written


def require_free(directory: Path) -> None:
    """Raise WebError if a site would take the place of something else."""
    if not is_free(directory, MARK):
        raise WebError(f"{directory} is there already and is no site of FedVM: name another folder")


def all_pages(site: Site) -> Iterator[tuple[str, Page]]:
    """(path, page) of every page."""
    chronicle, index = site.chronicle, site.index
    yield "/", partial(federation_page, site)
    yield from pages_of(
        "/rounds", partial(rounds_page, site), page_count(len(chronicle.rounds), ROUNDS_SHOWN)
    ).items()
    for number in chronicle.rounds:
        yield from pages_of(
            f"/rounds/{number}", partial(round_page, site, number), update_pages(site, number)
        ).items()
    yield "/model", partial(model_page, site)
    for number in chronicle.versions:
        yield f"/model/{number}", partial(model_page, site, number)
    yield "/ask", partial(ask_page, site)
    decisions = [int(row["id"]) for row in index.rows("SELECT id FROM decisions ORDER BY id")]
    yield from pages_of(
        "/decisions", partial(decisions_page, site), page_count(len(decisions), SHOWN)
    ).items()
    for number in decisions:
        yield f"/decisions/{number}", partial(decision_page, site, number)


def _write(site: Site, directory: Path, progress: Callable[[int, int], None]) -> Exported:
    pages, size = list(all_pages(site)), 0

    def put(path: str, content: bytes) -> None:
        nonlocal size
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        size += len(content)

    for done, (path, make) in enumerate(pages, start=1):
        put(file_of(path), make().encode())
        progress(done, len(pages))
    for asset in sorted(STATIC.iterdir()):
        if asset.is_file() and asset.name not in _SCRIPTS:
            put(f"static/{asset.name}", asset.read_bytes())
    for row in site.index.rows("SELECT name, png FROM pictures"):
        put(f"pictures/{row['name']}", bytes(row["png"]))
    for version in site.chronicle.versions.values():
        onnx = site.artefacts(version).onnx
        if onnx is not None:
            put(f"files/{cid_text(bytes.fromhex(version.onnx_cid[2:]))}.onnx", onnx)
    told = {
        "federation": site.federation,
        "service": site.service,
        "block": site.index.next_block - 1,
        "pages": len(pages),
    }
    put(MARK, (json.dumps(told, indent=2) + "\n").encode())
    return Exported(len(pages), size)
