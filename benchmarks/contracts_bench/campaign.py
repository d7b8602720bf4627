"""The long invariant campaigns: honest and lying parties at random over all contracts of a federation, open or sealed.

`Game.t.sol` and `SealedGame.t.sol` in contracts/test/invariants play them and write a line of JSON a run, with what it
counted.
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
# What the names of a campaign's rows begin with, and the contract that plays it.
CONTRACTS_OF = {"": "TheoremInvariantTest", "sealed_": "SealedTheoremInvariantTest"}
COUNTED = {
    "honest_losses": "times that the money of an honest party fell",
    "false_finals": "false proposals that became final",
    "late_finals": "true proposals that stood longer than W + 2·A·k",
    "campaign_calls": "calls",
}
ROWS = tuple(prefix + name for prefix in CONTRACTS_OF for name in COUNTED)


def play(contract: str, profile: str = "full") -> Counter[str]:
    """Plays the campaign of a contract, and adds up what its runs counted.

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
            [FORGE, "test", "--match-contract", f"^{contract}$"],
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
    violations = sum(counted[name] for name in COUNTED if name != "campaign_calls")
    if not lines or (ended.returncode != 0 and violations == 0):
        raise RuntimeError(f"the campaign failed:\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}")
    return counted


def campaign() -> list[dict[str, object]]:
    """The rows of `benchmarks/results/contracts.json` that come from a run of the long campaigns."""
    rows: list[dict[str, object]] = []
    for prefix, contract in CONTRACTS_OF.items():
        counted = play(contract)
        rows += [
            {"name": prefix + name, "value": counted[name], "unit": unit} for name, unit in COUNTED.items()
        ]
    return rows
