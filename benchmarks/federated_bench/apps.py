"""Whether an app of the tests comes to the same with the two lines as without, in process and over Ray.

    python -m federated_bench.apps [NAME]

The last line of what it prints is JSON: what differs, "" for nothing; without a name, the names that there are.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2] / "tests" / "federation"


def main(arguments: list[str]) -> None:
    """Play the app four times, or list all."""
    sys.path.insert(0, str(TESTS))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    from flower_apps import APPS
    from flower_plays import in_process, same, simulated

    from federated_bench.ray_cluster import ray_cluster

    logging.getLogger("flwr").setLevel(logging.ERROR)
    apps = {app.name: app for app in APPS}
    if not arguments:
        print(json.dumps({"apps": list(apps)}))
        return
    (name,) = arguments
    app, differs = apps[name], ""
    with tempfile.TemporaryDirectory() as home, ray_cluster():
        os.environ["FEDVM_HOME"] = home
        try:
            plain = in_process(app, accountable=False)
            same(plain, in_process(app, accountable=True), app)
            same(plain, simulated(app, accountable=False), app)
            same(plain, simulated(app, accountable=True), app)
        except Exception as error:  # an app that does not work is a result
            differs = f"{type(error).__name__}: {error}"[:500]
    print(json.dumps({"differs": differs}))


if __name__ == "__main__":
    main(sys.argv[1:])
