"""Runs every recorded decision again, in revm, on the code of its version."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedvm.audit.findings import Ledger, Place
from fedvm.audit.versions import ServedVersion
from fedvm.chain.errors import ChainError
from fedvm.chain.model_service import Decision, ModelService, hash_of_scores
from fedvm.chain.revm import RevmProgram


def replay_decisions(
    service: ModelService,
    ledger: Ledger,
    served: Mapping[int, ServedVersion],
    first_block: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Check the scores of every decision whose input the chain holds; `progress(done, decisions)`.

    Of an input over 4 KiB the chain holds only the hash, so such a decision is not checked here.
    """
    programs = {
        number: RevmProgram(version.codes, version.program, warm=True) for number, version in served.items()
    }
    decisions = list(service.decisions(first=first_block))
    for done, decision in enumerate(decisions, start=1):
        if decision.input is not None:
            gas = served[decision.version].gas if decision.version in served else 0
            _check(decision, decision.input, gas, ledger, programs)
        if progress:
            progress(done, len(decisions))


def _check(
    decision: Decision, data: bytes, gas: int, ledger: Ledger, programs: Mapping[int, RevmProgram]
) -> None:
    place = Place(version=decision.version, decision=decision.id, tx=decision.at.tx_hash)
    program = programs.get(decision.version)
    if program is None:
        ledger.check("decision", False, place, "cannot be run again: its version's code was altered")
        return
    try:
        scores = tuple(program.predict(data, gas=gas).tolist())
    except ChainError as error:
        ledger.check("decision", False, place, f"running it again fails: {error}")
        return
    ledger.check(
        "decision",
        hash_of_scores(scores) == decision.scores_hash
        and decision.scores in (None, scores)
        and decision.label == scores.index(max(scores)),
        place,
        f"recorded are {_recorded(decision)}, running it again gives {list(scores)}",
    )


def _recorded(decision: Decision) -> str:
    if decision.scores is None:
        return f"class {decision.label} and scores of the hash 0x{decision.scores_hash.hex()}"
    return f"class {decision.label} and the scores {list(decision.scores)}"
