"""The compiler's version names its programs: other code is another version, and faults are told by it."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest
from graphs import big_network
from test_snapshot import integer_lenet
from test_verify import network

from fedvm.compiler import (
    COMPILER_VERSION,
    CompileOptions,
    compile_integer,
    known_faults,
    verdict_on,
    version_of,
)

SNAPSHOT = Path(__file__).parent / "snapshots" / "code.json"


def digest() -> str:
    """Of the code of integer networks, which no floating point shifts."""
    whole = sha256()
    for make in (network, integer_lenet, big_network):
        for optimize in ("run", "deploy"):
            options = CompileOptions(optimize=optimize, max_gas=3_000_000, verify=False)  # type: ignore[arg-type]
            compiled = compile_integer(make(), options=options)
            for unit in (*compiled.units, *(u for stage in compiled.stages for u in stage)):
                whole.update(unit.code)
    return whole.hexdigest()


@pytest.mark.slow
def test_other_code_is_another_version():
    recorded = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        recorded[str(COMPILER_VERSION)] = digest()
        SNAPSHOT.write_text(json.dumps(recorded, indent=1) + "\n")
    assert recorded.get(str(COMPILER_VERSION)) == digest(), (
        "the same networks give other code: raise COMPILER_VERSION if programs of this version were released, and "
        "record the code with UPDATE_SNAPSHOTS=1"
    )


def test_programs_state_their_version():
    compiled = compile_integer(network())
    assert compiled.manifest["compiler"] == version_of(compiled.manifest) == COMPILER_VERSION
    assert not known_faults(COMPILER_VERSION) and verdict_on(COMPILER_VERSION) == ""


def test_the_first_version_did_not_state_itself_and_has_faults():
    assert version_of({}) == 1
    assert "lost columns" in verdict_on(1) and "Compile the model again" in verdict_on(1)


@pytest.mark.parametrize("stated", ["2", 0, -1, 1.0, True, None])
def test_a_version_is_a_whole_number(stated):
    with pytest.raises(ValueError, match="compiler version"):
        version_of({"compiler": stated})
