"""A watch over nodes that give anything: findings, never the end of the watch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tampered_node import in_logs
from tampers import Subject as Tampered

from fedvm.rundir.deployment import ChainRef, Deployment
from fedvm.rundir.run import Run
from fedvm.watch.events import Event, Kind
from fedvm.watch.look import Looker
from fedvm.watch.memory import Standing
from fedvm.watch.subject import Subject


class _Run(Run):
    """A run whose artefacts are where a test says."""

    store = None  # type: ignore[assignment]


def looker_of(tampered: Tampered, told: list[Event]) -> Looker:
    at = Deployment(
        ChainRef("rpc", "http://127.0.0.1"), 31415926, tampered.federation, block=tampered.first_block
    )

    def opened() -> Run:
        run = _Run(None, at, tampered.w3, None)
        run.store = tampered.store  # type: ignore[assignment]
        return run

    return Looker(Subject("s", opened), Standing(), told.append, preimages=Path("none"))


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize("odd", [5, "\x1b[31mboo"])
@pytest.mark.parametrize("field", [None, "topics", "blockNumber"])
def test_malformed_events_are_findings(sealed_subject: Tampered, field: str | None, odd: Any) -> None:
    told: list[Event] = []
    looker = looker_of(sealed_subject, told)

    def change(logs: list[Any]) -> list[Any]:
        if logs:
            logs[-1] = odd if field is None else {**logs[-1], field: odd}
        return logs

    sealed_subject.node.change = in_logs(change, receipts=False)
    looker.look()
    assert {one.kind for one in told} <= {Kind.FINDING, Kind.ROUND} and Kind.FINDING in {
        one.kind for one in told
    }
    assert all(one.text.isprintable() for one in told)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["eth_call", "eth_getCode", "eth_getBlockByNumber", "eth_getTransactionByHash"]
)
def test_no_answer_ends_the_watch(sealed_subject: Tampered, method: str) -> None:
    told: list[Event] = []
    looker = looker_of(sealed_subject, told)
    looker.look()
    assert [one.kind for one in told] == [Kind.ROUND, Kind.ROUND]
    looker.standing.checkpoints.clear()
    for odd in (5, {}, "0xzz", "0x", [None], "\x1b"):
        sealed_subject.node.change = lambda asked, _, result, odd=odd: odd if asked == method else result
        looker.look()
        assert looker.standing.findings, odd
    sealed_subject.node.change = None
    looker.standing.checkpoints.clear()
    looker.look()
    assert looker.standing.findings == [] and told[-1].kind in (Kind.CLEARED, Kind.ROUND)
