"""A command whose options are not those of its function alone, because it shares some with other commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

Action = Callable[..., None]


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, with their annotations as objects."""
    return list(inspect.signature(function, eval_str=True).parameters.values())


def option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """An option or argument, as Typer reads it from a function."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def with_options(action: Action, function: Action, options: Iterable[inspect.Parameter]) -> Action:
    """A command that runs `action` with these options and has the name and the words of `function`."""

    @wraps(function)
    def command(**given: Any) -> None:
        action(**given)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in options]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    del command.__wrapped__  # Typer would read the options from there
    return command
