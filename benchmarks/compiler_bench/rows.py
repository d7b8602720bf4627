"""Results as rows of (name, value, unit): printed, and written as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime


@dataclass(frozen=True)
class Row:
    """One result."""

    name: str
    value: float
    unit: str


def write_results(path: Path, rows: Sequence[Row]) -> None:
    """Write {"machine", "rows"} to `path`, whole or not at all."""
    _write(path, {"machine": machine(), "rows": [asdict(row) for row in rows]})


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def merge_results(path: Path, prefix: str, rows: Sequence[Row]) -> None:
    """Put `rows` in the place of those of the file whose names begin with `prefix`; the others stay as they are."""
    others = [row for row in read_results(path) if not row.name.startswith(prefix)] if path.is_file() else []
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"machine": machine()}
    content["rows"] = [asdict(row) for row in (*others, *rows)]
    _write(path, content)


def read_results(path: Path) -> list[Row]:
    """The rows of a file that `write_results` wrote."""
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def machine() -> str:
    """Processor and versions, for the rows that are times."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}"
    )


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up; the first is set left, the others right."""
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]

    def text(cells: Sequence[str]) -> str:
        padded = [
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = (
        "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    )
    return "\n".join([text(header), rule, *(text(line) for line in lines)])


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
