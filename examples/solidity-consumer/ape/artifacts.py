"""Writes contracts/*.json for Ape: what `forge build` compiled, the ModelService that FedVM ships, and the model."""

import json
from pathlib import Path

CONSUMER = Path(__file__).parents[1]
SERVICE = CONSUMER / "../../src/fedvm/chain/artifacts/ModelService.json"
CONTRACTS = Path(__file__).parent / "contracts"


def write(name: str, abi: list[object], bytecode: str) -> None:
    """Write a contract type (EIP-2678) with its ABI and creation code."""
    made = {"contractName": name, "abi": abi, "deploymentBytecode": {"bytecode": bytecode}}
    made["runtimeBytecode"] = {"bytecode": "0x"}  # known when it is deployed
    (CONTRACTS / f"{name}.json").write_text(json.dumps(made))


CONTRACTS.mkdir(exist_ok=True)
sorter = json.loads((CONSUMER / "out/FlowerSorter.sol/FlowerSorter.json").read_text())
write("FlowerSorter", sorter["abi"], sorter["bytecode"]["object"])
service = json.loads(SERVICE.read_text())
write("ModelService", service["abi"], service["bytecode"])
# Code that returns the program: PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN.
program = (CONSUMER / "program/entry.bin").read_bytes()
interface = json.loads((CONSUMER / "../../contracts/abi/IProgram.json").read_text())
write("Program", interface, f"0x61{len(program):04x}80600a5f395ff3{program.hex()}")
