"""The long invariant campaign: honest and lying parties at random over all contracts of a federation.

`contracts/test/invariants/Game.t.sol` plays it and writes a line of JSON a run, with what it counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
FORGE = CONTRACTS / "node_modules" / ".bin" / "forge"
# Where `foundry.toml` lets tests write.
DIARY = Path("cache") / "campaign" / "diary.jsonl"
UNITS = {
    "honest_losses": "times that the money of an honest party fell",
    "false_finals": "false proposals that became final",
    "late_finals": "true proposals that stood longer than W + 2·A·k",
    "campaign_calls": "calls",
}


def play(profile: str = "full") -> Counter[str]:
    """Plays the campaign, and adds up what its runs counted.

    Raises:
        RuntimeError: The campaign ended otherwise than by its last call or by a violation that it counted.
    """
    diary = CONTRACTS / DIARY
    diary.parent.mkdir(parents=True, exist_ok=True)
    diary.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as failures:
        # Neither an old failure played again nor the search for a shorter one counts.
        settings = {
            "FOUNDRY_PROFILE": profile,
            "FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT": "0",
            "FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR": failures,
            "FEDVM_CAMPAIGN": str(DIARY),
        }
        ended = subprocess.run(
            [FORGE, "test", "--match-contract", "^TheoremInvariantTest$"],
            cwd=CONTRACTS,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
    counted: Counter[str] = Counter()
    lines = diary.read_text().splitlines() if diary.exists() else []
    # Forge plays the last run once more at the end.
    for line in lines[:-1] if lines[-1:] == lines[-2:-1] else lines:
        counted.update(json.loads(line))
    violations = sum(counted[name] for name in UNITS if name != "campaign_calls")
    if not lines or (ended.returncode != 0 and violations == 0):
        raise RuntimeError(f"the campaign failed:\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}")
    return counted


def campaign() -> list[dict[str, object]]:
    """The rows of `benchmarks/results/contracts.json` that come from a run of the long campaign."""
    counted = play()
    return [{"name": name, "value": counted[name], "unit": unit} for name, unit in UNITS.items()]
