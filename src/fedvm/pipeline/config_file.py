"""Reads a run's TOML file, applies flags to it, and writes the resolved configuration back.

An error names the key as `table.key`, the file and line where it is, and the nearest known key.

"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final, cast

import tomli_w
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fedvm.chain.rpc_url import shown
from fedvm.federation.settings import RULE_CHANGE, RulesSettings
from fedvm.files import write_atomically
from fedvm.learning.recipes import default_preparation, default_recipe
from fedvm.learning.settings import DataSettings
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.errors import ConfigError
from fedvm.settings import OnResume, Stated, stated, tables

_ADAPTER: Final = TypeAdapter(RunConfig)


def load_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration in `path` (the defaults if it is None), with `overrides` applied.

    overrides: "table.key" → value. A run without a name is named after its file, or after its data set; a data set
    without a name after its folder or file. Raises ConfigError, listing every error found.
    """
    text = _read(path) if path is not None else ""
    tables = _parse(text, path)
    for dotted, value in (overrides or {}).items():
        _lay_over(tables, dotted, value)
    _add_dataset(tables)
    _add_name(tables, path)
    _add_recipe(tables)
    try:
        return config_of(tables)
    except ValidationError as error:
        findings = [_explain(details, text, path) for details in error.errors()]
        raise ConfigError("\n".join(findings)) from None


def stated_keys(path: Path | None, overrides: Mapping[str, Any] | None = None) -> frozenset[str]:
    """The settings, as "table.key", that a file or the overrides state. Raises ConfigError for what is no TOML file."""
    tables = _parse(_read(path), path) if path is not None else {}
    in_file = {f"{table}.{key}" for table, keys in tables.items() if isinstance(keys, dict) for key in keys}
    return frozenset(in_file | set(overrides or {}))


def parse_config(text: str) -> RunConfig:
    """A resolved configuration as `dump_config` writes it. Raises pydantic's ValidationError for any other."""
    return config_of(tomllib.loads(text))


def config_of(tables: Mapping[str, Any]) -> RunConfig:
    """The configuration of these tables, without the defaults that a file's name or recipe would add. Raises pydantic's
    ValidationError."""
    return _ADAPTER.validate_python(tables)


def load_rules(
    path: Path | None, assignments: Mapping[str, Any], present: Mapping[str, Any]
) -> tuple[RulesSettings, frozenset[str]]:
    """Rules for a federation that has some: `present` by their keys, over them the [rules] of a TOML file, over these
    `assignments` ("rules.key" to a value). With them the keys that the file or the assignments state.

    Raises ConfigError, listing every finding.
    """
    text = _read(path) if path is not None else ""
    tables = {"rules": _parse(text, path).get("rules", {})}
    if not isinstance(tables["rules"], dict) or (path is not None and not tables["rules"]):
        raise ConfigError(f"{path}: holds no [rules] table with the rules to change")
    for dotted, value in assignments.items():
        if not dotted.startswith("rules."):
            raise ConfigError(f"--set {dotted}: only rules can change here, e.g. --set {RULE_CHANGE}")
        _lay_over(tables, dotted, value)
    try:
        wanted = TypeAdapter(RulesSettings).validate_python({**present, **tables["rules"]})
    except ValidationError as error:
        located = [{**details, "loc": ("rules", *details["loc"])} for details in error.errors()]
        findings = [_explain(cast(ErrorDetails, details), text, path) for details in located]
        raise ConfigError("\n".join(findings)) from None
    return wanted, frozenset(tables["rules"])


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
    """Write the resolved configuration as TOML, whole or not at all; without what may be a key in an RPC address."""
    if config.network.rpc is not None:
        config = replace(config, network=replace(config.network, rpc=shown(config.network.rpc)))
    write_atomically(path, dump_config(config))


def dump_config(config: RunConfig) -> str:
    """The configuration as TOML text that `load_config` reads back to an equal configuration."""
    return tomli_w.dumps(tables_of(config))


def tables_of(config: RunConfig) -> dict[str, Any]:
    """The configuration as TOML tables, without settings that are None."""
    tables: dict[str, Any] = _ADAPTER.dump_python(config, mode="json", exclude_none=True)
    return tables


def differences(ours: RunConfig, theirs: RunConfig) -> list[str]:
    """Lines "table.key: ours → theirs" for every setting that differs and that a resumed run may not change."""
    left, right = _flat(ours), _flat(theirs)
    harmless = free_on_resume() | {key for key in grows_on_resume() if left[key] <= right[key]}
    return [
        f"{key}: {left.get(key)!r} → {right.get(key)!r}"
        for key in sorted(left.keys() | right.keys())
        if key not in harmless and left.get(key) != right.get(key)
    ]


def free_on_resume() -> frozenset[str]:
    """The settings, as "table.key", that a resumed run may change."""
    return frozenset(key for key, one in settings_by_key().items() if one.setting.on_resume is OnResume.FREE)


def grows_on_resume() -> frozenset[str]:
    """The settings, as "table.key", that a resumed run may raise."""
    return frozenset(key for key, one in settings_by_key().items() if one.setting.on_resume is OnResume.GROWS)


def settings_by_key() -> dict[str, Stated]:
    """Every setting of a run by its "table.key"; `adversaries`, a table without keys of its own, by its name."""
    found = {f"{table}.{one.key}": one for table, kind in tables(RunConfig).items() for one in stated(kind)}
    return found | {one.key: one for one in stated(RunConfig)}


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
    if isinstance(inner, dict):  # if it is not, the validation reports it
        inner[key] = value


def _add_dataset(tables: dict[str, Any]) -> None:
    """A data set of one's own that has no name is named after its folder or file."""
    data = tables.get("data", {})
    if isinstance(data, dict) and isinstance(data.get("path"), str | Path) and str(data["path"]):
        place = Path(data["path"]).resolve()
        data.setdefault("dataset", (place.name if place.is_dir() else place.stem) or "data")


def _add_name(tables: dict[str, Any], path: Path | None) -> None:
    """A run that has no name is named after its file, or after its data set."""
    run, data = tables.setdefault("run", {}), tables.get("data", {})
    if isinstance(run, dict) and isinstance(data, dict):
        dataset = str(data.get("dataset", DataSettings.dataset))
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset).lstrip("-._")[:64]
        run.setdefault("name", path.stem if path is not None else plain or "run")


def _add_recipe(tables: dict[str, Any]) -> None:
    """The preparation and training keys that are not given come from the data set's recipe."""
    data, training = tables.setdefault("data", {}), tables.setdefault("training", {})
    if isinstance(data, dict) and isinstance(training, dict):
        dataset = str(data.get("dataset", DataSettings.dataset))
        data.setdefault("preparation", default_preparation(dataset))
        tables["training"] = {**asdict(default_recipe(dataset)), **training}


def _explain(details: ErrorDetails, text: str, path: Path | None) -> str:
    location = [str(part) for part in details["loc"] if part != "[key]"]
    dotted = ".".join(location)
    place = _place(location, text, path)
    if details["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{place}unknown key {dotted}{_suggestion(location)}"
    message = details["msg"].removeprefix("Value error, ")
    if not dotted or details["type"] == "value_error":
        return f"{place}{message}"
    near = _nearest_choice(dotted, details["input"])
    return f"{place}{dotted}{_flag_of(dotted, place)} = {details['input']!r}: {near}{message[0].lower()}{message[1:]}"


def _nearest_choice(dotted: str, given: object) -> str:
    one = settings_by_key().get(dotted)
    near = difflib.get_close_matches(str(given).lower(), one.choices, n=1) if one is not None else []
    return f"did you mean {near[0]!r}? " if near else ""


def _flag_of(dotted: str, place: str) -> str:
    """The flag of a value that did not come from the file, if the setting has a flag."""
    one = settings_by_key().get(dotted)
    return f" ({one.setting.flag})" if one is not None and one.setting.flag and not place else ""


def _suggestion(location: list[str]) -> str:
    if len(location) == 1:
        known = list(_TABLES)
        near = difflib.get_close_matches(location[0], known, n=1)
        return f": did you mean [{near[0]}]?" if near else f". The tables are: {', '.join(known)}"
    table, key = location[0], location[1]
    known = list(_keys_of(table))
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f": did you mean {near[0]}?"
    homes = [other for other in _TABLES if key in _keys_of(other)]
    if homes:
        return f": it belongs in [{homes[0]}]"
    return f". [{table}] knows: {', '.join(known)}"


_TABLES: Final = tuple(field.name for field in fields(RunConfig))


def _keys_of(table: str) -> tuple[str, ...]:
    kind = tables(RunConfig).get(table)
    return tuple(one.key for one in stated(kind)) if kind is not None else ()


def _place(location: list[str], text: str, path: Path | None) -> str:
    line = _line_of(location, text)
    if path is None or line is None:
        return ""
    return f"{path}, line {line}: "


def _line_of(location: list[str], text: str) -> int | None:
    """Line of the `[table]` or of the key in it; None if the text does not contain it (because it came from a flag, for
    example)."""
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
    dump = _ADAPTER.dump_python(config, mode="json")
    return {f"{table}.{key}": value for table, keys in dump.items() for key, value in keys.items()}
