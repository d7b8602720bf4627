"""Templates, and links that work on a server and in a static site alike."""

from __future__ import annotations

import base64
import posixpath
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fedvm.web import words

CSP = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'"
)


class Renderer:
    """Makes pages from templates. static: whether links must work without a server, from any folder or gateway."""

    def __init__(self, *, static: bool, clock: Callable[[], float] = time.time) -> None:
        self.static, self.clock = static, clock
        self._environment = Environment(
            loader=PackageLoader("fedvm.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            percent=words.percent,
            count=words.number,
            short=words.short,
            when=when,
            bar=bar,
            data_uri=data_uri,
        )

    def page(self, template: str, path: str, **facts: Any) -> str:
        """The page of a template as HTML; path: where it stands, as on the server (`/rounds/3`)."""
        return self._environment.get_template(template).render(
            path=path,
            href=lambda to: self.href(to, path),
            static=self.static,
            csp=CSP,
            now=int(self.clock()),
            **facts,
        )

    def href(self, to: str, at: str) -> str:
        """The link to a path of the server from another. `#…` may follow it."""
        if not self.static:
            return to
        bare, mark, fragment = to.partition("#")
        return posixpath.relpath(file_of(bare), posixpath.dirname(file_of(at)) or ".") + mark + fragment


def file_of(path: str) -> str:
    """The file of a static site that a path of the server becomes."""
    bare = path.lstrip("/")
    if not bare:
        return "index.html"
    return quote(bare if "." in posixpath.basename(bare) else f"{bare}.html")


def when(seconds: int | None) -> Markup:
    """A moment, as a `time` element in UTC; – for None."""
    if seconds is None:
        return Markup("–")
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(
        moment.isoformat(), moment.strftime("%-d %b %Y, %H:%M:%S UTC")
    )


def bar(share: float | None, kind: str = "plain") -> Markup:
    """A horizontal bar for a share, 0 … 1. What it says stands beside it as text."""
    width = 100 * min(1.0, max(0.0, share or 0.0))
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="bar-ground" width="100" height="8"/><rect class="bar-{}" width="{}" height="8"/></svg>'
    ).format(kind, f"{width:.2f}")


def data_uri(png: bytes) -> str:
    """A PNG as the address of an image."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
