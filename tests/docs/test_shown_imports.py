"""What pages, the notebook and the examples import from FedVM is there: nothing else runs them in a quick check."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "examples").glob("**/*.md")),
]
EXAMPLES = sorted((ROOT / "examples").glob("**/*.py"))


def sources(path: Path) -> list[str]:
    """The Python in a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL) if path.suffix == ".md" else [text]


def imported(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of what is imported from FedVM. What only IPython or a shell knows does nothing here."""
    known = re.sub(r"^( *)(?:%|!|\.\.\. ).*$", r"\1pass", source, flags=re.MULTILINE)
    for node in ast.walk(ast.parse(known)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fedvm":
            yield from ((node.module, one.name) for one in node.names)


def missing(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return False
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return True
    return False


@pytest.mark.parametrize(
    "path", [*NOTEBOOKS, *PAGES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT))
)
def test_imports_what_there_is(path: Path) -> None:
    assert not [pair for source in sources(path) for pair in imported(source) if missing(*pair)]


def test_there_is_something_to_look_at() -> None:
    found = [
        pair
        for path in (*NOTEBOOKS, *PAGES, *EXAMPLES)
        for source in sources(path)
        for pair in imported(source)
    ]
    assert len(found) > 20
    assert missing("fedvm.federation", "no_such_name") and not missing("fedvm.federation", "Accountable")
