"""The pages of a federation in headless Chromium: time to the first paint with a long history, and what axe-core finds;
and how long the workshop's notebook takes.

python benchmarks/bench_web.py [--run DIR]      # DIR: a finished run; without it examples/demo.toml is run first
python benchmarks/bench_web.py --only notebook  # the figures of the pages stay as they are

The pages need Chromium (Debian: apt-get install chromium). Results: benchmarks/results/web.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from playwright.sync_api import Browser, Page, sync_playwright
from web_bench.axe import PAGES_OF_A_RUN, SHAPES, browser, violations
from web_bench.recording import record
from web_bench.serving import served
from web_bench.synthetic import SECONDS_A_BLOCK, history

from fedvm.rundir.target import Target
from fedvm.web.database import Index
from fedvm.web.export import all_pages
from fedvm.web.render import Renderer
from fedvm.web.rounds import federation_page
from fedvm.web.site import Site
from fedvm.web.source import Source, open_source
from fedvm.web.sync import Reader

RESULTS = Path(__file__).parent / "results" / "web.json"
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "federated_learning_on_fevm.ipynb"
ROUNDS, MEMBERS, DECISIONS = 1_000, 64, 10_000
LONG_PAGES = ("/", "/rounds", f"/rounds/{ROUNDS}", "/model", "/decisions", f"/decisions/{DECISIONS}")
TIMES = 5


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a finished run")
    parser.add_argument("--only", choices=("notebook",), help="measure this alone")
    given = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if given.only else pages(given.run)
    results["notebook_seconds"] = notebook_seconds()
    results["notebook_load_average"] = round(os.getloadavg()[0], 1)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def pages(finished: Path | None) -> dict[str, Any]:
    """What is measured of the pages of a finished run, or of one that is made for this."""
    with tempfile.TemporaryDirectory() as scratch:
        run = finished or made_run(Path(scratch) / "run")
        with open_source(Target(run=run)) as source, sync_playwright() as player:
            chromium = browser(player)
            if chromium is None:
                raise SystemExit("Chromium is missing: apt-get install chromium, or set CHROMIUM to its path")
            results = {**long_history(source, run, chromium), **whole_run(source, run, chromium)}
            results["chromium"] = chromium.version
    return {**results, "load_average": round(os.getloadavg()[0], 1)}


def notebook_seconds() -> float:
    """Seconds in which the workshop's notebook runs from top to bottom, its kernel's start included."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch  # where the notebook works; its kernel inherits it
        begun = time.perf_counter()
        NotebookClient(
            notebook, timeout=1_800, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}
        ).execute()
        return round(time.perf_counter() - begun, 1)


def made_run(out: Path) -> Path:
    """The demo, with two decisions on record."""
    from fedvm.pipeline.config_file import load_config
    from fedvm.pipeline.run import run_all

    run_all(load_config(Path(__file__).parents[1] / "examples" / "demo.toml", {"run.out": str(out)}))
    record(out, 2)
    return out


def long_history(source: Source, run: Path, chromium: Browser) -> dict[str, Any]:
    """Seconds to the first paint of each page, the facts computed just before, as the server does: the best of
    `TIMES`, since other work on the machine lengthens all of it. server_cpu_seconds: of computing facts and page."""
    assert source.service is not None
    index = Index()
    reader, begun = Reader(index, source), time.perf_counter()
    with index.changing() as db:
        for contract, event in history(ROUNDS, MEMBERS, DECISIONS, source.service.version(1)):
            reader.add(db, contract, event)
            block = event.at.block_number
        db.executemany(
            "INSERT INTO blocks VALUES (?, ?)", ((n, n * SECONDS_A_BLOCK) for n in range(block + 1))
        )
        db.execute("INSERT INTO receipts SELECT tx, 400000, block FROM wanted")
        db.execute("DELETE FROM wanted")
        db.execute("INSERT OR REPLACE INTO meta VALUES ('next block', ?)", (str(block + 1),))
    taken = time.perf_counter() - begun
    site = Site(index, Target(run=run), Renderer(static=False))
    site.source = source
    paints: dict[str, float] = {}
    with served(site) as address:
        page = chromium.new_context(viewport={"width": 1280, "height": 900}).new_page()
        for path in LONG_PAGES:
            found = []
            for number in range(TIMES):
                index.set_meta({"bench": f"{path} {number}"})  # so that nothing is remembered
                _ = site.chronicle  # as the server's own thread does after each reading
                page.goto(address + path, wait_until="load")
                found.append(first_paint(page))
            paints[path] = round(min(found), 3)
    index.set_meta({"bench": "alone"})
    begun = time.process_time()
    federation_page(site)
    computing = time.process_time() - begun
    index.close()
    return {
        "rounds": ROUNDS,
        "members": MEMBERS,
        "decisions": DECISIONS,
        "index_seconds": round(taken, 1),
        "server_cpu_seconds": round(computing, 3),
        "first_paint_seconds": paints,
        "first_paint_seconds_1000_rounds": max(paints.values()),
    }


def first_paint(page: Page) -> float:
    """Seconds from the navigation to the first contentful paint, which the browser knows a moment after the load."""
    ask = "(performance.getEntriesByName('first-contentful-paint')[0] || {startTime: null}).startTime"
    while (found := page.evaluate(ask)) is None:
        page.wait_for_timeout(10)
    return float(found) / 1000


def whole_run(source: Source, run: Path, chromium: Browser) -> dict[str, Any]:
    """What axe-core finds on every kind of page, wide and narrow, light and dark."""
    index = Index()
    Reader(index, source).read()
    site = Site(index, Target(run=run), Renderer(static=False))
    site.source = source
    count, looked = 0, 0
    with served(site) as address:
        for width, scheme in SHAPES:
            for path in PAGES_OF_A_RUN:
                found = violations(chromium, address + path, width, scheme)
                count, looked = count + len(found), looked + 1
                for one in found:
                    print(f"{path} at {width}, {scheme}: {one}")
    pages = len(list(all_pages(site)))
    index.close()
    return {"axe_violations": count, "axe_pages": looked, "pages": pages}


if __name__ == "__main__":
    main()
