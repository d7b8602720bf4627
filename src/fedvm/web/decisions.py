"""The pages of the decisions on record."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fedvm.audit.findings import cid_text
from fedvm.chain.errors import ChainError
from fedvm.chain.model_service import hash_of_scores
from fedvm.images.encode import png
from fedvm.pipeline.shares import shares_of
from fedvm.web.inference import Row, enlarged, picture_of
from fedvm.web.site import NotThere, Site, page_count

SHOWN = 50
_LONGEST_QUERY = 100


def decisions_page(site: Site, page: int = 1, query: str = "") -> str:
    """A page of the list, the latest first.

    query: a number, class, version, day (UTC) or the beginning of an address or hash.
    """
    query = query.strip()[:_LONGEST_QUERY]
    where, values = _where(query, datetime.fromtimestamp(site.renderer.clock(), UTC))
    total = site.index.count(f"SELECT COUNT(*) FROM decisions {where}", *values)
    pages = page_count(total, SHOWN)
    if not 1 <= page <= pages:
        raise NotThere
    rows = site.index.rows(
        f"SELECT * FROM decisions {where} ORDER BY id DESC LIMIT ? OFFSET ?",
        *values,
        SHOWN,
        (page - 1) * SHOWN,
    )
    search = "?" + urlencode({"q": query}) if query else ""
    counts = site.index.rows(
        "SELECT class, COUNT(*) AS times FROM decisions GROUP BY class ORDER BY times DESC LIMIT 20"
    )
    return site.render(
        "decisions.html.j2",
        "/decisions" if page == 1 else f"/decisions/pages/{page}",
        rows=[_row(site, row) for row in rows],
        total=total,
        query=query,
        search=search,
        page=page,
        pages=pages,
        counts=counts if not query else [],
        all=site.index.count("SELECT COUNT(*) FROM decisions"),
    )


def decision_page(site: Site, number: int) -> str:
    """One decision: what was asked, what was said, by whom, when, and where the answer comes from."""
    row = site.index.one("SELECT * FROM decisions WHERE id = ?", number)
    if row is None:
        raise NotThere
    version = site.chronicle.versions.get(row["version"])
    said = None if version is None else site.artefacts(version).description
    scores = None if row["scores"] is None else json.loads(row["scores"])
    found: list[Row] = []
    if scores is not None and said is not None and len(scores) == len(said.classes):
        shares = shares_of(scores, said.score_scale, said.head)
        ranked = sorted(range(len(scores)), key=lambda at: (at != row["label"], -shares[at]))
        found = [
            Row(
                said.classes[at],
                scores[at],
                scores[at] * said.score_scale[at],
                shares[at],
                at == row["label"],
            )
            for at in ranked
        ]
    picture = None if row["input"] is None or said is None else picture_of(row["input"], said)
    receipt = site.index.one("SELECT gas FROM receipts WHERE tx = ?", row["tx"])
    together = site.index.count("SELECT COUNT(*) FROM decisions WHERE tx = ?", row["tx"])
    return site.render(
        "decision.html.j2",
        f"/decisions/{number}",
        row=row,
        time=site.chronicle.time(row["block"]),
        version=version,
        scores=found,
        raw=scores,
        shown=None if picture is None else png(enlarged(picture)),
        size=None if row["input"] is None else len(row["input"]),
        listed=None if row["input"] is None or picture is not None else list(row["input"])[:200],
        gas=None if receipt is None else receipt["gas"],
        together=together,
        cid=None if version is None else cid_text(bytes.fromhex(version.onnx_cid[2:])),
        before=_beside(site, "id < ? ORDER BY id DESC", number),
        after=_beside(site, "id > ? ORDER BY id", number),
    )


def run_again(site: Site, number: int) -> dict[str, Any]:
    """What the version says to the input now: facts for the page. Raises NotThere if there is no such decision."""
    row = site.index.one("SELECT * FROM decisions WHERE id = ?", number)
    if row is None or site.source is None or site.source.service is None:
        raise NotThere
    if row["input"] is None:
        return {
            "problem": "The chain holds only the hash of this input, which was longer than 4 KiB.",
            "same": False,
        }
    try:
        scores = tuple(map(int, site.source.service.predict(row["input"], version=row["version"])))
    except ChainError as error:
        return {"problem": f"The contract gave no answer: {error}", "same": False}
    same = "0x" + hash_of_scores(scores).hex() == row["scores_hash"]
    return {"problem": "", "same": same and scores.index(max(scores)) == row["label"], "scores": scores}


def _beside(site: Site, where: str, number: int) -> int | None:
    row = site.index.one(f"SELECT id FROM decisions WHERE {where} LIMIT 1", number)
    return None if row is None else int(row["id"])


def _row(site: Site, row: Any) -> dict[str, Any]:
    return {**dict(row), "time": site.chronicle.time(row["block"])}


def _where(query: str, now: datetime) -> tuple[str, list[Any]]:
    """The condition that a search makes, and its values."""
    if not query:
        return "", []
    beginning = query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    likes = " OR ".join(f"{name} LIKE ? ESCAPE '\\'" for name in ("caller", "tx", "input_hash", "class"))
    values: list[Any] = [beginning] * 4
    condition = f"({likes}"
    if query.isascii() and query.isdigit() and len(query) < 19:
        condition += " OR id = ?"
        values.append(int(query))
    word, _, digits = query.lower().partition(" ")
    if word == "version" and digits.isascii() and digits.isdigit() and len(digits) < 19:
        condition += " OR version = ?"
        values.append(int(digits))
    if (day := day_meant(query, now)) is not None:
        condition += " OR block IN (SELECT block FROM blocks WHERE time >= ? AND time < ?)"
        values += [int(day.timestamp()), int((day + timedelta(days=1)).timestamp())]
    return f"WHERE {condition})", values


def day_meant(query: str, now: datetime) -> datetime | None:
    """The beginning of the day (UTC) that somebody wrote: `2026-11-30`, as pages show it (`30 Nov 2026`), or a word."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    match query.lower():
        case "today":
            return today
        case "yesterday":
            return today - timedelta(days=1)
    for form in ("%Y-%m-%d", "%d %b %Y", "%d %B %Y"):
        try:
            return datetime.strptime(query, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
