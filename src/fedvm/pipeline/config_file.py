"""Reads a run's TOML file, lays flags over it, and writes the resolved configuration back.

A finding names the key as `table.key`, the file and line it stands on, and the nearest known key.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fedvm.files import write_atomically
from fedvm.learning.recipes import default_recipe
from fedvm.pipeline.config import DataTable, RunConfig
from fedvm.pipeline.errors import ConfigError


def load_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of `path` (without one: the defaults) with `overrides` laid over it.

    overrides maps "table.key" to a value. A run without a name is called after its file,
    or after its data set.
    Raises ConfigError, listing every finding.
    """
    text = _read(path) if path is not None else ""
    tables = _parse(text, path)
    for dotted, value in (overrides or {}).items():
        _lay_over(tables, dotted, value)
    _add_name(tables, path)
    _add_recipe(tables)
    try:
        return RunConfig.model_validate(tables)
    except ValidationError as error:
        findings = [_explain(details, text, path) for details in error.errors()]
        raise ConfigError("\n".join(findings)) from None


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """`table.key=value`, the value in TOML's notation (a bare word is a string) → ("table.key", value)."""
    dotted, separator, literal = assignment.partition("=")
    if not separator or dotted.count(".") != 1:
        raise ConfigError(
            f"--set {assignment}: write it as table.key=value, e.g. --set rules.round_seconds=600"
        )
    try:
        return dotted.strip(), tomllib.loads(f"value = {literal}")["value"]
    except tomllib.TOMLDecodeError:
        return dotted.strip(), literal.strip()


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration as TOML, whole or not at all."""
    write_atomically(path, dump_config(config))


def dump_config(config: RunConfig) -> str:
    """The configuration as TOML text that `load_config` reads back to an equal configuration."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def differences(ours: RunConfig, theirs: RunConfig) -> list[str]:
    """Lines "table.key: ours → theirs" for every setting that differs and can change results."""
    harmless = {"run.out", "training.workers", "training.device", "federation.engine"}
    harmless |= {"federation.client_timeout"}
    harmless |= {f"deployment.{key}" for key in ("superlink", "root_certificates", "insecure")}
    left, right = _flat(ours), _flat(theirs)
    return [
        f"{key}: {left.get(key)!r} → {right.get(key)!r}"
        for key in sorted(left.keys() | right.keys())
        if key not in harmless and left.get(key) != right.get(key)
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Give a TOML file such as examples/demo.toml.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _lay_over(tables: dict[str, Any], dotted: str, value: Any) -> None:
    table, _, key = dotted.partition(".")
    inner = tables.setdefault(table, {})
    if isinstance(inner, dict):  # otherwise validation says what is wrong with it
        inner[key] = value


def _add_name(tables: dict[str, Any], path: Path | None) -> None:
    """A run without a name is called after its file, or after its data set."""
    run, data = tables.setdefault("run", {}), tables.get("data", {})
    if isinstance(run, dict) and isinstance(data, dict):
        dataset = str(data.get("dataset", DataTable().dataset))
        run.setdefault("name", path.stem if path is not None else re.sub(r"[^A-Za-z0-9._-]+", "-", dataset))


def _add_recipe(tables: dict[str, Any]) -> None:
    """Training keys that are not given come from the data set's recipe."""
    data, training = tables.get("data", {}), tables.setdefault("training", {})
    if isinstance(data, dict) and isinstance(training, dict):
        dataset = data.get("dataset", DataTable().dataset)
        tables["training"] = {**asdict(default_recipe(str(dataset))), **training}


def _explain(details: ErrorDetails, text: str, path: Path | None) -> str:
    location = [str(part) for part in details["loc"] if part != "[key]"]
    dotted = ".".join(location)
    place = _place(location, text, path)
    if details["type"] == "extra_forbidden":
        return f"{place}unknown key {dotted}{_suggestion(location)}"
    message = details["msg"].removeprefix("Value error, ")
    if not dotted or details["type"] == "value_error":
        return f"{place}{message}"
    return f"{place}{dotted} = {details['input']!r}: {message[0].lower()}{message[1:]}"


def _suggestion(location: list[str]) -> str:
    if len(location) == 1:
        known = list(RunConfig.model_fields)
        near = difflib.get_close_matches(location[0], known, n=1)
        return f": did you mean [{near[0]}]?" if near else f". The tables are: {', '.join(known)}"
    table, key = location[0], location[1]
    known = list(_keys_of(table))
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f": did you mean {near[0]}?"
    homes = [other for other in RunConfig.model_fields if key in _keys_of(other)]
    if homes:
        return f": it belongs in [{homes[0]}]"
    return f". [{table}] knows: {', '.join(known)}"


def _keys_of(table: str) -> tuple[str, ...]:
    annotation = RunConfig.model_fields[table].annotation
    if get_args(annotation) or not isinstance(annotation, type) or not issubclass(annotation, BaseModel):
        return ()
    return tuple(annotation.model_fields)


def _place(location: list[str], text: str, path: Path | None) -> str:
    line = _line_of(location, text)
    if path is None or line is None:
        return ""
    return f"{path}, line {line}: "


def _line_of(location: list[str], text: str) -> int | None:
    """Line of the `[table]` or of the key in it; None where the text does not hold it (say, a flag's)."""
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        if header:
            table = header[1].strip("\"'")
            if location == [table]:
                return number
            continue
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if key and ".".join(filter(None, [table, key[1].strip("\"'")])) == ".".join(location[:2]):
            return number
    return None


def _flat(config: RunConfig) -> dict[str, Any]:
    dump = config.model_dump(mode="json")
    return {f"{table}.{key}": value for table, keys in dump.items() for key, value in keys.items()}
