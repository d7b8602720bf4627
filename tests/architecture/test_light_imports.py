"""What a phone has to load to train and to sign."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)))"
HEAVY = ("web3", "eth", "pyrevm", "onnx", "fedvm.chain", "fedvm.devnet", "fedvm.rundir", "fedvm.compiler",
         "fedvm.federation.coordinator", "fedvm.federation.simulated", "fedvm.federation.engines")  # fmt: skip


def loaded_by(statement: str) -> list[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{LOADED}"], capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


@pytest.mark.quick_cases(every=2)
@pytest.mark.parametrize(
    ("statement", "most"),
    [
        ("import fedvm.federation.client", 4),
        ("from fedvm.federation import fedvm_mod", 54),
        ("from fedvm.federation import image_client_app", 22),
        ("from fedvm.federation import fedvm_mod, image_client_app", 70),
    ],
)
def test_a_client_loads_neither_a_chain_nor_a_coordinator(statement: str, most: int) -> None:
    modules = loaded_by(statement)
    heavy = [name for name in modules if any(f"{name}.".startswith(f"{prefix}.") for prefix in HEAVY)]
    assert heavy == []
    ours = [name for name in modules if name.partition(".")[0] == "fedvm"]
    assert len(ours) <= most, ours


@pytest.mark.parametrize(
    "package", ["fedvm", "fedvm.chain", "fedvm.compiler", "fedvm.federation", "fedvm.learning", "fedvm.cli"]
)
def test_a_package_alone_loads_nothing_large(package: str) -> None:
    large = {"web3", "eth", "pyrevm", "torch", "flwr", "onnx"}
    assert large.isdisjoint(loaded_by(f"import {package}"))


def test_a_run_directory_is_named_without_opening_anything() -> None:
    large = {"web3", "eth", "pyrevm", "torch", "flwr"}
    assert large.isdisjoint(loaded_by("import fedvm.rundir.layout"))
