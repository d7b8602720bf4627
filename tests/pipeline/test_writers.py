"""The figures of rounds as TensorBoard and Trackio read them back, also of a run that was interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.events import Observer
from fedvm.pipeline.results import MemberRow, RoundRow
from fedvm.pipeline.run import run_all
from fedvm.pipeline.writers import TensorBoardWriter, TrackioWriter, scalars, writers_of

MEMBERS = (
    MemberRow(0, "0xa", 100, 100, epsilon=1.5),
    MemberRow(1, "0xb", 900, 300, epsilon=0.5),
    MemberRow(2, "0xc", 0, 0, refused="NormTooLarge"),
    MemberRow(3, "0xd", 0, 0, failure="timeout"),
)


def round_row(number: int, **changes: object) -> RoundRow:
    row = RoundRow(
        round=number,
        final=True,
        members=MEMBERS,
        train_loss=1 / number,
        validation_loss=None,
        validation_accuracy=0.5,
        test_loss=0.25,
        test_accuracy=number / 10,
        seconds=2.0,
        gas={"open": 70_000, "submit": 500_000},
        model_root="0x00",
        model_cid="",
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def config(out: Path, *writers: str) -> RunConfig:
    return load_config(None, {"run.out": str(out), "run.name": "digits", "run.writers": list(writers)})


def write(writer: Observer, given: RunConfig, rounds: int, *, resumed: bool = False) -> None:
    """What a run reports; a resumed one begins with the rounds of its journal."""
    writer.started(given, resumed)
    for number in range(1, rounds + 1):
        writer.round_done(round_row(number), rounds)
    writer.ended()


def test_what_was_not_measured_is_left_out() -> None:
    found = scalars(round_row(4))
    assert found == {
        "loss/train": 0.25,
        "loss/test": 0.25,
        "accuracy/validation": 0.5,
        "accuracy/test": 0.4,
        "round/final": 1.0,
        "round/seconds": 2.0,
        "gas/total": 570_000.0,
        "gas/open": 70_000.0,
        "gas/submit": 500_000.0,
        "members/accepted": 2.0,
        "members/refused": 1.0,
        "members/failed": 1.0,
        "members/capped": 1.0,
        "privacy/epsilon": 1.5,
    }
    failed = scalars(round_row(1, final=False, members=(), train_loss=None, seconds=None, gas={}))
    assert failed["round/final"] == 0 and "privacy/epsilon" not in failed and "loss/train" not in failed


def test_tensorboard_reads_each_round_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs TensorBoard: pip install 'fedvm[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    given = config(tmp_path)
    write(TensorBoardWriter(), given, 2)
    write(TensorBoardWriter(), given, 5, resumed=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == set(scalars(round_row(1)))
    read = events.Scalars("accuracy/test")
    assert [one.step for one in read] == [1, 2, 3, 4, 5]
    assert [one.value for one in read] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])

    write(TensorBoardWriter(tmp_path / "elsewhere"), given, 1)
    assert list((tmp_path / "elsewhere").glob("events.*"))


def test_trackio_reads_each_round_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="needs Trackio: pip install 'fedvm[trackio]'")
    from trackio.sqlite_storage import SQLiteStorage

    given = config(tmp_path)
    write(TrackioWriter("project"), given, 2)
    write(TrackioWriter("project"), given, 4, resumed=True)
    assert SQLiteStorage.get_runs("project") == ["digits"]
    logs = SQLiteStorage.get_logs("project", "digits")
    assert [(one["step"], one["accuracy/test"]) for one in logs] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    stated = SQLiteStorage.get_run_config("project", "digits")
    assert stated is not None and stated["seed"] == given.run.seed


@pytest.mark.parametrize(("name", "made"), [("tensorboard", TensorBoardWriter), ("trackio", TrackioWriter)])
def test_what_is_not_installed_is_named(
    name: str, made: Callable[[], Observer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"pip install 'fedvm\[{name}\]'"):
        made()
    with pytest.raises(ConfigError, match=r"run\.writers"):
        run_all(config(tmp_path / "run", name))
    assert not (tmp_path / "run").exists(), "something was written before"


def test_a_writer_is_named_once_and_there_are_no_others(tmp_path: Path) -> None:
    assert list(writers_of(config(tmp_path))) == []
    with pytest.raises(ConfigError, match="'tensorboard' or 'trackio'"):
        config(tmp_path, "wandb")


def test_a_writer_hears_that_the_run_ended_whatever_ended_it(tmp_path: Path) -> None:
    heard = []

    class Listener(Observer):
        def started(self, config: RunConfig, resumed: bool) -> None:
            heard.append("started")

        def step(self, title: str) -> None:
            raise KeyboardInterrupt

        def ended(self) -> None:
            heard.append("ended")

    with pytest.raises(KeyboardInterrupt):
        run_all(config(tmp_path / "run"), observer=Listener())
    assert heard == ["started", "ended"]
