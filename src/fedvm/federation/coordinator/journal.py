"""Round records kept in a directory, one file a round, so that a resumed run can show earlier rounds."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from fedvm.federation.coordinator.records import RoundRecord
from fedvm.federation.errors import LedgerMismatch
from fedvm.jsontext import parse_json


@dataclass(frozen=True)
class RoundJournal:
    """Files `round-0001.json` … in `path`. Chain and store stay the truth; this adds metrics and timings."""

    path: Path

    def write(self, record: RoundRecord) -> None:
        """Keep a record; the file appears whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        target = self._file(record.round)
        temporary = target.with_suffix(".writing")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(record.to_json(), stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)

    def read(self, number: int) -> RoundRecord | None:
        """The record of a round, None if it was not kept.

        Raises LedgerMismatch for a file that is no such record.
        """
        file = self._file(number)
        if not file.exists():
            return None
        try:
            return RoundRecord.from_json(parse_json(file.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerMismatch(
                f"{file.name} is not a round's record ({error}); delete it to go on"
            ) from error

    def _file(self, number: int) -> Path:
        return self.path / f"round-{number:04}.json"
