"""The configuration of a resumed run: the one it began with, but for settings that cannot change results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedvm.learning.settings import ScheduleName
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import differences, free_on_resume, load_config, save_config, stated_keys
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.network_times import values_of
from fedvm.rundir.layout import RunDirectory

_NAMING = ("run.out", "run.name", "data.dataset", "data.path")  # the directory's name depends on these


def resumed_config(path: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """The run directory's own configuration, after checking that `path` and `overrides` ask for no other.

    What cannot change results (the number of workers, the device) is taken from `overrides`, and more rounds are taken
    from either: they prolong the run, whose result is then that of a run begun with as many rounds.
    Raises RunDirectoryError if there is no run, ConfigError naming the settings that differ.
    """
    named = {key: value for key, value in overrides.items() if key in _NAMING}
    directory = RunDirectory(load_config(path, named).out)
    directory.require_run("--out")
    own = {"run.out": str(directory.path)}
    begun = load_config(directory.config, own)
    # What followed from the network when the run was begun, and is not stated now, stays.
    stated = stated_keys(path or directory.config, overrides)
    kept = {key: value for key, value in values_of(begun).items() if key not in stated}
    wanted = load_config(path or directory.config, {**kept, **overrides, **own})
    changed = differences(begun, wanted)
    if changed:
        raise ConfigError(
            f"{directory.path} was begun with other settings; a resumed run keeps its own:\n  "
            + "\n  ".join(changed)
            + "\nLeave these out to resume, or begin a new run with another --out."
        )
    _check_schedule(begun, wanted)
    given = {key: overrides[key] for key in free_on_resume() & overrides.keys()}
    return load_config(directory.config, given | own | {"federation.rounds": wanted.federation.rounds})


def keep_growth(config: RunConfig, directory: RunDirectory) -> None:
    """If the run in `directory` is prolonged, write this to its configuration."""
    if load_config(directory.config).federation.rounds < config.federation.rounds:
        save_config(config, directory.config)


def _check_schedule(begun: RunConfig, wanted: RunConfig) -> None:
    """Raise ConfigError if a run with more rounds would have had other learning rates from the first round on."""
    schedule = begun.training.schedule
    ends_with_the_run = schedule in (ScheduleName.COSINE, ScheduleName.LINEAR)
    if ends_with_the_run and wanted.federation.rounds != begun.federation.rounds:
        raise ConfigError(
            f"training.schedule = {schedule} ends with round {begun.federation.rounds}, for which the run was begun: "
            "it cannot be prolonged. Begin a new run with more rounds and another --out"
        )
