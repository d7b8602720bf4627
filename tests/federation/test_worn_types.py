"""An update changes its clothes as seldom as it can: what is decoded from the chain is what is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from worn_types import worn_in_a_round

ALWAYS = {
    "Update",
    "SignedUpdate",
    "UpdateTree",
    "Submission",
    "UpdateAccepted",
    "Commitment",
    "CountedUpdate",
}


@pytest.mark.slow
@pytest.mark.parametrize(("form", "types"), [("commitments", ALWAYS), ("rollup", {*ALWAYS, "Judged"})])
def test_an_update_wears_few_types(tmp_path: Path, form: str, types: set[str]) -> None:
    assert worn_in_a_round(tmp_path / "run", form) == types
