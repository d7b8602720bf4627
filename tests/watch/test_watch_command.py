"""`fedvm watch --once` on an embedded chain: what it finds, what it keeps, what it does not tell twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_challenge_command import _planted

from fedvm.cli.entry import run as fedvm


def looked(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and events of one look."""
    capsys.readouterr()
    place = path.parent / f"{path.name}.place.json"
    status = fedvm(["watch", "--run", str(path), "--once", "--json", "--place", str(place), *more])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_false_proposal_is_a_finding_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    court, _ = _planted(run, "_wrong_model")
    court.chain.close()
    before = (run / "chain.sqlite").read_bytes()
    status, (event,) = looked(run, capsys)
    assert status == 1 and event["event"] == "finding" and event["place"] == {"round": 1}
    assert event["check"] == "pending proposal" and event["subject"] == court.contract.address
    assert looked(run, capsys) == (1, [])  # it stands, and was told
    assert (run / "chain.sqlite").read_bytes() == before  # nothing was sent

    # The last thing a killed watch does is to write its place: without it everything is told again.
    (tmp_path / "run.place.json").unlink()
    status, (again,) = looked(run, capsys)
    assert again["message"] == event["message"]


def test_an_honest_proposal_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    court, _ = _planted(tmp_path / "run", None)
    court.chain.close()
    assert looked(tmp_path / "run", capsys) == (0, [])
    kept = json.loads((tmp_path / "run.place.json").read_text())
    ((name, standing),) = kept["subjects"].items()
    assert (
        name == court.contract.address
        and standing["examined"] == [1, 1]
        and len(standing["checkpoints"]) == 1
    )


def test_what_is_lacking_is_found_when_it_is_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    court, _ = _planted(tmp_path / "run", None)
    court.chain.close()
    store = tmp_path / "run" / "store"
    store.rename(tmp_path / "elsewhere")
    status, events = looked(tmp_path / "run", capsys)
    assert status == 1 and {one["event"] for one in events} == {"finding"}
    (tmp_path / "elsewhere").rename(store)
    status, events = looked(tmp_path / "run", capsys)
    assert "cleared" in {one["event"] for one in events}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 9}', '{"format": 1, "subjects": {"a": 5}, "undelivered": []}']
)
def test_another_file_is_no_place(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    court, _ = _planted(tmp_path / "run", None)
    court.chain.close()
    place = tmp_path / "run.place.json"
    place.write_text(content)
    status, (error,) = looked(tmp_path / "run", capsys)
    assert status == 2 and error["kind"] == "WatchError" and "audited anew" in error["error"]
    assert place.read_text() == content


def test_what_is_watched_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert fedvm(["watch", "--once"]) == 2
    assert fedvm(["watch", "--federation", "0x" + "11" * 20, "--once"]) == 2
    assert "--store" in capsys.readouterr().err
