"""`model.pt`: the weights of a network and what is needed to build it again."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedvm.files import write_atomically
from fedvm.learning.data import Normalisation
from fedvm.learning.errors import CheckpointError, LearningError
from fedvm.learning.models import ModelSpec, load_model
from fedvm.learning.quantization import QuantizationSettings

_FORMAT = "fedvm-model/1"


@dataclass(frozen=True)
class Checkpoint:
    """A network on the CPU in evaluation mode, its spec, its class names, and the normalisation of its pixels."""

    model: nn.Module
    spec: ModelSpec
    class_names: tuple[str, ...]
    normalisation: Normalisation = field(default_factory=Normalisation)


def save_checkpoint(
    path: Path,
    model: nn.Module,
    spec: ModelSpec,
    class_names: tuple[str, ...],
    normalisation: Normalisation | None = None,
) -> None:
    """Write `path` atomically; the same weights give the same bytes. Plain PyTorch can read it, too.

    Raises:
        CheckpointError: `class_names` does not fit the spec, or `path` cannot be written.
    """
    if len(class_names) != spec.classes:
        raise CheckpointError(f"the model has {spec.classes} classes but {len(class_names)} names were given")
    content: dict[str, Any] = {
        "format": _FORMAT,
        "spec": {
            "name": spec.name,
            "shape": list(spec.shape),
            "classes": spec.classes,
            "normalisation": asdict(spec.normalisation),
            "quantization": None if spec.quantization is None else asdict(spec.quantization),
        },
        "class_names": list(class_names),
        "normalisation": asdict(normalisation or Normalisation()),
        "state_dict": {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read `path` without running any code in it (`weights_only`).

    Raises:
        CheckpointError: the file is missing, damaged or not a FedVM checkpoint, or its weights do not fit the spec.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no such checkpoint: {path}") from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is damaged or not a PyTorch checkpoint: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of the form {_FORMAT}")
    try:
        stored = content["spec"]
        channels, height, width = stored["shape"]
        normalisation = Normalisation(**content["normalisation"])
        wanted = stored.get("quantization")
        spec = ModelSpec(
            stored["name"],
            (channels, height, width),
            stored["classes"],
            None if wanted is None else QuantizationSettings(**wanted),
            Normalisation(**stored.get("normalisation", {})),
        )
        model = load_model(spec, content["state_dict"])
        names = tuple(content["class_names"])
    except (KeyError, TypeError, ValueError, RuntimeError, LearningError) as error:
        raise CheckpointError(f"{path} does not hold what its header says: {error}") from error
    return Checkpoint(model.eval(), spec, names, normalisation)
