"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

import ast

from source import ROOT, modules, tree_of

FILE_LINES, FUNCTION_LINES = 500, 80


def test_no_file_is_long() -> None:
    sources = [
        path
        for folder, suffix in (("src", "py"), ("tests", "py"), ("benchmarks", "py"), ("contracts", "sol"))
        for path in (ROOT / folder).rglob(f"*.{suffix}")
        if not {"node_modules", "out", "cache"} & set(path.parts)
    ]
    assert len(sources) > len(modules())
    long = {path for path in sources if len(path.read_text().splitlines()) > FILE_LINES}
    assert long == set()


def test_no_function_is_long() -> None:
    long = {
        f"{module}.{node.name}"
        for module in modules()
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
    }
    assert long == set()
