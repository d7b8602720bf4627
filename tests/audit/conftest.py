"""Borrows the small run of the pipeline's tests, and the sealed federation of the chain's."""

from __future__ import annotations

import sys
from pathlib import Path

for other in ("pipeline", "chain"):
    sys.path.insert(0, str(Path(__file__).parent.parent / other))
