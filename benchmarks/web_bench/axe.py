"""axe-core on a page in headless Chromium. Shared with the tests."""

from __future__ import annotations

import os
import shutil
from typing import Any, Final, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright

Scheme = Literal["light", "dark"]
SHAPES: Final[tuple[tuple[int, Scheme], ...]] = (
    (1280, "light"),
    (1280, "dark"),
    (390, "light"),
    (390, "dark"),
)
PAGES_OF_A_RUN: Final = (
    "/", "/rounds", "/rounds/1", "/rounds/2", "/model", "/model/1", "/ask", "/decisions", "/decisions/1",
    "/decisions?q=nothing", "/no-such-page",
)  # fmt: skip


def browser(player: Playwright) -> Browser | None:
    """Headless Chromium of the system, None where it is not installed."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    return None if path is None else player.chromium.launch(executable_path=path, args=["--no-sandbox"])


def violations(chromium: Browser, address: str, width: int, scheme: Scheme) -> list[str]:
    """What axe-core says is wrong with a page, one line for each kind."""
    with chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(address)
        return violations_of(page)


def violations_of(page: Page) -> list[str]:
    """The same for a page as it is now."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {'; '.join(' '.join(map(str, node['target'])) for node in one['nodes'][:4])}"
        for one in found
    ]
