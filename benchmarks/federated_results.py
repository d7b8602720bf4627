"""benchmarks/results/federated.json: rows of several benchmarks, each replacing its own and leaving the others."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from compiler_bench.rows import machine as processor_and_versions

Row = dict[str, Any]
"""`name`, `value`, `unit`, and whatever else there is to say of a result."""

RESULTS = Path(__file__).resolve().parent / "results" / "federated.json"


def merge(rows: Sequence[Row], path: Path = RESULTS) -> None:
    """Put `rows` in the place of those of the same names, or at the end; the file changes whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:  # another benchmark may be writing its own rows
        fcntl.flock(lock, fcntl.LOCK_EX)
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        merged = {row["name"]: row for row in [*content.get("rows", []), *rows]}
        content["rows"] = list(merged.values())
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)


def read(path: Path = RESULTS) -> list[Row]:
    """All rows there are."""
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    return rows


def machine() -> str:
    """Processor, system and versions."""
    return f"{processor_and_versions()}, PyTorch {torch.__version__}"
