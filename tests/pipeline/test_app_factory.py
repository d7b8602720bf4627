"""Functions of a user's app that do anything but return a model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.factory import made_by


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import sys\nsys.exit()", "importing NAME failed, SystemExit. Name a module"),
        ("raise RuntimeError('no data here')", "importing NAME failed, RuntimeError: no data here"),
        ("def make(:", "importing NAME failed, SyntaxError"),
        ("def make():\n    raise ValueError('no weights')", "NAME:make failed, ValueError: no weights"),
        ("def make():\n    raise SystemExit(0)", "NAME:make failed, SystemExit: 0"),
        ("def make():\n    open('/nowhere/at/all')", "NAME:make failed, FileNotFoundError"),
        ("def make(width):\n    return width", "cannot be called without arguments"),
        ("make = 5", "is int, not a function"),
        ("", "has no attribute 'make'"),
        ("import sys\nsys.path.pop(0)", "has no attribute 'make'"),
    ],
)
def test_a_function_that_fails_is_named(
    tmp_path: Path, request: pytest.FixtureRequest, code: str, complaint: str
) -> None:
    name = f"factory{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(code)
    before = list(sys.path)
    with pytest.raises(ConfigError) as raised:
        made_by(f"{name}:make", tmp_path)
    assert complaint.replace("NAME", name) in str(raised.value)
    assert sys.path == before
