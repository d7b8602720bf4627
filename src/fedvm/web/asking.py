"""The page where people ask the model, and what it shows them."""

from __future__ import annotations

from typing import Any

from fedvm.audit.description import Description
from fedvm.chain.errors import ChainError
from fedvm.images.errors import ImageError
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.questions import Question, image_question, written_question
from fedvm.rundir.run import open_run
from fedvm.web.artefacts import Artefacts
from fedvm.web.chronicle import VersionFacts
from fedvm.web.inference import Reply, ask
from fedvm.web.models import PREPARED
from fedvm.web.site import NotThere, Site

DECISION_SECONDS = 3600
_MOST_TEXT = 100_000
_FEW = 10


class Refused(Exception):
    """What was asked cannot be answered; the message says why."""


def ask_page(site: Site) -> str:
    """Where one draws, drops, pastes or photographs, or writes numbers."""
    version, parts, said = _serving(site, must=False)
    report = site.chronicle.report
    examples = [
        row["name"]
        for row in site.index.rows("SELECT name FROM pictures WHERE name NOT LIKE '%/%' ORDER BY name")
    ]
    return site.render(
        "ask.html.j2",
        "/ask",
        version=version,
        said=said,
        missing="" if parts is None else parts.missing,
        prepared=None if said is None else PREPARED[said.input.preparation],
        features=_features(said),
        examples=examples[:24],
        answers=_stated_answers(report, said, examples),
    )


def answer(site: Site, body: bytes, kind: str) -> str:
    """The answer to an image file (kind: its media type) or to a row of numbers (`text/plain`), as a part of a page."""
    version, parts, said = _serving(site)
    assert version is not None and parts is not None and said is not None
    try:
        if said.input.image_shape is not None:
            if not body:
                raise Refused("Nothing was sent. Draw something, or choose a picture.")
            question = image_question(body, "the picture", said)
        else:
            if len(body) > _MOST_TEXT:
                raise Refused("That is too long for a row of numbers.")
            question = written_question(body.decode("utf-8", "replace"), said)
    except (ImageError, UsageError) as error:
        raise Refused(str(error).replace("--values", "input")) from None
    return show(site, version, parts, question, said)


def show(site: Site, version: VersionFacts, parts: Artefacts, question: Question, said: Description) -> str:
    """The answer of a version to a question, as a part of a page. Raises Refused."""
    if site.source is None or site.source.service is None:
        raise NotThere
    try:
        reply = ask(site.source.service, version.number, question, said, parts.reference())
    except ChainError as error:
        raise Refused(f"The contract gave no answer: {error}") from None
    return site.render("answer.html.j2", "/ask", reply=reply, few=_FEW, **_recording(site, version, reply))


def record(site: Site, data: bytes) -> str:
    """Record a decision on an input with the run's test account, as a part of a page. Raises Refused."""
    version, _, _ = _serving(site)
    assert version is not None
    source = site.source
    if source is None or source.directory is None or not source.is_file:
        raise Refused("This chain is on a network: record the decision with a wallet.")
    try:
        with open_run(source.directory.path, read_only=False) as run:
            assert run.chain is not None
            service, account = run.model_service, run.chain.account("user")
            decision, receipt = service.decide(account, data, expected_version=version.number)
    except ChainError as error:
        raise Refused(f"It was not recorded: {error}") from None
    return site.render("recorded.html.j2", "/ask", decision=decision, gas=receipt.gas_used)


def _recording(site: Site, version: VersionFacts, reply: Reply) -> dict[str, Any]:
    """What the page needs to record the decision: the input, and for a wallet the call."""
    source = site.source
    assert source is not None and source.service is not None
    call = None
    if not source.is_file:
        deadline = int(source.w3.eth.get_block("latest")["timestamp"]) + DECISION_SECONDS
        fee = source.service.fee_terms(version.number).amount
        arguments = [reply.question.data, version.number, fee, deadline]
        call = {
            "to": source.service.address,
            "data": source.service.contract.encode_abi("decide", args=arguments),
            "value": hex(fee),
            "chain": hex(source.network.chain_id),
            "fee": fee,
        }
    return {
        "input": reply.question.data.hex(),
        "call": call,
        "current": version.number == site.chronicle.serving,
    }


def _serving(
    site: Site, *, must: bool = True
) -> tuple[VersionFacts | None, Artefacts | None, Description | None]:
    chronicle = site.chronicle
    version = chronicle.versions.get(chronicle.serving)
    if version is None:
        if must:
            raise Refused("No version of the model answers questions yet.")
        return None, None, None
    parts = site.artefacts(version)
    if parts.description is None and must:
        raise Refused(f"The model's file cannot be read: {parts.missing}")
    return version, parts, parts.description


def _features(said: Description | None) -> list[dict[str, Any]]:
    """The fields of the form for a model of rows: name, and categories if it has some."""
    if said is None or said.input.image_shape is not None or said.input.row is None:
        return []
    return [
        {"name": str(one["name"]), "categories": [str(known) for known in one.get("categories", ())]}
        for one in said.input.row["features"]
    ]


def _stated_answers(
    report: dict[str, Any] | None, said: Description | None, examples: list[str]
) -> list[dict[str, Any]]:
    """What the contract said of the held-out examples that the run asked about, as it states."""
    rows = ((report or {}).get("evaluation") or {}).get("examples") or ()
    if said is None or len(rows) != len(examples):
        return []
    names = said.classes
    return [
        {"picture": picture, "true": names[row["true"]], "said": names[row["predicted"]]}
        for picture, row in zip(examples, rows, strict=True)
        if max(row["true"], row["predicted"]) < len(names)
    ]
