"""Seconds and memory of the audit of a long federation, in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROUNDS, CLIENTS, ELEMENTS = 50, 16, 62_006
"""A LeNet's parameters."""


def measured() -> dict[str, float]:
    """By the time that the process got, since others may run beside it, and by the clock."""
    from audits_bench.large import make

    with TemporaryDirectory() as home:
        made = make(Path(home) / "run", rounds=ROUNDS, clients=CLIENTS, elements=ELEMENTS)
        command = [sys.executable, __file__, str(made.path), made.federation, str(made.block)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    row: dict[str, float] = json.loads(told)
    return row


def _audit(path: str, federation: str, block: str) -> None:
    begin = time.monotonic()
    from fedvm.audit.replay import audit
    from fedvm.devnet.embedded import open_chain
    from fedvm.store import ContentStore

    with open_chain(path, read_only=True) as chain:
        store = ContentStore(Path(path) / "store")
        report = audit(chain.w3, store, federation=federation, service=None, first_block=int(block))
    assert report.clean and report.passed["update data"] == ROUNDS * CLIENTS, report.findings[:3]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    row = {
        "audit_seconds_50x16": round(usage.ru_utime + usage.ru_stime, 1),
        "audit_clock_seconds_50x16": round(time.monotonic() - begin, 1),
        "audit_peak_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    _audit(*sys.argv[1:])
