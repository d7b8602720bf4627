"""Which configuration a resumed run goes on with: always the one it began with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.config_file import differences, free_on_resume, load_config
from fedvm.pipeline.errors import ConfigError
from fedvm.rundir.layout import RunDirectory

_NAMING = ("run.out", "run.name", "data.dataset", "data.path")  # what the directory's name depends on


def resumed_config(path: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """The run directory's own configuration, after checking that `path` and `overrides` ask for no other.

    Only what cannot change results (the number of workers, the device) is taken from `overrides`.
    Raises RunDirectoryError if there is no run, ConfigError naming the settings that differ.
    """
    named = {key: value for key, value in overrides.items() if key in _NAMING}
    directory = RunDirectory(load_config(path, named).out)
    directory.require_run("--out")
    own = {"run.out": str(directory.path)}
    begun = load_config(directory.config, own)
    wanted = load_config(path or directory.config, {**overrides, **own})
    changed = differences(begun, wanted)
    if changed:
        raise ConfigError(
            f"{directory.path} was begun with other settings; a resumed run keeps its own:\n  "
            + "\n  ".join(changed)
            + "\nLeave these out to resume, or begin a new run with another --out."
        )
    return load_config(
        directory.config, {key: overrides[key] for key in free_on_resume() & overrides.keys()} | own
    )
