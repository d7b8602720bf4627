"""The network of a run as its configuration describes it, and the integers that it may train on."""

from __future__ import annotations

from dataclasses import replace

from fedvm.compiler.frontend import load_graph
from fedvm.compiler.policy import lane_budget
from fedvm.learning.data import ImageData
from fedvm.learning.export import onnx_bytes
from fedvm.learning.models import ModelSpec, build_model
from fedvm.learning.quantization import MAX_LANE_BITS, QuantizationSettings
from fedvm.pipeline.config import RunConfig


def model_spec(config: RunConfig, data: ImageData) -> ModelSpec:
    """What clients train and the coordinator exports.

    With `training.quantization_aware` it is a network on the integers that the compiler will use: bits as `compiler`
    says, and sums as wide as the compiler's own budget makes cheap for a network of this shape. Raises
    QuantizationError for a network that cannot be trained so.
    """
    ordinary = ModelSpec.for_data(config.model.name, data)
    if not config.training.quantization_aware:
        return ordinary
    bits = config.compiler
    spec = replace(
        ordinary, quantization=QuantizationSettings(bits.input_bits, bits.weight_bits, bits.activation_bits)
    )
    build_model(spec, seed=0)  # reject networks that have no such form before the compiler is asked
    how = data.normalisation
    graph = load_graph(
        onnx_bytes(build_model(ordinary, seed=0), data.shape), preprocess=(how.scale, how.offset)
    )
    lanes = lane_budget(graph, bits.activation_bits, bits.input_bits, bits.weight_bits, bits.optimize)
    widths = {name: min(width, MAX_LANE_BITS) for name, width in lanes.items()}
    return replace(
        spec,
        quantization=QuantizationSettings(bits.input_bits, bits.weight_bits, bits.activation_bits, widths),
    )
