"""The runs that lie in a folder, and how far each has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fedvm.jsontext import parse_json
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.errors import ConfigError, UsageError
from fedvm.rundir.layout import RunDirectory


class RunState(StrEnum):
    """How far a run has come."""

    FINISHED = "finished"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class RunRow:
    """A run. rounds: recorded, of those planned; accuracy: of the contract on held-out images, once it is finished."""

    directory: str
    state: RunState
    dataset: str = ""
    rounds: int = 0
    planned: int = 0
    accuracy: float | None = None


def runs_in(folder: Path) -> tuple[RunRow, ...]:
    """The runs in the folders of `folder`, by name.

    Raises:
        UsageError: it is no folder.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder: name the one that your runs lie in, or begin one with `fedvm run`"
        )
    found = (RunDirectory(path) for path in sorted(folder.iterdir()) if path.is_dir())
    return tuple(_row(directory) for directory in found if directory.started)


def _row(directory: RunDirectory) -> RunRow:
    try:
        config = load_config(directory.config)
        accuracy = None
        if directory.report.is_file():
            accuracy = float(
                parse_json(directory.report.read_text(encoding="utf-8"))["evaluation"]["chain_accuracy"]
            )
    except (ConfigError, OSError, ValueError, KeyError, TypeError):
        return RunRow(str(directory.path), RunState.UNREADABLE)
    ended = RunState.INTERRUPTED if accuracy is None else RunState.FINISHED
    state = RunState.RUNNING if directory.in_use else ended
    rounds = sum(1 for _ in directory.rounds.glob("round-*.json"))
    return RunRow(str(directory.path), state, config.data.dataset, rounds, config.federation.rounds, accuracy)
