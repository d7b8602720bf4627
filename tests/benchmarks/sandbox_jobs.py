"""Jobs for the tests of the sandbox, in a module of their own: its processes import it and nothing else."""

from __future__ import annotations

import os
import time


def work(job: str) -> str:
    """The job in capitals, or what becomes of one that goes wrong."""
    if job == "spin":
        while True:
            pass
    if job == "sleep":
        time.sleep(600)
    if job == "die":
        os._exit(7)
    if job == "grow":
        return str(len(bytes(1 << 33)))
    return job.upper()
