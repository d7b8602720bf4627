"""The static site: every link leads to a file of it, and it says what the pages say."""

from __future__ import annotations

import json
import posixpath
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from html_pages import HtmlPage

from fedvm.pipeline.results import RunReport
from fedvm.rundir.target import Target
from fedvm.web.errors import WebError
from fedvm.web.export import MARK, export

Finished = tuple[Path, RunReport]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, finished: Finished) -> Path:
    place = tmp_path_factory.mktemp("export") / "site"
    made = export(Target(run=finished[0]), place)
    assert made.pages == len(list(place.rglob("*.html"))) == 11
    return place


def test_every_link_leads_to_a_file_of_the_site(exported: Path) -> None:
    seen = 0
    for file in exported.rglob("*.html"):
        read = HtmlPage(file.read_text())
        assert not read.has_inline_code()
        here = file.relative_to(exported).parent.as_posix()
        for link in read.values("href") + read.values("src"):
            if link.startswith(("#", "data:image/png")):
                continue
            assert "://" not in link and not link.startswith("/"), (file, link)
            to = posixpath.normpath(posixpath.join(here, unquote(link.partition("#")[0])))
            assert not to.startswith("..") and (exported / to).is_file(), (file, link)
            seen += 1
        (policy,) = [attrs for tag, attrs in read.tags if tag == "meta" and "http-equiv" in attrs]
        assert "default-src 'none'" in policy["content"]
    assert seen > 100


def test_the_site_says_what_the_run_found(exported: Path, finished: Finished) -> None:
    out, report = finished
    text = {
        file.relative_to(exported).as_posix(): HtmlPage(file.read_text()).text
        for file in exported.rglob("*.html")
    }
    assert report.chain.federation in text["index.html"]
    assert "NormTooLarge" in text["rounds/1.html"] and report.model.onnx_cid in text["model.html"]
    assert "This is a copy of the pages" in text["ask.html"] and "Asked of the contract" in text["ask.html"]
    assert (exported / "files" / f"{report.model.onnx_cid}.onnx").read_bytes() == (
        out / "model.onnx"
    ).read_bytes()
    assert json.loads((exported / MARK).read_text())["federation"] == report.chain.federation
    assert not any(
        str(out) in file.read_text() for file in exported.rglob("*.html")
    )  # no path of this computer


def test_a_site_takes_the_place_of_a_site_and_of_nothing_else(
    tmp_path: Path, exported: Path, finished: Finished
) -> None:
    target, place = Target(run=finished[0]), tmp_path / "mine"
    place.mkdir()
    (place / "thesis.txt").write_text("three years")
    with pytest.raises(WebError, match="no site of FedVM"):
        export(target, place)
    assert (place / "thesis.txt").read_text() == "three years"
    site = Path(shutil.copytree(exported, tmp_path / "site"))
    (site / "rounds" / "9.html").write_text("of an older export")
    export(target, site)
    assert not (site / "rounds" / "9.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site"]


def test_an_export_that_fails_leaves_the_site_before(
    tmp_path: Path, exported: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Path(shutil.copytree(exported, tmp_path / "site"))

    def fail(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(Target(run=finished[0]), site, fail)
    assert (site / "index.html").read_text() == (exported / "index.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
