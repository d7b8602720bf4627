"""A program in stages on the chain, with an InferenceSession that runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from web3 import Web3

from fedvm.chain.inference import InferenceSession
from fedvm.chain.program import Progress, deploy_program
from fedvm.chain.sender import Sender
from fedvm.compiler import CompiledModel
from fedvm.compiler.defaults import Target
from fedvm.compiler.transactions import given_gas
from fedvm.files import write_atomically
from fedvm.pipeline.errors import UsageError
from fedvm.rundir.layout import RunDirectory


@dataclass(frozen=True)
class StagedProgram:
    """A registered program. id: by which sessions are started."""

    sessions: InferenceSession
    id: bytes
    stages: tuple[tuple[str, ...], ...]


def serve_stages(
    w3: Web3,
    owner: LocalAccount,
    compiled: CompiledModel,
    directory: RunDirectory,
    progress: Progress | None = None,
) -> StagedProgram:
    """Deploy the stages and an InferenceSession, register the program, and note it in `stages.json`.

    Raises UsageError if the program has no stages, ChainError when a transaction fails.
    """
    if not compiled.stages:
        raise UsageError(
            "one prediction fits a transaction: there are no stages to deploy; leave --stages out"
        )
    sender = Sender(w3)
    total, done = sum(map(len, compiled.stages)) + 2, 0

    def tell(count: int, _: int) -> None:
        if progress:
            progress(done + count, total)

    stages = []
    for units in compiled.stages:
        stages.append(deploy_program(sender, owner, units, tell).addresses)
        done += len(units)
    sessions, _ = InferenceSession.deploy(w3, owner)
    tell(1, total)
    target: Target = "filecoin" if sender.network.gas_unit == "filecoin" else "ethereum"
    rows = compiled.manifest["stages"]
    gas = [given_gas(target, row["need"], row["filecoin"]) for row in rows]
    program, _ = sessions.register(owner, stages, gas)
    tell(2, total)
    note = {"session": sessions.address, "program": "0x" + program.hex(), "stages": stages}
    write_atomically(directory.path / "stages.json", json.dumps(note, indent=2) + "\n")
    return StagedProgram(sessions, program, tuple(stages))
