"""The pages say what the chain says, are well formed, and their links lead somewhere."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from html_pages import HtmlPage
from starlette.testclient import TestClient

from fedvm.chain.networks import ANVIL, CALIBRATION
from fedvm.pipeline.results import RunReport
from fedvm.rundir.target import Target
from fedvm.web.app import make_app
from fedvm.web.database import Index
from fedvm.web.decisions import day_meant
from fedvm.web.render import Renderer
from fedvm.web.site import Site

PAGES = ("/", "/rounds", "/rounds/1", "/rounds/2", "/model", "/model/1", "/ask", "/decisions", "/decisions/1")
Finished = tuple[Path, RunReport]


def page(client: TestClient, path: str) -> HtmlPage:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.text[:500])
    return HtmlPage(answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_well_formed_and_all_its_links_lead_somewhere(client: TestClient, path: str) -> None:
    read = page(client, path)
    assert not read.has_inline_code()
    links = {link.partition("#")[0] for link in read.values("href") + read.values("src")}
    for link in links - {""}:
        assert link.startswith(("/", "data:image/png;base64,")), link
        if link.startswith("/"):
            assert client.get(link).status_code == 200, link
    assert sum(tag == "h1" for tag, _ in read.tags) == 1
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    assert set(read.values("aria-labelledby")) <= set(ids)


def test_the_federation_page_answers_a_citizen_s_questions(client: TestClient, finished: Finished) -> None:
    _, report = finished
    text = page(client, "/").text
    assert "Chain: a file of this run, written by the coordinator alone" in text
    assert (
        text.count("Digits, learnt by a few") >= 2
    )  # in the title and the heading, of the model's page, too
    assert "Digits, learnt by a few" in page(client, "/model").text
    assert "No round goes on. 2 of 2 rounds became final. Version 1 of the model answers questions" in text
    assert "they count as 60 at most" in text and "at least 3 updates are accepted" in text
    assert report.chain.federation in text and report.chain.service in text
    assert "2 refused" in text and "2 capped" in text and "3 decisions on record" in text
    assert (
        f"{report.evaluation.chain_accuracy:.1%} right of 24 held-out images, asked of the contract, as the run states"
        in text
    )


def test_a_round_says_who_was_refused_and_why(client: TestClient, finished: Finished) -> None:
    _, report = finished
    read = page(client, "/rounds/2")
    told = report.rounds[1]
    assert "1 update refused" in read.text
    assert (
        "NormTooLarge. It would have changed the model by more than the rules allow one member to."
        in read.text
    )
    (capped,) = [row for row in told.members if row.capped]
    stated = f"{capped.examples:,}".replace(",", " ")
    assert f"states {stated} examples, counts as 60" in read.text
    assert told.model_root in read.text and told.model_cid in read.text
    assert f"{sum(told.gas.values()):,}".replace(",", " ") in read.text


def test_the_model_page_says_for_whom_it_does_badly(client: TestClient, finished: Finished) -> None:
    _, report = finished
    read = page(client, "/model")
    assert report.gate is not None
    assert f"It passed its trial: {report.gate.right} of {report.gate.asked} right." in read.text
    assert "By class, on held-out examples" in read.text and "By client" in read.text
    tables = [attrs.get("aria-label", "") for tag, attrs in read.tags if tag == "div"]
    assert "The samples of its trial, as the chain recorded them." in tables
    assert "The held-out examples, asked of the contract." in tables
    assert "Filecoin gas" in read.text and report.model.onnx_cid in read.text


def test_a_decision_has_its_input_and_where_it_comes_from(client: TestClient, finished: Finished) -> None:
    _, report = finished
    read = page(client, "/decisions/1")
    assert report.model.model_root in read.text and report.model.onnx_cid in read.text
    assert any(value.startswith("data:image/png") for value in read.values("src"))
    again = client.post("/decisions/1/again").text
    assert "The same answer, with the same scores" in again


@pytest.mark.parametrize(
    ("query", "found"),
    [("1", True), ("version 1", True), ("0x", True), ("digit", True), ("version 9", False), ("%", False),
     ("' OR 1=1 --", False), ("9" * 40, False)],
)  # fmt: skip
def test_decisions_are_found_by_what_people_know_of_them(client: TestClient, query: str, found: bool) -> None:
    text = HtmlPage(client.get("/decisions", params={"q": query}).text).text
    assert (" found Number class" in text) == found and ("Nothing was found for" in text) == (not found)


def test_decisions_of_a_day_are_found(site: Site, client: TestClient) -> None:
    row = site.index.one("SELECT block FROM decisions WHERE id = 1")
    assert row is not None
    seconds = site.chronicle.time(row["block"])
    assert seconds is not None
    taken = datetime.fromtimestamp(seconds, UTC)
    for query in (f"{taken:%Y-%m-%d}", f"{taken:%-d %b %Y}"):
        assert "3 decisions found" in HtmlPage(client.get("/decisions", params={"q": query}).text).text
    for query in (
        f"{taken - timedelta(days=1):%Y-%m-%d}",
        f"{taken + timedelta(days=1):%Y-%m-%d}",
        "yesterday",
    ):
        assert "Nothing was found" in HtmlPage(client.get("/decisions", params={"q": query}).text).text
    now = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
    assert day_meant("Yesterday", now) == datetime(2026, 2, 28, tzinfo=UTC)
    assert day_meant("today", now) == datetime(2026, 3, 1, tzinfo=UTC)
    assert day_meant("31 Feb 2026", now) is None


def test_a_network_s_pages_lead_to_its_explorer(
    site: Site, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Site, "network", CALIBRATION)
    links = page(client, "/decisions/1").values("href")
    row = site.index.one("SELECT tx, caller FROM decisions WHERE id = 1")
    assert row is not None
    assert f"{CALIBRATION.explorer}/tx/{row['tx']}" in links
    assert f"{CALIBRATION.explorer}/address/{row['caller']}" in links
    assert "Everybody can read it and keep a copy" in page(client, "/").text
    monkeypatch.setattr(Site, "network", ANVIL)
    home = page(client, "/").text
    assert "nobody else keeps a copy" in home and "Everybody can read it" not in home


def test_a_round_and_a_version_are_checked_again(client: TestClient) -> None:
    told = HtmlPage(client.post("/rounds/2/check").text).text
    assert "Everything follows" in told and "norm" in told and "signature" in told
    told = HtmlPage(client.post("/model/1/check").text).text
    assert "Everything follows" in told and "code hashes" in told and "onnx weights" in told
    missing = client.post("/rounds/3/check")
    assert missing.status_code == 404 and "There is no such page" in missing.text
    assert "<html" not in missing.text  # it is shown within the page that asked
    assert client.post("/model/2/check").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/rounds/3", "/rounds/0", "/rounds/pages/2", "/rounds/1/pages/9", "/model/7", "/decisions/99",
     "/decisions/pages/2", "/rounds/" + "9" * 30,
     "/files/bafkreie", "/files/..%2f..%2fetc%2fpasswd", "/pictures/../../config.toml", "/x",
     "/static/../app.py", "/static/%2e%2e/app.py", "/pictures/%2e%2e%2fconfig.toml"],
)  # fmt: skip
def test_what_is_not_there_is_a_page_that_says_so(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and "There is no such page" in answer.text


def test_the_onnx_file_is_given_away_and_no_other(client: TestClient, finished: Finished) -> None:
    out, report = finished
    answer = client.get(f"/files/{report.model.onnx_cid}.onnx")
    assert answer.content == (out / "model.onnx").read_bytes()
    assert "attachment" in answer.headers["content-disposition"]
    assert f"/files/{report.model.onnx_cid}.onnx" in page(client, "/model").values("href")
    assert "fedvm export --all --run run" in page(client, "/model").text
    named = {report.model.onnx_cid, *(row.model_cid for row in report.rounds)}
    others = [path.stem for path in (out / "store").rglob("baf*") if path.stem not in named]
    assert others and client.get(f"/files/{others[0]}").status_code == 404


HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def test_hostile_strings_stay_text(site: Site) -> None:
    index = Index()
    with index.changing() as db:
        db.execute("INSERT INTO meta VALUES ('title', ?)", (HOSTILE,))
        row = (7, HOSTILE, 1, 0, HOSTILE, HOSTILE, b"\x00" * 4, HOSTILE, None, 1, HOSTILE)
        db.execute("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        place = (1, 1, "federation", "RoundOpened", HOSTILE, 1, None)
        body = '{"deadline": 5, "rules_hash": "<b>", "base_root": "<i>", "seed": "x"}'
        db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*place, body))
        db.execute(
            "INSERT INTO updates VALUES (1, 1, ?, 99, NULL, NULL, NULL, NULL, NULL, NULL, NULL, ?, ?, 1, ?)",
            (HOSTILE, HOSTILE, HOSTILE, HOSTILE),
        )
    client = TestClient(make_app(Site(index, Target(), Renderer(static=False))), base_url="http://localhost")
    for path in ("/", "/rounds", "/rounds/1", "/decisions", "/decisions/7", f"/decisions?q={HOSTILE}"):
        read = page(client, path)
        assert not read.has_inline_code(), path
        assert not any(tag == "img" and attrs.get("src") == "x" for tag, attrs in read.tags), path
        assert "<script>alert(1)</script>" in read.text or path == "/rounds", path
    index.close()


def test_pages_are_there_before_anything_is_on_a_chain(tmp_path: Path) -> None:
    index = Index()
    client = TestClient(
        make_app(Site(index, Target(run=tmp_path), Renderer(static=False))), base_url="http://localhost"
    )
    assert "The run has begun" in page(client, "/").text
    for path in ("/rounds", "/model", "/ask", "/decisions"):
        page(client, path)
    index.close()


def test_an_index_of_another_kind_is_refused(tmp_path: Path) -> None:
    from fedvm.web.errors import WebError

    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE things (name TEXT)")
    with pytest.raises(WebError, match="Delete it"):
        Index(tmp_path / "other.sqlite")
    (tmp_path / "text.sqlite").write_text("no database at all, but long enough to look like one")
    with pytest.raises(WebError, match="Delete it"):
        Index(tmp_path / "text.sqlite")
