"""The pages in headless Chromium: every page at both widths and in both themes, drawing, dropping, errors."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedvm.pipeline.results import RunReport
from fedvm.rundir.target import Target
from fedvm.web.database import Index
from fedvm.web.export import export
from fedvm.web.render import Renderer
from fedvm.web.service import Follower
from fedvm.web.site import Site

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("axe_playwright_python")
from web_bench.axe import PAGES_OF_A_RUN, SHAPES, browser, violations_of  # noqa: E402
from web_bench.recording import record  # noqa: E402
from web_bench.serving import served  # noqa: E402

pytestmark = pytest.mark.slow
Finished = tuple[Path, RunReport]


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    with playwright.sync_playwright() as player:
        opened = browser(player)
        if opened is None:
            pytest.skip("chromium is not installed")
        yield opened
        opened.close()


@contextmanager
def following(run: Path) -> Iterator[str]:
    """The pages of a run, which they follow; their address."""
    site = Site(Index(), Target(run=run), Renderer(static=False))
    with Follower(site) as follower:
        follower.wait(60)
        with served(site) as address:
            yield address


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, finished: Finished) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path_factory.mktemp("browsed") / "run"))


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with following(run) as found:
        yield found


@contextmanager
def opened(chromium, url: str, width: int = 1280, scheme: str = "light"):  # type: ignore[no-untyped-def]
    """A page on which nothing may go wrong: no error of a script, nothing that the policy forbids."""
    with chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        page, wrong = context.new_page(), []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Security Policy" in said.text else None)
        page.on(
            "request",
            lambda one: (
                wrong.append(one.url)
                if not one.url.startswith((url[:20], "data:", "blob:", "file:"))
                else None
            ),
        )
        page.goto(url)
        yield page
        assert wrong == []


@pytest.mark.parametrize(("width", "scheme"), SHAPES)
def test_every_page_is_fit_for_everybody(chromium, address: str, width: int, scheme: str) -> None:  # type: ignore[no-untyped-def]
    for path in PAGES_OF_A_RUN:
        with opened(chromium, address + path, width, scheme) as page:
            assert violations_of(page) == [], path
            wide = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide == 0, path


def stroke(page, points: list[tuple[int, int]]) -> None:  # type: ignore[no-untyped-def]
    box = page.locator("#pad").bounding_box()
    scale = box["width"] / 280
    places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_drawing_is_answered_and_recorded(chromium, address: str, width: int) -> None:  # type: ignore[no-untyped-def]
    with opened(chromium, address + "/ask", width) as page:
        page.click("#send")
        assert "Draw something first" in page.inner_text("#answer")
        stroke(page, [(180, 40), (172, 120)])  # a small 1, off the centre
        page.click("#send")
        page.wait_for_selector(".answer")
        assert "the same scores, to the last digit" in page.inner_text(".answer")
        assert "inverted" in page.inner_text(".answer") and violations_of(page) == []
        page.click("#record")
        page.wait_for_selector("#recorded a")
        link = page.get_attribute("#recorded a", "href")
        for _ in range(40):
            page.goto(address + link)
            if "Taken by" in page.inner_text("main"):
                break
            page.wait_for_timeout(250)
        page.click("form.check button")
        page.wait_for_selector(".result .big")
        assert "The same answer" in page.inner_text(".result")


DROP = """([name, bytes, type]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type }));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true, bubbles: true }));
}"""


def test_pictures_are_dropped_chosen_and_tried(chromium, address: str, run: Path) -> None:  # type: ignore[no-untyped-def]
    picture = sorted((run / "images").glob("*.png"))[0]
    with opened(chromium, address + "/ask") as page:
        page.evaluate(DROP, ["a.png", list(picture.read_bytes()), "image/png"])
        page.wait_for_selector(".answer")
        dropped = page.inner_text(".answer h2")
        page.evaluate("document.getElementById('answer').textContent = ''")
        page.set_input_files("#file", str(picture))
        page.wait_for_selector(".answer")
        assert page.inner_text(".answer h2") == dropped
        page.evaluate("document.getElementById('answer').textContent = ''")
        page.click(".try >> nth=0")
        page.wait_for_selector(".answer")
        assert page.inner_text(".answer h2") == dropped


def test_what_is_dropped_or_pasted_and_is_no_file_is_said(chromium, address: str) -> None:  # type: ignore[no-untyped-def]
    for kind, made in (("drop", "DragEvent"), ("paste", "ClipboardEvent")):
        with opened(chromium, address + "/ask") as page:
            page.evaluate(
                f"""() => {{
                  const data = new DataTransfer();
                  data.setData("text/plain", "https://elsewhere.example/seven.png");
                  const init = {{ dataTransfer: data, clipboardData: data, cancelable: true, bubbles: true }};
                  document.dispatchEvent(new {made}("{kind}", init));
                }}"""
            )
            assert "no picture file" in page.inner_text("#answer")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no picture", "not a readable image"), (b"", "Nothing was sent"), (bytes(13 << 20), "too large")],
)
def test_each_kind_of_error_is_said(
    chromium, address: str, tmp_path: Path, content: bytes, said: str
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x.png").write_bytes(content)
    with opened(chromium, address + "/ask") as page:
        page.set_input_files("#file", str(tmp_path / "x.png"))
        page.get_by_text(said).first.wait_for()
        assert violations_of(page) == []


def test_a_round_is_checked_and_the_keyboard_gets_there(chromium, address: str) -> None:  # type: ignore[no-untyped-def]
    with opened(chromium, address + "/rounds/1") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.focus("form.check button")
        page.keyboard.press("Enter")
        page.wait_for_selector(".result table", timeout=60_000)
        assert "Everything follows" in page.inner_text(".result") and violations_of(page) == []


def test_an_open_page_follows_what_happens(chromium, address: str, run: Path) -> None:  # type: ignore[no-untyped-def]
    with opened(chromium, address + "/decisions") as page:
        before = page.inner_text("#list")
        assert record(run, 1) == 1
        for _ in range(80):
            if page.inner_text("#list") != before:
                break
            page.wait_for_timeout(250)
        assert page.inner_text("#list") != before


def test_a_static_site_opens_from_a_folder(chromium, tmp_path: Path, finished: Finished) -> None:  # type: ignore[no-untyped-def]
    export(Target(run=finished[0]), tmp_path / "site")
    for width, scheme in SHAPES[1:3]:
        with opened(chromium, (tmp_path / "site" / "index.html").as_uri(), width, scheme) as page:
            for name in ("Rounds", "Model", "Ask the model", "Decisions", "Federation"):
                page.click(f"nav[aria-label='Pages'] >> text={name}")
                assert violations_of(page) == [], name
                assert (
                    page.evaluate("getComputedStyle(document.body).margin") == "0px"
                )  # the style sheet is there
