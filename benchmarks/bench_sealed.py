"""What sealed rounds cost beside open ones: seconds, bytes, gas; and each step of them by itself.

Run: python benchmarks/bench_sealed.py [--parts | --disputes | --wall 1000]. Writes benchmarks/results/sealed.json. Some
five minutes on two cores; whole federations run in this process, sealed and open in turns. --parts measures the steps
alone, --disputes the gas of proofs, and --wall the seconds of one comparison; all keep the other rows. Gas also under
the next fork's schedule and as an estimate of Filecoin's, see `contracts_bench/meter.py`. The gas of an epoch stands by
itself: divide it by the rounds of an epoch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sealed_bench.disputes import disputes
from sealed_bench.parts import parts
from sealed_bench.runs import COMPARISONS, Row, runs, walls

RESULTS = Path(__file__).parent / "results" / "sealed.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", action="store_true", help="only the steps by themselves")
    parser.add_argument("--disputes", action="store_true", help="only the gas of proofs")
    parser.add_argument("--wall", choices=COMPARISONS, help="only the seconds of rounds of so many clients")
    arguments = parser.parse_args()
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    measured = {
        name: known.get(name, empty) for name, empty in (("rows", []), ("disputes", []), ("parts", {}))
    }
    if arguments.parts:
        measured["parts"] = parts()
    elif arguments.disputes:
        measured["disputes"] = disputes()
    elif arguments.wall:
        measured["rows"] = _renewed(measured["rows"], walls([arguments.wall]))
    else:
        measured = {"rows": runs(), "disputes": disputes(), "parts": parts()}
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(RESULTS)
    for row in [*measured["rows"], *measured["disputes"]]:
        print(f"{row['name']}: {row['value']} {row['unit']}")
    for name, case in measured["parts"].items():
        print(name)
        for what, value in case.items():
            print(f"  {what:<48} {value:>12,}")


def _renewed(rows: list[Row], measured: list[Row]) -> list[Row]:
    """Rows with those that were measured in the places of the ones of the same names."""
    fresh = {row["name"]: row for row in measured}
    kept = [fresh.pop(row["name"], row) for row in rows]
    return [*kept, *fresh.values()]


if __name__ == "__main__":
    main()
