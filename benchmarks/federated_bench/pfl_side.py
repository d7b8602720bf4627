"""Apple's pfl-research as a side of the comparison: `python -m federated_bench.pfl_side pfl ...`.

Runs in the environment that `make .venv-pfl/.installed` makes: as many plain processes as `--workers` says, which know
each other by PFL_WORKER_ADDRESSES and PFL_WORKER_RANK, as pfl's guide begins, and add up by PyTorch's gloo. Each has
one model, which all its users train in turn. The network, the images and the steps of training are those of
`federated_bench.app`.

Prints as its last line what `federated_bench.side` prints.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from typing import Any

from federated_bench.recipe import parser, read


def main() -> None:
    """See the module."""
    options = read(parser(["pfl"]))
    if "PFL_WORKER_RANK" in os.environ:
        _play(options)
        return
    others = _start_others(options.workers) if options.workers > 1 else []
    try:
        played = _play(options)
        failed = [status for other in others if (status := other.wait())]
    finally:
        for other in others:
            other.kill()
    if failed:
        raise SystemExit(f"federated_bench.pfl_side: another process ended with {failed[0]}")
    print("\n" + json.dumps(played))


def _start_others(count: int) -> list[subprocess.Popen[bytes]]:
    """This command again in `count - 1` processes, before anything is imported here; this one is of rank 0."""
    addresses = ",".join(f"localhost:{port}" for port in _free_ports(count))
    os.environ |= {"PFL_WORKER_ADDRESSES": addresses, "PFL_WORKER_RANK": "0"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "federated_bench.pfl_side", *sys.argv[1:]],
            env={**os.environ, "PFL_WORKER_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
        )
        for rank in range(1, count)
    ]


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _play(options: argparse.Namespace) -> dict[str, Any]:
    from federated_bench.pfl_rounds import play  # imports pfl, which joins the other processes

    return play(options)


if __name__ == "__main__":
    main()
