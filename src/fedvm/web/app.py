"""The pages as a web application (Starlette)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from fedvm.audit.errors import AuditError
from fedvm.chain.errors import ChainError
from fedvm.web.asking import Refused, answer, ask_page, record
from fedvm.web.check import Checked, check_round, check_version
from fedvm.web.decisions import decision_page, decisions_page, run_again
from fedvm.web.downloads import file_named
from fedvm.web.guard import Guard, TooLarge, body_of
from fedvm.web.models import model_page
from fedvm.web.rounds import federation_page, round_page, rounds_page
from fedvm.web.site import NotThere, Site

Answering = Callable[[Request], Awaitable[Response]]
WORKERS: Final = 2
LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "::1")
STATIC: Final = Path(str(files("fedvm.web").joinpath("static")))


def make_app(site: Site, *, names: Collection[str] = LOCAL_NAMES) -> ASGIApp:
    """The application. names: hosts under which it may be asked for."""
    handlers = {
        NotThere: _failed(site, 404),
        404: _failed(site, 404),
        TooLarge: _failed(site, 413),
        500: _failed(site, 500),
    }
    # The guard stands around all, so that an answer about an error is guarded, too.
    return Guard(Starlette(routes=_Routes(site).all(), exception_handlers=handlers), names)


class _Routes:
    """Which address gives which page."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._working = anyio.Semaphore(WORKERS)  # what takes long waits for its turn

    def all(self) -> list[Route | Mount]:
        """All routes."""
        return [
            *self._pages(),
            Route("/rounds/{round:int}/check", self._posted(self._check_round), methods=["POST"]),
            Route("/model/{version:int}/check", self._posted(self._check_version), methods=["POST"]),
            Route("/decisions/{decision:int}/again", self._posted(self._again), methods=["POST"]),
            Route("/ask", self._sent(answer), methods=["POST"]),
            Route("/record", self._sent(lambda site, body, kind: record(site, body)), methods=["POST"]),
            Route("/live.json", self._live),
            Route("/pictures/{name:path}", self._picture),
            Route("/files/{name}", self._download),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    def _pages(self) -> Iterator[Route]:
        site = self.site
        made: dict[str, Callable[[Request], str]] = {
            "/": lambda request: federation_page(site),
            "/rounds": lambda request: rounds_page(site),
            "/rounds/pages/{page:int}": lambda request: rounds_page(site, _number(request)),
            "/rounds/{round:int}": lambda request: round_page(site, _number(request, "round")),
            "/rounds/{round:int}/pages/{page:int}": lambda request: round_page(
                site, _number(request, "round"), _number(request)
            ),
            "/model": lambda request: model_page(site),
            "/model/{version:int}": lambda request: model_page(site, _number(request, "version")),
            "/ask": lambda request: ask_page(site),
            "/decisions": lambda request: decisions_page(site, 1, _searched(request)),
            "/decisions/pages/{page:int}": lambda request: decisions_page(
                site, _number(request), _searched(request)
            ),
            "/decisions/{decision:int}": lambda request: decision_page(site, _number(request, "decision")),
        }
        for path, make in made.items():
            yield Route(path, self._page(make))

    def _page(self, make: Callable[[Request], str]) -> Answering:
        async def respond(request: Request) -> Response:
            return HTMLResponse(await run_in_threadpool(make, request))

        return respond

    def _posted(self, make: Callable[[Request], str]) -> Answering:
        """What a button starts."""

        async def respond(request: Request) -> Response:
            async with self._working:
                return HTMLResponse(await run_in_threadpool(make, request))

        return respond

    def _sent(self, make: Callable[[Site, bytes, str], str]) -> Answering:
        """What a page sends, and the part of a page that answers it."""

        async def respond(request: Request) -> Response:
            body, kind = await body_of(request), request.headers.get("content-type", "")
            try:
                async with self._working:
                    return HTMLResponse(await run_in_threadpool(make, self.site, body, kind))
            except Refused as error:
                page = self.site.render("failure.html.j2", "/ask", message=str(error))
                return HTMLResponse(page, 422)

        return respond

    def _check_round(self, request: Request) -> str:
        site, number = self.site, _number(request, "round")
        if site.source is None or number not in site.chronicle.rounds:
            raise NotThere
        return _checked(site, partial(check_round, site.source, number))

    def _check_version(self, request: Request) -> str:
        site, version = self.site, self.site.chronicle.versions.get(_number(request, "version"))
        if site.source is None or version is None:
            raise NotThere
        return _checked(site, partial(check_version, site.source, version.number, version.round))

    def _again(self, request: Request) -> str:
        said = run_again(self.site, _number(request, "decision"))
        return self.site.render("again.html.j2", "/again", **said)

    async def _live(self, request: Request) -> Response:
        return JSONResponse({"revision": self.site.index.revision})

    async def _picture(self, request: Request) -> Response:
        row = self.site.index.one("SELECT png FROM pictures WHERE name = ?", request.path_params["name"])
        if row is None:
            raise NotThere
        return Response(bytes(row["png"]), media_type="image/png", headers={"cache-control": "max-age=300"})

    async def _download(self, request: Request) -> Response:
        name, _, kind = str(request.path_params["name"]).partition(".")
        data = await run_in_threadpool(file_named, self.site, name)  # raises unless it is a CID
        saved = f"{name}.onnx" if kind == "onnx" else f"{name}.bin"
        headers = {"content-disposition": f'attachment; filename="{saved}"'}
        return Response(data, media_type="application/octet-stream", headers=headers)


def _number(request: Request, name: str = "page") -> int:
    found = int(request.path_params[name])
    if found >= 1 << 63:  # more than an index can hold
        raise NotThere
    return found


def _searched(request: Request) -> str:
    return request.query_params.get("q", "")


_PROBLEMS = {
    404: ("There is no such page", "It may not have happened yet, or the address is not right."),
    413: ("That is too large", "Send a picture of 12 megabytes at most."),
    500: ("Something went wrong", "The page could not be made. The server's output says why."),
}


def _failed(site: Site, status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code != status:
            raise error
        problem, advice = _PROBLEMS[status]
        if request.method == "POST":  # the page that sent it shows the answer within itself
            return HTMLResponse(
                site.render("failure.html.j2", "/problem", message=f"{problem}. {advice}"), status
            )
        return HTMLResponse(
            site.render("problem.html.j2", "/problem", problem=problem, advice=advice), status
        )

    return answer


def _checked(site: Site, check: Callable[[], Checked]) -> str:
    """What checking a round or version again gives, as a part of a page."""
    try:
        done = check()
    except (AuditError, ChainError) as error:
        return site.render("failure.html.j2", "/checked", message=str(error))
    return site.render(
        "checked.html.j2",
        "/checked",
        rows=done.rows,
        findings=done.findings,
        total=done.total,
        seconds=done.seconds,
    )
