"""One Ray cluster for all simulations of a benchmark.

Ray gives itself half a minute to start, which a machine that has other work to do may take longer for. So it is started
once, in a process of its own, and until it runs; each simulation then connects to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIES = 20
_START = """
import sys, ray
ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Run a cluster of two processors, which this process's simulations use. Raises RuntimeError if none starts."""
    for _ in range(_TRIES):
        process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None and process.stdout is not None
        if address := process.stdout.readline().strip():
            break
        process.wait()
    else:
        raise RuntimeError(f"Ray did not start in {_TRIES} tries: is there memory left, and room in /tmp?")
    os.environ["RAY_ADDRESS"] = address
    try:
        yield
    finally:
        del os.environ["RAY_ADDRESS"]
        process.stdin.close()
        process.wait()
