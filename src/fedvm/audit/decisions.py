"""Runs every recorded decision again, in revm, on the code of its version."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.findings import Ledger, Place
from fedvm.audit.versions import ServedVersion
from fedvm.chain.decoding import decoded_input
from fedvm.chain.errors import ChainError
from fedvm.chain.model_service import Decision, ModelService, hash_of_scores
from fedvm.chain.revm import RevmProgram
from fedvm.evm.keccak import keccak


class DecisionReplay:
    """Checks the decisions of one service into `ledger`. served: the versions whose code can be run, by number."""

    def __init__(
        self,
        reader: ChainReader,
        service: ModelService,
        ledger: Ledger,
        served: Mapping[int, ServedVersion],
    ) -> None:
        self._reader, self._service, self._ledger, self._served = reader, service, ledger, served
        self._programs = {
            number: RevmProgram(version.codes, version.program, warm=True)
            for number, version in served.items()
        }
        self._given: tuple[str, Mapping[bytes, bytes]] = ("", {})

    def run(self, first_block: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Check the scores of every decision whose input the chain holds; `progress(done, decisions)`.

        An event records an input of up to 4 KiB. A longer one is taken from the input of the transaction, if that
        called the service itself; if not, the chain has no more of it than its hash, and nothing is checked.
        """
        decisions = list(self._service.decisions(first=first_block, last=self._reader.head))
        serving, changes = 0, list(self._service.served(first=first_block, last=self._reader.head))
        for done, decision in enumerate(decisions, start=1):
            at = (decision.at.block_number, decision.at.log_index)
            while changes and (changes[0].at.block_number, changes[0].at.log_index) < at:
                serving = changes.pop(0).version
            self._check(decision, serving)
            if progress:
                progress(done, len(decisions))

    def _check(self, decision: Decision, serving: int) -> None:
        place = Place(version=decision.version, decision=decision.id, tx=decision.at.tx_hash)
        check = self._ledger.check
        served = decision.version == serving
        check("decider", served, place, f"version {serving} served, not version {decision.version}")
        self._check_caller(decision, place)
        data = self._input_of(decision)
        if data is None:
            return
        if keccak(data) != decision.input_hash:
            check("decision", False, place, "its input has not the hash stated")
            return
        program = self._programs.get(decision.version)
        if program is None:
            self._ledger.unverified("decision", place, "cannot be run again: its version's code was altered")
            return
        try:
            scores = tuple(program.predict(data, gas=self._served[decision.version].gas).tolist())
        except ChainError as error:
            check("decision", False, place, f"running it again fails: {error}")
            return
        check(
            "decision",
            hash_of_scores(scores) == decision.scores_hash
            and decision.scores in (None, scores)
            and decision.label == scores.index(max(scores)),
            place,
            f"recorded are {_recorded(decision)}, running it again gives {list(scores)}",
        )

    def _check_caller(self, decision: Decision, place: Place) -> None:
        """Who sent the transaction decided, if it called the service itself."""
        transaction = self._reader.transaction(decision.at.tx_hash)
        if str(transaction["to"]).lower() == self._service.address.lower():
            same = str(transaction["from"]).lower() == decision.caller.lower()
            message = f"is stated to be of {decision.caller}, {transaction['from']} sent it"
            self._ledger.check("decider", same, place, message)

    def _input_of(self, decision: Decision) -> bytes | None:
        if decision.input is not None:
            return decision.input
        if self._given[0] != decision.at.tx_hash:
            self._given = (decision.at.tx_hash, self._inputs_in(decision.at.tx_hash))
        return self._given[1].get(decision.input_hash)

    def _inputs_in(self, tx_hash: str) -> Mapping[bytes, bytes]:
        """The inputs that a transaction gave the service itself, by their hashes."""
        name, arguments = decoded_input(self._service.contract, self._reader.calldata(tx_hash))
        if name == "decide":
            given = [bytes(arguments["input"])]
        else:
            given = [bytes(one) for one in arguments["inputs"]] if name == "decideMany" else []
        return {keccak(one): one for one in given}


def _recorded(decision: Decision) -> str:
    if decision.scores is None:
        return f"class {decision.label} and scores of the hash 0x{decision.scores_hash.hex()}"
    return f"class {decision.label} and the scores {list(decision.scores)}"
