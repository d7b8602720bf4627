"""The proofs write into storage by the numbers of slots: each is that of the variable that its comment names."""

from __future__ import annotations

import json
import re
from pathlib import Path

CONTRACTS = Path(__file__).parents[2] / "contracts"
SLOT = re.compile(
    r"^ +uint256 (?:private|internal) constant (?P<name>\w+) = (?P<slot>\d+);"
    r"(?: // (?P<contract>\w+)\.(?P<label>\w+))?$",
    re.MULTILINE,
)


def test_every_slot_in_the_proofs_is_that_of_the_variable_it_names():
    slots = {
        path.stem: {entry["label"]: int(entry["slot"]) for entry in json.loads(path.read_text())["storage"]}
        for path in (CONTRACTS / "layouts").glob("*.json")
    }
    wrong, seen = [], 0
    for path in sorted((CONTRACTS / "test" / "symbolic").rglob("*.sol")):
        for found in SLOT.finditer(path.read_text()):
            seen += 1
            expected = slots.get(str(found["contract"]), {}).get(str(found["label"]))
            if expected != int(found["slot"]):
                wrong.append(
                    f"{path.name}: {found['name']} = {found['slot']}, but {found['contract']}."
                    f"{found['label']} is at {expected}"
                )
    assert seen > 30 and not wrong
