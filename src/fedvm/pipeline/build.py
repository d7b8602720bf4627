"""Step 5: the federated network as `model.pt` and `model.onnx`, and compiled to EVM code."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from fedvm.audit.description import Description, write_description
from fedvm.audit.recipe import CompileRecipe, write_recipe
from fedvm.compiler import CompiledModel, compile_model
from fedvm.images.prepare import Preparation
from fedvm.learning.checkpoint import save_checkpoint
from fedvm.learning.export import export_onnx
from fedvm.pipeline.config import RunConfig
from fedvm.pipeline.data import PreparedData
from fedvm.pipeline.federate import Trained
from fedvm.pipeline.publish import publish
from fedvm.rundir.layout import RunDirectory
from fedvm.store import Store


@dataclass(frozen=True)
class Built:
    """The compiled network. onnx: bytes of `model.onnx`, whose metadata hold the recipe for compiling it again and the
    description of its input and classes."""

    onnx: bytes
    onnx_cid: str
    compiled: CompiledModel


def build(
    config: RunConfig, data: PreparedData, trained: Trained, store: Store, directory: RunDirectory
) -> Built:
    """Write `model.pt`, `model.onnx`, `model.int.onnx` and `program/`; publish what the audit needs.

    All of it follows from the trained weights and the configuration, so doing it again changes nothing.
    Raises ExportError, CompileError, or DescriptionError for class names that cannot be used.
    """
    save_checkpoint(
        directory.checkpoint,
        trained.model,
        trained.model_spec,
        data.images.class_names,
        data.images.normalisation,
    )
    scale = data.images.normalisation
    recipe = CompileRecipe(
        calibration=store.put(data.calibration.tobytes()),
        calibration_shape=data.calibration.shape,
        preprocess=(scale.scale, scale.offset),
        tensors=tuple(tensor.name for tensor in trained.spec.tensors),
        fraction_bits=config.rules.fraction_bits,
        options={
            "weight_bits": config.compiler.weight_bits,
            "activation_bits": config.compiler.activation_bits,
            "input_bits": config.compiler.input_bits,
            "optimize": config.compiler.optimize,
        },
    )
    onnx = write_recipe(export_onnx(trained.model, data.images.shape, directory.onnx), recipe)
    # No minimum agreement may end a run whose training is done. The report has the accuracy of network and integers on
    # the test images, the gate tests the program itself, and the manifest has what was measured.
    compiled = compile_model(onnx, data.calibration, **recipe.arguments(), min_agreement=0, min_correlation=0)
    description = Description.of(
        compiled.manifest,
        title=config.model.title
        or f"{config.model.name} on {data.images.name}, by {config.data.clients} clients",
        classes=data.images.class_names,
        preparation=Preparation(config.data.preparation),
    )
    onnx = write_description(onnx, description)  # only the metadata change, so the program stays the same
    compiled.manifest.update(source_sha256=sha256(onnx).hexdigest(), description=description.to_json())
    return Built(onnx, publish(onnx, compiled, store, directory), compiled)
