"""The ONNX file of a run and the notes in it from which anyone can compile it again.

`model.onnx` names, in its standard `metadata_props`, the calibration images (by CID), the preprocessing and
the compiler's options. So from the ONNX file's CID, which the chain records, an auditor with the store alone
gets everything a compilation depends on.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.audit.errors import RecipeError
from fedvm.compiler import COMPILER_VERSION, version_of
from fedvm.jsontext import parse_json
from fedvm.store import Store

OPTIONS = frozenset(
    {"weight_bits", "activation_bits", "input_bits", "lane_bits", "input_range", "optimize", "output"}
)
_KEY = "fedvm.recipe"


@dataclass(frozen=True)
class CompileRecipe:
    """Everything besides the ONNX graph that a compilation depends on.

    calibration: CID of the calibration images, uint8 of shape calibration_shape in C order; preprocess:
    (scale, offset) of the ONNX input's real numbers over bytes, None if it takes bytes; tensors: names of the
    federated tensors in canonical order, initializers or `NODE.ATTRIBUTE` of floats, and fraction_bits their scale,
    empty and 0 without a federation;
    options: the other keyword arguments of `fedvm.compiler.compile_model`, of those in `OPTIONS`; compiler: version of
    the compiler that made the program.
    """

    calibration: str
    calibration_shape: tuple[int, ...]
    preprocess: tuple[float, float] | None
    tensors: tuple[str, ...]
    fraction_bits: int
    options: dict[str, Any]
    compiler: int = COMPILER_VERSION

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `compile_model` beside the calibration."""
        return {"preprocess": self.preprocess, **self.options}


def write_recipe(model: bytes, recipe: CompileRecipe) -> bytes:
    """The ONNX file `model` with `recipe` in its metadata; the same arguments give the same bytes."""
    proto = onnx.load_model_from_string(model)
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = _KEY, json.dumps(asdict(recipe), sort_keys=True)
    return bytes(proto.SerializeToString(deterministic=True))


def read_recipe(model: bytes) -> CompileRecipe:
    """The recipe in an ONNX file. Raises RecipeError when there is none, or it is malformed."""
    try:
        proto = onnx.load_model_from_string(model)
        text = {entry.key: entry.value for entry in proto.metadata_props}[_KEY]
        fields = parse_json(text)
        scale_offset, options = fields["preprocess"], dict(fields["options"])
        if unknown := sorted(options.keys() - OPTIONS):
            raise RecipeError(f"unknown compiler options {unknown}")
        return CompileRecipe(
            calibration=str(fields["calibration"]),
            calibration_shape=tuple(int(size) for size in fields["calibration_shape"]),
            preprocess=(float(scale_offset[0]), float(scale_offset[1])) if scale_offset else None,
            tensors=tuple(str(name) for name in fields["tensors"]),
            fraction_bits=int(fields["fraction_bits"]),
            options=options,
            compiler=version_of(fields),
        )
    except Exception as error:
        raise RecipeError(f"the ONNX file holds no readable {_KEY}: {error}") from None


def calibration_images(store: Store, recipe: CompileRecipe) -> NDArray[np.uint8]:
    """The calibration images from the store. Raises StoreError, or RecipeError when the size does not fit."""
    data = store.get(recipe.calibration)
    if len(data) != int(np.prod(recipe.calibration_shape)):
        raise RecipeError(f"calibration {recipe.calibration} has {len(data)} bytes, not the recipe's shape")
    return np.frombuffer(data, dtype=np.uint8).reshape(recipe.calibration_shape)


def stored_weights(model: bytes) -> dict[str, NDArray[Any]]:
    """The weights in an ONNX file: initializers by name, and attributes of floats as `NODE.ATTRIBUTE`."""
    graph = onnx.load_model_from_string(model).graph
    weights = {
        name: np.array(attribute.floats, np.float32) for name, attribute in float_attributes(graph).items()
    }
    return weights | {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def float_attributes(graph: onnx.GraphProto) -> dict[str, onnx.AttributeProto]:
    """A graph's attributes of floats, which may be changed in place, by the names `NODE.ATTRIBUTE`."""
    return {
        f"{node.name}.{attribute.name}": attribute
        for node in graph.node
        for attribute in node.attribute
        if attribute.type == onnx.AttributeProto.FLOATS
    }
