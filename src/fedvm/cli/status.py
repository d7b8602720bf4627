"""Exit statuses: 0 done · 1 a finding or a failure · 2 bad usage or input · 130 Ctrl-C · 143 asked to end (SIGTERM)."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILURE: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130
TERMINATED: Final = 143
