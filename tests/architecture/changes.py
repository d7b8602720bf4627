"""Counts what a change touches: the table in CONTRIBUTING.md, from the files that mention one existing thing of a kind.

python tests/architecture/changes.py     # writes the table's numbers anew
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
ROW = re.compile(
    r"^\| (?P<kind>[^|]+) \| (?P<by>`[^|]+`[^|]*) \| (?P<counts>\d+ \| \d+ \| \d+ \| \d+) \|$", re.MULTILINE
)
COLUMNS = {
    "Python": ("src/fedvm/**/*.py",),
    "Solidity": ("contracts/src/**/*.sol",),
    "pages": ("README.md", "SECURITY.md", "contracts/README.md", "docs/**/*.md", "examples/**/*.*"),
    "tests": ("tests/**/*.py", "contracts/test/**/*.sol"),
}


@dataclass(frozen=True)
class Row:
    """A row of the table. counts: as it states them, in the order of `COLUMNS`."""

    kind: str
    by: str
    counts: tuple[int, ...]

    @property
    def spellings(self) -> tuple[str, ...]:
        """How the thing is written."""
        return tuple(re.findall(r"`([^`]+)`", self.by))

    def counted(self) -> tuple[int, ...]:
        """How many files of each column mention it today."""
        return tuple(
            sum(any(word in text for word in self.spellings) for text in texts(patterns))
            for patterns in COLUMNS.values()
        )


def rows() -> Iterator[Row]:
    """The rows of the table."""
    for found in ROW.finditer(PAGE.read_text(encoding="utf-8")):
        yield Row(found["kind"], found["by"], tuple(int(count) for count in found["counts"].split(" | ")))


@cache
def texts(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of the files of a column; what cannot be read as text is left out, and so are these two files."""
    own = {Path(__file__).name, "test_changes.py"}
    files = sorted({file for pattern in patterns for file in ROOT.glob(pattern) if file.is_file()})
    return tuple(file.read_text(encoding="utf-8", errors="ignore") for file in files if file.name not in own)


def main() -> None:
    """Write the numbers anew."""
    page = PAGE.read_text(encoding="utf-8")
    for row in rows():
        counts = " | ".join(map(str, row.counted()))
        before = " | ".join(map(str, row.counts))
        page = page.replace(f"| {row.kind} | {row.by} | {before} |", f"| {row.kind} | {row.by} | {counts} |")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
