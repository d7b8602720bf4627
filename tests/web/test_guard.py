"""Who may ask, how much, and what a browser may do with an answer."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from fedvm.rundir.target import Target
from fedvm.web.app import make_app
from fedvm.web.database import Index
from fedvm.web.guard import MAX_BODY
from fedvm.web.render import Renderer
from fedvm.web.site import Site

ORIGIN = "http://localhost:8000"


@pytest.fixture
def guarded() -> TestClient:
    site = Site(Index(), Target(), Renderer(static=False))
    return TestClient(
        make_app(site, names=["localhost", "::1", "pages.example"]),
        base_url=ORIGIN,
        raise_server_exceptions=False,
    )


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("localhost:1234", 200), ("LOCALHOST:80", 200), ("[::1]:80", 200), ("pages.example", 200),
     ("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1", 421), ("", 421), ("localhost@evil", 421),
     ("[", 421)],
)  # fmt: skip
def test_only_known_names_are_served(guarded: TestClient, host: str, status: int) -> None:
    assert guarded.get("/live.json", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 403), ({"origin": ORIGIN}, 422), ({"origin": "null"}, 403), ({"origin": "http://evil.example"}, 403),
     ({"origin": "http://localhost:9999"}, 403), ({"origin": "file://localhost:8000"}, 403),
     ({"sec-fetch-site": "same-origin"}, 422), ({"sec-fetch-site": "same-site"}, 403)],
)  # fmt: skip
def test_only_pages_from_here_may_send(guarded: TestClient, headers: dict[str, str], status: int) -> None:
    for path in ("/ask", "/record"):
        assert guarded.post(path, content=b"x", headers=headers).status_code == status


def test_other_methods_are_not_known(guarded: TestClient) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert guarded.request(method, "/").status_code == 405
    assert guarded.get("/record").status_code == 405
    assert guarded.post("/rounds", headers={"origin": ORIGIN}).status_code == 405


def test_every_answer_is_fenced(guarded: TestClient) -> None:
    for path, host in (
        ("/", "localhost"),
        ("/x", "localhost"),
        ("/static/site.css", "localhost"),
        ("/", "evil.example"),
    ):
        headers = guarded.get(path, headers={"host": host}).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_an_error_within_is_a_page_and_fenced(guarded: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(site: Site) -> str:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("fedvm.web.app.federation_page", fail)
    answer = guarded.get("/")
    assert answer.status_code == 500 and "Something went wrong" in answer.text
    assert "secret detail" not in answer.text and "content-security-policy" in answer.headers


def test_a_request_has_a_greatest_size(guarded: TestClient) -> None:
    headers = {"origin": ORIGIN}
    assert guarded.post("/ask", content=b"x" * (MAX_BODY + 1), headers=headers).status_code == 413

    def chunks() -> object:  # without a stated length
        for _ in range(MAX_BODY // (1 << 20) + 1):
            yield b"x" * (1 << 20)

    assert guarded.post("/ask", content=chunks(), headers=headers).status_code == 413
    assert guarded.post("/ask", content=b"", headers={**headers, "content-length": "-1"}).status_code == 413
