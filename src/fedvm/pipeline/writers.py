"""The rounds of a run as curves in the tools that people watch training with: TensorBoard and Trackio.

A writer is an `Observer`: `run_all(config, observer=TensorBoardWriter("logs"))`. `run.writers` names writers in a
configuration. Both tools keep what they are given on this computer, unless Trackio's environment variables say
otherwise.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fedvm.pipeline.config import RunConfig, WriterName
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.events import Observer
from fedvm.pipeline.results import RoundRow


def scalars(row: RoundRow) -> dict[str, float]:
    """What is measured of a round, by a name with a group before it; without what was not measured. Losses are means
    over examples, accuracies shares (0 … 1), gas is the EVM's."""
    members = {"accepted": row.accepted, "refused": row.refused, "failed": row.failures}
    measured = {
        "loss/train": row.train_loss,
        "loss/validation": row.validation_loss,
        "loss/test": row.test_loss,
        "accuracy/validation": row.validation_accuracy,
        "accuracy/test": row.test_accuracy,
        "round/final": float(row.final),
        "round/seconds": row.seconds,
        "gas/total": float(sum(row.gas.values())),
        **{f"members/{name}": float(len(rows)) for name, rows in members.items()},
        "members/capped": float(sum(one.capped for one in row.members)),
        **{f"gas/{step}": float(gas) for step, gas in row.gas.items()},
    }
    epsilon = max((one.epsilon for one in row.members), default=0.0)
    if epsilon:
        measured["privacy/epsilon"] = epsilon
    return {name: value for name, value in measured.items() if value is not None}


class TensorBoardWriter(Observer):
    """Writes event files that `tensorboard --logdir` shows.

    directory: where they go; without one `tensorboard/` in the run's directory. A resumed run takes the place of what
    the interrupted one wrote.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        _require("tensorboard")
        self._directory = directory
        self._writer: Any = None

    def started(self, config: RunConfig, resumed: bool) -> None:
        # Imported by PyTorch's module alone, and slow to load.
        from torch.utils.tensorboard import SummaryWriter

        # Rounds of the journal are reported again. What was written of them before is dropped.
        where = self._directory or config.out / "tensorboard"
        self._writer = SummaryWriter(log_dir=str(where), purge_step=0 if resumed else None)

    def round_done(self, row: RoundRow, total: int) -> None:
        for name, value in scalars(row).items():
            self._writer.add_scalar(name, value, row.round)
        self._writer.flush()

    def ended(self) -> None:
        if self._writer is not None:
            self._writer.close()


class TrackioWriter(Observer):
    """Writes a run of a Trackio project, which `trackio show` shows.

    project: its name. The run bears the name of FedVM's; a resumed one goes on in it.

    Raises:
        ConfigError: Trackio is not installed.
    """

    def __init__(self, project: str = "fedvm") -> None:
        _require("trackio")
        self._project = project
        self._run: Any = None
        self._seen = 0

    def started(self, config: RunConfig, resumed: bool) -> None:
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        name = config.run.name
        self._run = trackio.init(
            project=self._project,
            name=name,
            config={"seed": config.run.seed, "data": config.data.dataset, "model": config.model.name},
            resume="allow" if resumed else "never",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        if resumed:  # rounds of the journal are reported again
            self._seen = SQLiteStorage.get_max_step_for_run(self._project, name) or 0

    def round_done(self, row: RoundRow, total: int) -> None:
        if row.round > self._seen:
            self._run.log(scalars(row), step=row.round)

    def ended(self) -> None:
        if self._run is not None:
            self._run.finish()


_WRITERS: Final[Mapping[WriterName, Callable[[], Observer]]] = {
    "tensorboard": TensorBoardWriter,
    "trackio": TrackioWriter,
}


def writers_of(config: RunConfig) -> Iterator[Observer]:
    """The writers that `run.writers` names.

    Raises:
        ConfigError: what one of them needs is not installed.
    """
    return (_WRITERS[name]() for name in dict.fromkeys(config.run.writers))


def _require(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"{error}: install it with `pip install 'fedvm[{package}]'`, or leave {package} out of run.writers"
        ) from error
