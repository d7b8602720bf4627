"""What stands between the pages and the web: who may ask, how much, and what a browser may do with an answer."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedvm.web.render import CSP

MAX_BODY = 12 << 20
"""Bytes of a request: a photograph of a phone fits."""
_MOST_PATH = 1_000
_HEADERS = {
    "content-security-policy": CSP + "; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=(), payment=(), usb=()",
}


class TooLarge(Exception):
    """A request has more bytes than `MAX_BODY`."""


class Guard:
    """ASGI middleware. names: hosts under which the pages may be asked for. A page elsewhere whose name was pointed at
    this computer (DNS rebinding) sends another one."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self.app, self.names = app, frozenset(name.lower().strip("[]") for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no web sockets here

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope["method"], scope["path"])
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)

    def _refusal(self, headers: Headers, method: str, path: str) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if _name(host) not in self.names:
            return PlainTextResponse(
                "These pages are not served under that name. If they should be, start `fedvm web` with --name.",
                421,
            )
        if len(path) > _MOST_PATH:
            return PlainTextResponse("There is no page with so long an address.", 414)
        if method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("Only GET and POST are known here.", 405)
        if method == "POST" and not _same_origin(headers, host):
            return PlainTextResponse("This must be sent by a page from here.", 403)
        return None


async def body_of(request: Request, most: int = MAX_BODY) -> bytes:
    """The bytes of a request. Raises TooLarge as soon as there are more than `most`."""
    stated = request.headers.get("content-length", "0")
    if not stated.isdigit() or int(stated) > most:
        raise TooLarge
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge
        parts.append(part)
    return b"".join(parts)


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether a request comes from a page of this host. Browsers send Origin with every POST."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "same-origin"
    return urlsplit(origin).netloc.lower() == host.lower() and urlsplit(origin).scheme in ("http", "https")
