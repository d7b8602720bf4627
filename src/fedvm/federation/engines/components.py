"""A Flower app in a directory: its `pyproject.toml`, and the ServerApp and ClientApp that it names."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fedvm.federation.errors import EngineError

Kind = TypeVar("Kind")
Value = bool | int | float | str
_DEFAULT_NODES = 10
"""As many as Flower simulates where an app says nothing."""


@dataclass(frozen=True)
class AppFiles:
    """What an app's pyproject.toml says: "module:attribute" of its two parts, its run config, flattened with dots, and
    how many clients it is simulated with."""

    directory: Path
    serverapp: str
    clientapp: str
    run_config: Mapping[str, Value]
    num_supernodes: int

    @classmethod
    def read(cls, directory: Path) -> AppFiles:
        """Read a directory. Raises EngineError, saying what is missing, if it holds no Flower app."""
        file = directory / "pyproject.toml"
        try:
            project = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EngineError(f"{directory} holds no Flower app: there is no pyproject.toml in it") from None
        except (OSError, ValueError) as error:
            raise EngineError(f"{file} cannot be read: {error}") from None
        flower = project.get("tool", {}).get("flwr", {})
        app = flower.get("app", {})
        parts = app.get("components", {})
        if missing := [name for name in ("serverapp", "clientapp") if not isinstance(parts.get(name), str)]:
            raise EngineError(
                f"{file} has no {missing[0]} in [tool.flwr.app.components]: it is no Flower app"
            )
        federations = flower.get("federations", {})
        named = federations.get(federations.get("default", ""), {})
        nodes = (
            named.get("options", {}).get("num-supernodes", _DEFAULT_NODES) if isinstance(named, dict) else 0
        )
        return cls(
            directory.resolve(),
            parts["serverapp"],
            parts["clientapp"],
            dict(_flat(app.get("config", {}), "", file)),
            nodes if isinstance(nodes, int) and nodes > 0 else _DEFAULT_NODES,
        )

    def configured(self, overrides: Mapping[str, Value]) -> dict[str, Value]:
        """The run config with some values replaced. Raises EngineError for a key that the app does not have."""
        if unknown := sorted(set(overrides) - set(self.run_config)):
            known = ", ".join(sorted(self.run_config)) or "none"
            raise EngineError(
                f"the app's [tool.flwr.app.config] has no {unknown[0]}; it has {known}. Flower takes no others"
            )
        return {**self.run_config, **overrides}


def parse_run_config(texts: list[str]) -> dict[str, Value]:
    """Run configs as `flwr run --run-config` takes them, flattened: `key=value` pairs with TOML values, separated by
    spaces, or one path of a TOML file. Raises EngineError for anything else."""
    values: dict[str, Value] = {}
    for text in texts:
        try:
            if text.endswith(".toml") and "=" not in text:
                stated = tomllib.loads(Path(text).expanduser().read_text(encoding="utf-8"))
            else:
                stated = tomllib.loads("\n".join(_pairs(text)))
        except (OSError, ValueError) as error:
            raise EngineError(
                f"--run-config {text}: give key=value pairs, e.g. 'lr=0.1 name=\"a\"', or a TOML file ({error})"
            ) from None
        values |= dict(_flat(stated, "", text))
    return values


def load_component(reference: str, kind: type[Kind]) -> Kind:
    """The object that "module:attribute" names, imported from sys.path.

    Raises:
        EngineError: there is no such object, or it is of another kind.
    """
    module_name, _, name = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise EngineError(f"{reference} cannot be loaded: {error}") from error
    if not isinstance(found, kind):
        raise EngineError(f"{reference} is a {type(found).__name__}, not a {kind.__name__}")
    return found


def find_first(directory: Path) -> None:
    """Let modules be found in an app's directory before all others."""
    text = str(directory)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)


def _pairs(text: str) -> list[str]:
    """`a=1 b="x y"` as two assignments: a space ends one only outside quotes."""
    pairs, current, quote = [], "", ""
    for letter in text.strip():
        if letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        if letter == " " and not quote:
            pairs.append(current)
            current = ""
        else:
            current += letter
    return [pair for pair in (*pairs, current) if pair]


def _flat(table: Mapping[str, Any], above: str, where: object) -> list[tuple[str, Value]]:
    flat: list[tuple[str, Value]] = []
    for key, value in table.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, Mapping):
            flat += _flat(value, name, where)
        elif isinstance(value, bool | int | float | str):
            flat.append((name, value))
        else:
            raise EngineError(
                f"{where}: {name} is a {type(value).__name__}; Flower takes numbers, text and booleans"
            )
    return flat
