"""How many of the apps of the tests come to the same with the two lines as without, in process and over Ray.

    python -m federated_bench.apps

The last line of what it prints is JSON: the names that do, and for the others what differs.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2] / "tests" / "federation"


def main() -> None:
    """Play all of them, without the lines and with them."""
    sys.path.insert(0, str(TESTS))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    from flower_apps import APPS
    from flower_plays import in_process, same, simulated

    from federated_bench.ray_cluster import ray_cluster

    logging.getLogger("flwr").setLevel(logging.ERROR)
    passed, failed = [], {}
    with tempfile.TemporaryDirectory() as home, ray_cluster():
        os.environ["FEDVM_HOME"] = home
        for app in APPS:
            print(app.name, file=sys.stderr, flush=True)
            try:
                plain = in_process(app, accountable=False)
                same(plain, in_process(app, accountable=True), app)
                same(plain, simulated(app, accountable=False), app)
                same(plain, simulated(app, accountable=True), app)
            except Exception as error:  # an app that does not work is a result
                failed[app.name] = f"{type(error).__name__}: {error}"[:500]
            else:
                passed.append(app.name)
    print(json.dumps({"passed": passed, "failed": failed}))


if __name__ == "__main__":
    main()
