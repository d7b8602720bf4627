"""Plays the scenario as a process of its own, which may be killed: python player.py URL FOLDER SEED."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults_bench.campaign import LOTUS, QUICK, cast
from faults_bench.scenario import Notes, play_on
from fedvm.chain.networks import connect
from fedvm.chain.outbox import Outbox
from fedvm.chain.sender import Sender


def main() -> None:
    url, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    sender = Sender(connect(url, patience=QUICK), LOTUS, outbox=Outbox(folder / "sent.sqlite"))
    print("ready", flush=True)
    play_on(sender, cast(seed), Notes(folder / "notes.json"), lambda _: time.sleep(0.05))
    print("done", flush=True)


if __name__ == "__main__":
    main()
