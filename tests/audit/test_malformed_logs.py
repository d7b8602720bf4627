"""A node that lists what is no event, or tells of blocks and transactions of no form: findings, and no errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tampered_node import in_logs
from tampers import Subject

from fedvm.audit.findings import AuditReport
from fedvm.audit.replay import audit
from fedvm.chain.errors import MalformedEvent
from fedvm.chain.logs import read_log, require_log

HASH, ADDRESS = "0x" + "22" * 32, "0x" + "11" * 20
LOG = {"address": ADDRESS, "topics": [HASH], "data": "0x", "blockNumber": "0x1", "blockHash": HASH}
LOG |= {"transactionHash": HASH, "transactionIndex": "0x0", "logIndex": "0x0"}
ODD: list[Any] = [
    None,
    -1,
    "-0x1",
    5,
    "",
    {},
    "0xzz",
    1.5,
    True,
    [5],
    {"a": 1},
    "0x123",
    "\x1b[31m",
    "0x" + "f" * 99,
]


def odd_logs() -> Iterator[Any]:
    yield from ODD
    for name in LOG:
        yield {other: value for other, value in LOG.items() if other != name}
        yield from ({**LOG, name: odd} for odd in ODD)
    yield {**LOG, "topics": [HASH] * 5}
    yield {**LOG, "topics": [5]}


def test_only_what_has_the_form_of_an_event_is_read() -> None:
    assert read_log(LOG)["blockNumber"] == 1 and require_log(LOG) is LOG
    refused = 0
    for odd in odd_logs():
        try:
            read_log(odd)
        except MalformedEvent as error:
            refused += 1
            assert "\x1b" not in str(error) and len(str(error)) < 300
    # "0x" + 49.5 bytes, and the like, are no bytes; "0x123" is a number, and "" is no data.
    assert refused >= len(list(odd_logs())) - 12


def audited(subject: Subject) -> AuditReport:
    return audit(
        subject.w3,
        subject.store,
        federation=subject.federation,
        service=subject.service,
        first_block=subject.first_block,
    )


def changed(logs: list[Any], at: int, name: str | None, value: Any) -> list[Any]:
    place = min(at, len(logs) - 1)
    if place >= 0:
        logs[place] = value if name is None else {**logs[place], name: value}
    return logs


@pytest.mark.quick_cases(every=3)
@pytest.mark.parametrize(
    "name", [None, "address", "topics", "data", "blockNumber", "transactionHash", "logIndex"]
)
def test_what_is_listed_and_no_event_is_a_finding(sealed_subject: Subject, name: str | None) -> None:
    for odd in (5, "\x1b[31m", [None]):
        sealed_subject.node.change = in_logs(
            lambda logs, odd=odd: changed(logs, 3, name, odd), receipts=False
        )
        found = audited(sealed_subject).findings
        assert found and all(one.message.isprintable() for one in found), (name, odd)


@pytest.mark.parametrize("odd", [{}, 5, "0xzz"])
def test_a_list_of_events_that_is_none_is_a_finding(sealed_subject: Subject, odd: Any) -> None:
    sealed_subject.node.change = lambda method, _, result: odd if method == "eth_getLogs" else result
    assert audited(sealed_subject).findings


OF_BLOCKS = (None, "hash", "timestamp", "number", "transactions", "receiptsRoot")
OF_RECEIPTS = (None, "logs", "type", "transactionHash")
OF_TRANSACTIONS = (None, "hash", "input", "to")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("eth_getBlockByNumber", OF_BLOCKS),
        ("eth_getTransactionReceipt", OF_RECEIPTS),
        ("eth_getTransactionByHash", OF_TRANSACTIONS),
    ],
)
def test_blocks_and_transactions_of_another_form_are_findings(
    sealed_subject: Subject, method: str, names: tuple[str | None, ...]
) -> None:
    for name in names:
        for odd in (5, "\x1b[31m", {}):

            def lie(asked: str, _: Any, result: Any, odd: Any = odd, name: str | None = name) -> Any:
                if asked != method:
                    return result
                return odd if name is None else {**result, name: odd}

            sealed_subject.node.change = lie
            findings = audited(sealed_subject).findings
            assert findings and all(one.message.isprintable() for one in findings), (name, odd)
