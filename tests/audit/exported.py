"""The facts of the recorded run, and hostile ones made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes
from web3 import Web3

from fedvm.chain.artifacts import load_artifact
from fedvm.exports.facts import Facts, cited
from fedvm.exports.reading import read_facts
from fedvm.rundir.run import open_run

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "| cell | [link](javascript:alert(1)) ![i](http://evil.example/x.png)",
    "---",
    "null",
    "key: value # comment",
    "`code` **bold** www.evil.example a@evil.example &lt;",
    '"quoted" \\ back',
    "{{ template }} {% x %} <!-- c -->",
    "=1+1",
    "- item",
)
"""Names that are markup, or a value of another type, where they are not kept as text."""


def facts_of(run: Path, *, last_block: int | None = None, stored: bool = True) -> Facts:
    """The facts of a run; stored: whether its store is named."""
    with open_run(run) as opened:
        at = opened.deployment
        return read_facts(
            opened.w3,
            opened.store if stored else None,
            federation=at.federation,
            service=at.service,
            first_block=at.block,
            last_block=last_block,
        )


def check_sources(w3: Web3, facts: Facts) -> int:
    """Hold every source against the receipt of its transaction; how many there are."""
    topics = {}
    for name in ("Federation", "Rollups", "ModelService", "PromotionGate"):
        for entry in load_artifact(name).abi:
            if entry["type"] == "event":
                topics[entry["name"]] = event_abi_to_log_topic(entry)
    sources = set(cited(facts))
    for source in sources:
        receipt = w3.eth.get_transaction_receipt(HexBytes(source.tx))
        assert receipt["blockNumber"] == source.block
        (log,) = [one for one in receipt["logs"] if one["logIndex"] == source.log_index]
        assert log["address"] == source.contract
        assert bytes(log["topics"][0]) == topics[source.event.partition("(")[0]]
    return len(sources)


def with_hostile_names(facts: Facts) -> Facts:
    """The same facts, whose title and class names try to be something else than text."""
    assert facts.service is not None
    versions = tuple(
        replace(one, description=replace(one.description, title=HOSTILE[0] + HOSTILE[1], classes=HOSTILE))
        for one in facts.service.versions
        if one.description is not None
    )
    decisions = tuple(replace(one, class_name=HOSTILE[one.decision.label]) for one in facts.service.decisions)
    return replace(facts, service=replace(facts.service, versions=versions, decisions=decisions))
