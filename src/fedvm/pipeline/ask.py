"""Ask a run's contract, or a compiled program, about images or numbers, and read what was decided before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from eth_account.signers.local import LocalAccount
from numpy.typing import NDArray

from fedvm.audit.description import Description, read_description
from fedvm.audit.errors import DescriptionError
from fedvm.chain.errors import DeploymentError
from fedvm.chain.fees import Lineage
from fedvm.chain.model_service import Decision, ModelService
from fedvm.chain.networks import network_of
from fedvm.chain.revm import RevmProgram
from fedvm.compiler import CompiledModel
from fedvm.evm.calls import PREDICT, encode_call
from fedvm.evm.gas import intrinsic_gas
from fedvm.evm.limits import MAX_CALLDATA_BYTES
from fedvm.images.prepare import Preparation
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.onnx_model import local_program
from fedvm.pipeline.questions import Question, image_questions, value_questions
from fedvm.pipeline.shares import doubt_of, shares_of
from fedvm.rundir.errors import RunDirectoryError
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import Run
from fedvm.store import Cid, Store, StoreError

_BATCH_SHARE = 0.5
"""Of a transaction's most gas: the rest is for the events and for what an estimate falls short by."""
_BATCH_BYTES = 4 + 5 * 32
"""Calldata of `decideMany` without inputs: selector, four arguments, and how many inputs there are."""
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Answer:
    """What the contract said of one image, or row of numbers.

    image: its path, or what names the row. title: what the model is, in its owner's words. label: index of the
    highest score, as the contract computes it. values: the real numbers that the scores
    stand for. shares: for each class the softmax of scores · `score_scale`, 0 … 1.
    doubt: why the answer should not be relied on, "" if nothing speaks against it. gas: of a transaction that calls
    `predict`; of a recorded decision, its share of the transaction. version: 0 for a program that was asked without a
    chain. notes: conversions made to the input. seen: uint8 `[C, H, W]`, the picture that the model was given, None
    if it was given numbers. decision: the decision's id if it was recorded.
    """

    image: str
    title: str
    label: int
    class_names: tuple[str, ...]
    scores: tuple[int, ...]
    values: tuple[float, ...]
    shares: tuple[float, ...]
    doubt: str
    gas: int
    version: int
    notes: tuple[str, ...]
    seen: NDArray[np.uint8] | None
    decision: int | None = None
    tx: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, without the pixels."""
        fields = asdict(replace(self, seen=None))
        del fields["seen"]
        return {**fields, "class": self.class_names[self.label]}


def ask(
    images: Sequence[Path],
    asked: Run | Path,
    *,
    values: str | None = None,
    user: LocalAccount | None = None,
    max_fee: int | None = None,
) -> Iterator[Answer]:
    """Ask the ModelService of an open run about each image, prepared as the version says, or about rows of numbers.

    asked: the run, or a directory that `fedvm compile` wrote, whose program runs in this process. values: numbers
    instead of images, as `value_questions` takes them; images: as `image_questions`. All are read before the first
    question. With `user` the answers are recorded as decisions, which that account sends and pays for. Decisions share
    as few transactions as possible; each transaction records all of its decisions or none. A decision pays the
    version's fee, at most `max_fee` wei. A recorded input is public for ever.
    Raises UsageError, ImageError, RunDirectoryError, DescriptionError, StoreError, ChainError.
    """
    if isinstance(asked, Path):
        yield from _run_here(images, asked, values)
        return
    service = asked.model_service
    version = service.current_version()
    description = version_description(asked.store, service, version)
    questions = _questions(images, values, description)
    if user is not None:
        yield from _decided(service, user, version, description, questions, max_fee or 0)
        return
    for one in questions:
        scores, label = tuple(map(int, service.predict(one.data))), service.classify(one.data)
        yield _answer(one, description, label, scores, service.predict_gas(one.data), version)


def _run_here(images: Sequence[Path], directory: Path, values: str | None) -> Iterator[Answer]:
    program, description = _compiled(directory)
    for one in _questions(images, values, description):
        outcome = program.predict_many(np.frombuffer(one.data, np.uint8)[None])
        scores = tuple(map(int, outcome.scores[0]))
        gas = int(outcome.gas[0]) + intrinsic_gas(encode_call(PREDICT, one.data))
        yield _answer(one, description, program.classify(one.data), scores, gas, 0)


def _questions(images: Sequence[Path], values: str | None, description: Description) -> list[Question]:
    return image_questions(images, description) if values is None else value_questions(values, description)


def version_description(store: Store, service: ModelService, version: int) -> Description:
    """The description of a version's input and classes, from the ONNX file whose CID the chain records. Raises
    StoreError if the store lacks the file or holds another, DescriptionError if the file has no description, UsageError
    if the service serves no version.
    """
    if not version:
        raise UsageError("no version serves: register one, and let it pass its gate")
    return read_description(store.get(service.version(version).onnx_cid))


@dataclass(frozen=True)
class Recorded:
    """The decisions that a run's service has recorded, and for each version that decided, its class names and
    lineage."""

    decisions: tuple[Decision, ...]
    class_names: Mapping[int, tuple[str, ...]]
    lineages: Mapping[int, Lineage]


def recorded_decisions(run: Run) -> Recorded:
    """Read them from an open run's chain. Classes are named by their numbers if no store has their names.

    Raises ChainError.
    """
    service = run.model_service
    found = tuple(service.decisions(first=run.deployment.block))
    firsts = {decision.version: decision for decision in reversed(found)}
    lineages = {version: service.lineage(first.id) for version, first in sorted(firsts.items())}
    names: dict[int, tuple[str, ...]] = {}
    for version in firsts:
        try:
            names[version] = version_description(run.store, service, version).classes
        except (StoreError, DescriptionError, DeploymentError):
            names[version] = ()
    return Recorded(found, names, lineages)


def shown_decisions(recorded: Recorded) -> Iterator[dict[str, Any]]:
    """Decisions as plain values for a table or JSON."""
    for decision in recorded.decisions:
        names, label = recorded.class_names[decision.version], decision.label
        yield {
            "id": decision.id,
            "class": names[label] if label < len(names) else f"class {label}",
            "scores": None if decision.scores is None else list(decision.scores),
            "version": decision.version,
            "caller": decision.caller,
            "input_hash": "0x" + decision.input_hash.hex(),
            "input_recorded": decision.input is not None,
            "block": decision.at.block_number,
            "tx": decision.at.tx_hash,
            "lineage": _shown_lineage(recorded.lineages[decision.version]),
        }


def _answer(
    question: Question,
    description: Description,
    label: int,
    scores: tuple[int, ...],
    gas: int,
    version: int,
) -> Answer:
    shares = shares_of(scores, description.score_scale, description.head)
    return Answer(
        image=question.name,
        title=description.title,
        label=label,
        class_names=description.classes,
        scores=scores,
        values=tuple(s * scale for s, scale in zip(scores, description.score_scale, strict=True)),
        shares=shares,
        doubt=doubt_of(shares, description.classes, blank=question.blank),
        gas=gas,
        version=version,
        notes=question.notes,
        seen=question.seen,
    )


def _decided(
    service: ModelService,
    user: LocalAccount,
    version: int,
    description: Description,
    asked: Sequence[Question],
    max_fee: int,
) -> Iterator[Answer]:
    """Record decisions on what is asked, in its order."""
    inputs = [one.data for one in asked]
    waiting = iter(asked)
    for batch in _batches(service, inputs):
        if len(batch) == 1:
            one, receipt = service.decide(user, batch[0], expected_version=version, max_fee=max_fee)
            decisions: Sequence[Decision] = (one,)
        else:
            decisions, receipt = service.decide_many(user, batch, expected_version=version, max_fee=max_fee)
        gas = receipt.gas_used // len(batch)
        for data, decision in zip(batch, decisions, strict=True):
            # An event has no room for very many scores.
            scores = decision.scores or tuple(map(int, service.predict(data, version=decision.version)))
            answer = _answer(next(waiting), description, decision.label, scores, gas, decision.version)
            yield replace(answer, decision=decision.id, tx=receipt.tx_hash)


def _batches(service: ModelService, inputs: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The inputs in as few transactions as hold them. A program's gas hardly depends on the input."""
    if len(inputs) == 1:
        yield inputs
        return
    gas = service.predict_gas(inputs[0])
    most = max(1, int(network_of(service.w3).transaction_gas * _BATCH_SHARE) // gas)
    batch: list[bytes] = []
    size = 0
    for data in inputs:
        encoded = 64 + -(-len(data) // 32) * 32  # where it lies, how long it is, and itself in whole words
        if batch and (len(batch) == most or _BATCH_BYTES + size + encoded > MAX_CALLDATA_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(data)
        size += encoded
    yield batch


def _compiled(directory: Path) -> tuple[RevmProgram, Description]:
    """The program of a directory that `fedvm compile` wrote."""
    if not (directory / _MANIFEST).is_file():
        run = RunDirectory(directory)
        advice = f"its run has not ended. Continue it with `fedvm run --out {directory} --resume`."
        if not run.started:
            advice = (
                f"neither a run's {run.deployment.name} nor a program's {_MANIFEST}. Name what `fedvm run`, "
                "`fedvm deploy` or `fedvm compile -o` has written."
            )
        raise RunDirectoryError(f"{directory} holds no compiled model: {advice}")
    compiled = CompiledModel.load(directory)
    said = compiled.manifest.get("description")
    if said is not None:
        description = Description.from_json(said)
    else:
        numbers = tuple(f"class {index}" for index in range(compiled.manifest["output"]["scores"]))
        description = Description.of(
            compiled.manifest, title="", classes=numbers, preparation=Preparation.PHOTO
        )
    return local_program(compiled), description


def _shown_lineage(lineage: Lineage) -> dict[str, Any]:
    shown = asdict(lineage) | {"onnx_cid": str(Cid.from_binary(lineage.onnx_cid))}
    return {name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in shown.items()}
