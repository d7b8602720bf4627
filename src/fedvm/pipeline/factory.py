"""What a function of a user's app gives, imported by `MODULE:FUNCTION`."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedvm.pipeline.errors import ConfigError


def made_by(reference: str, directory: Path) -> Any:
    """What `MODULE:FUNCTION` returns, imported with `directory` on the path. Its code runs in this process.

    Raises:
        ConfigError: there is no such function, or it fails.
    """
    module_name, _, function_name = reference.partition(":")
    if not module_name or not function_name:
        raise ConfigError(
            f"--model {reference}: write it as MODULE:FUNCTION, e.g. quickstart.task:initial_model"
        )
    sys.path.insert(0, str(directory))
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"--model {reference}: {error}. Run this in the app's own directory.") from error
    except (Exception, SystemExit) as error:  # a script that runs when it is imported may do anything
        raise ConfigError(
            f"--model {reference}: importing {module_name} failed, {_said(error)}. Name a module that only defines the "
            "model"
        ) from error
    finally:
        with suppress(ValueError):  # the module may have taken it out
            sys.path.remove(str(directory))
    if not callable(function):
        raise ConfigError(
            f"--model {reference} is {type(function).__name__}, not a function that makes a model"
        )
    try:
        return function()
    except TypeError as error:
        raise ConfigError(
            f"--model {reference} cannot be called without arguments ({error}): name a function that makes the model "
            "by itself"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"--model {reference} failed, {_said(error)}: mend the function, or see with --debug where it comes from"
        ) from error


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
