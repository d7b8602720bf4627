"""A gate for the federation of a user's app: fixed before the first round, over labelled inputs that its owner has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedvm.chain.model_service import ModelService
from fedvm.pipeline.config import GateSettings
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.gate import gate_terms, sample_tree, save_samples
from fedvm.pipeline.table import INPUT_NAMES, LABEL_NAMES, read_array
from fedvm.rundir.layout import RunDirectory
from fedvm.rundir.run import Run


@dataclass(frozen=True)
class Validation:
    """Labelled inputs, bytes as the program will take them; their classes, from 0, and how sure a trial on them is."""

    inputs: tuple[bytes, ...]
    labels: tuple[int, ...]
    settings: GateSettings

    @property
    def classes(self) -> int:
        """How many there are."""
        return max(self.labels) + 1


def read_validation(file: Path, settings: GateSettings) -> Validation:
    """The inputs of an .npz file, uint8 `[N, ...]`, and their `labels` `[N]`. settings: the number of samples is the
    file's.

    Raises:
        UsageError: the file holds something else, or too few samples for a trial.
    """
    inputs = read_array(file, INPUT_NAMES)
    labels = read_array(file, LABEL_NAMES, exactly=True)
    if inputs.dtype != np.uint8 or inputs.ndim < 2:
        raise UsageError(
            f"{file}: holds inputs of {inputs.dtype}{list(inputs.shape)}; a gate is fixed before anything is compiled, "
            "so give bytes (uint8) [N, ...], as the program will take them"
        )
    if labels.shape != inputs.shape[:1] or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        raise UsageError(
            f"{file}: needs a class from 0, a whole number, for each of the {len(inputs)} inputs"
        )
    if labels.max(initial=0) < 1:
        raise UsageError(f"{file}: holds inputs of one class: give some of each")
    try:
        wanted = replace(
            settings, samples=len(inputs), max_samples=min(settings.max_samples, len(inputs)), enabled=True
        )
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    return Validation(tuple(one.tobytes() for one in inputs), tuple(labels.tolist()), wanted)


def fix_gate(run: Run, validation: Validation) -> ModelService:
    """Create the service of a federation's directory, with a gate. run: open for writing, on an embedded chain, before
    the first round. Raises ChainError when a transaction fails."""
    assert run.chain is not None and run.path is not None
    owner, directory = run.chain.account("owner"), RunDirectory(run.path)
    tree = sample_tree(validation.inputs, validation.labels, owner)
    save_samples(tree, directory)
    terms = gate_terms(validation.settings, tree, validation.classes)
    service, _ = ModelService.deploy(run.w3, owner, gate=terms)
    run.deployment = replace(run.deployment, service=service.address)
    run.deployment.save(directory.path)
    return service
