"""Ask the contract of a finished run about one image, and read what was decided before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedvm.chain.fees import Lineage
from fedvm.chain.keys import load_key
from fedvm.chain.model_service import Decision
from fedvm.devnet.embedded import EmbeddedChain
from fedvm.pipeline.images import ImageInput, load_image
from fedvm.rundir.errors import RunDirectoryError
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import Run, open_run
from fedvm.store import Cid


@dataclass(frozen=True)
class Answer:
    """What the contract said. gas: of a transaction that calls `predict`; decision: its id when recorded.

    label: index of the highest score, as the contract decides it; notes: conversions made to the image.
    """

    label: int
    class_names: tuple[str, ...]
    scores: tuple[int, ...]
    gas: int
    version: int
    notes: tuple[str, ...]
    decision: int | None = None
    tx: str = ""


def ask(
    image: Path, directory: Path, *, resize: bool = False, record: bool = False, max_fee: int = 0
) -> Answer:
    """Send the image's bytes to ModelService; with `record` as a decision, by the first `user` account.

    A decision pays the version's fee, at most `max_fee` wei. On a network the key comes from the environment or
    `.env`. A recorded input is public for ever.
    Raises ImageError, RunDirectoryError, ChainError.
    """
    manifest = _manifest(directory)
    pixels = load_image(image, _image_shape(manifest, directory), resize=resize)
    data = _as_input(pixels, manifest)
    with open_run(directory, read_only=not record) as run:
        names = class_names(directory, manifest["output"]["scores"])
        service = run.model_service
        version = service.current_version()
        if record:
            decision, receipt = service.decide(_user(run), data, expected_version=version, max_fee=max_fee)
            return Answer(
                service.classify(data),
                names,
                decision.scores,
                receipt.gas_used,
                decision.version,
                pixels.notes,
                decision.id,
                receipt.tx_hash,
            )
        scores = tuple(int(score) for score in service.predict(data))
        return Answer(service.classify(data), names, scores, service.predict_gas(data), version, pixels.notes)


@dataclass(frozen=True)
class Recorded:
    """The decisions that a run's service has recorded, the names of its classes, and the lineage of each version
    that decided."""

    decisions: tuple[Decision, ...]
    class_names: tuple[str, ...]
    lineages: Mapping[int, Lineage]


def recorded_decisions(directory: Path) -> Recorded:
    """Read them from the run's chain. Raises ChainError."""
    with open_run(directory) as run:
        service = run.model_service
        found = tuple(service.decisions(first=run.deployment.block))
        width = len(found[0].scores) if found else 0
        firsts = {decision.version: decision.id for decision in reversed(found)}
        lineages = {version: service.lineage(first) for version, first in sorted(firsts.items())}
        return Recorded(found, class_names(directory, width), lineages)


def class_names(directory: Path, count: int) -> tuple[str, ...]:
    """Names from the run's report; the classes' numbers where there is none."""
    try:
        names = json.loads(RunDirectory(directory).report.read_text())["data"]["class_names"]
        if len(names) == count or not count:
            return tuple(names)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return tuple(f"class {index}" for index in range(count))


def _manifest(directory: Path) -> dict[str, Any]:
    path = RunDirectory(directory).program / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        raise RunDirectoryError(
            f"{directory} holds no compiled model (program/manifest.json): is it a run's directory, and did "
            "the run end? An interrupted run is continued with `fedvm run --resume`."
        ) from None
    return manifest


def _image_shape(manifest: dict[str, Any], directory: Path) -> tuple[int, int, int]:
    shape = manifest["input"]["shape"]
    if len(shape) != 3:
        raise RunDirectoryError(f"the model in {directory} takes {shape}, which is no image")
    if manifest["input"]["layout"] == "HWC":
        height, width, channels = shape
        return channels, height, width
    channels, height, width = shape
    return channels, height, width


def _as_input(image: ImageInput, manifest: dict[str, Any]) -> bytes:
    pixels = image.pixels
    return (pixels.transpose(1, 2, 0) if manifest["input"]["layout"] == "HWC" else pixels).tobytes()


def _user(run: Run) -> Any:
    chain: EmbeddedChain | None = run.chain
    return chain.account("user") if chain is not None else load_key()


def shown_decisions(recorded: Recorded) -> Iterator[dict[str, Any]]:
    """Decisions as plain values for a table or JSON."""
    names = recorded.class_names
    for decision in recorded.decisions:
        label = max(range(len(decision.scores)), key=decision.scores.__getitem__)
        yield {
            "id": decision.id,
            "class": names[label] if label < len(names) else str(label),
            "scores": list(decision.scores),
            "version": decision.version,
            "caller": decision.caller,
            "input_hash": "0x" + decision.input_hash.hex(),
            "input_recorded": decision.input is not None,
            "block": decision.at.block_number,
            "tx": decision.at.tx_hash,
            "lineage": _shown_lineage(recorded.lineages[decision.version]),
        }


def _shown_lineage(lineage: Lineage) -> dict[str, Any]:
    shown = asdict(lineage) | {"onnx_cid": str(Cid.from_binary(lineage.onnx_cid))}
    return {name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in shown.items()}
