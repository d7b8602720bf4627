"""The model is asked from the page: pictures as people make them, and what is none."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from html_pages import HtmlPage
from PIL import Image, ImageDraw
from starlette.testclient import TestClient

from fedvm.devnet.embedded import open_chain
from fedvm.pipeline.results import RunReport
from fedvm.rundir.run import open_run
from fedvm.rundir.target import Target
from fedvm.web.app import make_app
from fedvm.web.database import Index
from fedvm.web.inference import picture_of
from fedvm.web.render import Renderer
from fedvm.web.site import Site
from fedvm.web.source import open_source
from fedvm.web.sync import Reader

Finished = tuple[Path, RunReport]


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def one_stroke(size: int = 280, *, dark: bool = True) -> Image.Image:
    """A small 1 in a corner, black on white as in the page's field, or the other way round."""
    ground, ink = (255, 0) if dark else (0, 255)
    image = Image.new("L", (size, size), ground)
    ImageDraw.Draw(image).line((size * 0.7, size * 0.15, size * 0.66, size * 0.5), fill=ink, width=size // 16)
    return image


def said_of(client: TestClient, body: bytes, status: int = 200) -> str:
    answer = client.post("/ask", content=body, headers={"content-type": "image/png"})
    assert answer.status_code == status, answer.text
    return HtmlPage(answer.text).text


@pytest.mark.slow
def test_a_drawing_is_read_wherever_and_with_whatever_ink(client: TestClient) -> None:
    dark, bright = (said_of(client, encoded(one_stroke(dark=dark))) for dark in (True, False))
    assert "dark ink on a bright ground: inverted" in dark and "inverted" not in bright
    for told in (dark, bright):
        assert "What the contract saw" in told and "What the answer rests on" in told
        assert "the same scores, to the last digit" in told
    verdict = dark.partition("The contract says: ")[2].split()[0]
    assert bright.partition("The contract says: ")[2].split()[0] == verdict


def test_the_page_says_what_the_contract_says(client: TestClient, finished: Finished) -> None:
    out, report = finished
    first = sorted((out / "images").glob("*.png"))[0]
    told = said_of(client, first.read_bytes())
    example = report.evaluation.examples[0]
    assert f"The contract says: {report.data.class_names[example.predicted]}" in told
    for score in example.scores:
        assert f": {score}" in told


def test_an_empty_field_is_called_blank(client: TestClient) -> None:
    told = said_of(client, encoded(Image.new("L", (280, 280), 255)))
    assert "Not sure: the picture is blank" in told and "What the answer rests on" not in told


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it has 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(60_001)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Nothing was sent"),
        (b"no picture", "not a readable image"),
        (b"<svg onload=alert(1)>", "not a readable image"),
        (bomb(), "3600000000 pixels"),
        (encoded(one_stroke())[:200], "not a readable image"),
        (encoded(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF"), "32-bit"),
    ],
)
def test_what_cannot_be_used_is_said(client: TestClient, body: bytes, words: str) -> None:
    assert words in said_of(client, body, 422)


@pytest.mark.parametrize("form", ["JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_other_files_are_read(client: TestClient, form: str) -> None:
    assert "The contract says" in said_of(client, encoded(one_stroke(), form))


def test_a_decision_is_recorded_with_the_run_s_account(tmp_path: Path, finished: Finished) -> None:
    run = Path(shutil.copytree(finished[0], tmp_path / "run"))
    target, index = Target(run=run), Index()
    with open_source(target) as source:
        site = Site(index, target, Renderer(static=False))
        site.source = source
        Reader(index, source).read()
        headers = {"origin": "http://localhost"}
        client = TestClient(make_app(site), base_url="http://localhost", headers=headers)
        data = bytes(range(256))
        told = HtmlPage(client.post("/record", content=data).text).text
        assert "Recorded. Decision 4" in told
        wrong = client.post("/record", content=b"short")
        assert wrong.status_code == 422 and "It was not recorded" in wrong.text
        Reader(index, source).read()
        assert "Decision 4" in HtmlPage(client.get("/decisions/4").text).text
        with open_chain(run / "chain.sqlite"):
            locked = client.post("/record", content=data)
        assert locked.status_code == 422 and "open for writing elsewhere" in locked.text
    with open_run(run) as opened:
        (last,) = [one for one in opened.model_service.decisions() if one.id == 4]
        assert last.input == data
    index.close()


def test_an_input_s_bytes_are_the_picture_they_were(site: Site) -> None:
    said = site.artefacts(site.chronicle.versions[1]).description
    assert said is not None
    data = bytes(range(256))
    picture = picture_of(data, said)
    assert picture is not None and picture.shape == (1, 16, 16) and picture.tobytes() == data
    assert picture_of(b"too short", said) is None
