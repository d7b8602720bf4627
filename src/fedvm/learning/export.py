"""`model.onnx`: the network as other programs read it."""

from __future__ import annotations

import copy
import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from fedvm.files import write_atomically
from fedvm.learning.data import Shape
from fedvm.learning.device import deterministic
from fedvm.learning.errors import ExportError
from fedvm.learning.quantization import DeployableNetwork, QuantizedNetwork

OPSET = 17
INPUT, OUTPUT = "input", "scores"
TOLERANCE = 1e-4
_CHECKED_IMAGES = 8


def export_onnx(model: nn.Module, shape: Shape, path: Path) -> bytes:
    """Write `model` with its present weights to `path`, as `onnx_bytes` makes them.

    Returns:
        The bytes written.

    Raises:
        ExportError: as `onnx_bytes`, or `path` cannot be written.
    """
    content = onnx_bytes(model, shape)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error}") from error
    return content


def onnx_bytes(model: nn.Module, shape: tuple[int, ...]) -> bytes:
    """`model` with its present weights as an ONNX file, checked to give the same scores in ONNX Runtime.

    The graph takes `input` float32 [batch, *shape], normalised as in training, and gives `scores` float32
    [batch, classes]; opset 17, the batch size free. The same weights give the same bytes (with one version of
    PyTorch).

    Args:
        model: on any device, in any mode; it is exported in evaluation mode and left unchanged. A quantized network
            as `quantization.DeployableNetwork`.
        shape: of one input, (C, H, W) for images.

    Raises:
        ExportError: the network cannot be exported, has weights that are not finite, or ONNX Runtime's scores
            differ from PyTorch's by more than 1e-4 (relative to scores above 1).
    """
    subject = copy.deepcopy(model).cpu().eval()
    for name, tensor in subject.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ExportError(f"weight '{name}' has values that are not finite; the model cannot be exported")
    if isinstance(subject, QuantizedNetwork):
        subject = DeployableNetwork(subject).eval()
    content = _trace(subject, shape)
    _verify(subject, shape, content)
    return content


def _trace(model: nn.Module, shape: tuple[int, ...]) -> bytes:
    # The tracing exporter: the newer one lacks opset 17, makes Flatten a Reshape and takes 4 s, not 40 ms.
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                (torch.zeros(2, *shape),),
                buffer,  # type: ignore[arg-type]
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
                dynamo=False,
                # Otherwise the exporter folds batch normalisation into the convolution, and the file would not hold the
                # tensors that the federation agreed on. The model is in evaluation mode already.
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,  # the same holds for weights that the file puts on a grid
            )
    except Exception as error:  # a network's code, which runs here, raises what it likes
        raise ExportError(
            f"PyTorch cannot export this model to ONNX: {type(error).__name__}: {error}"
        ) from error
    graph = onnx.load_model_from_string(buffer.getvalue())
    for node in graph.graph.node:
        node.ClearField("doc_string")  # these may name source files of this machine
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString(deterministic=True))


def _verify(model: nn.Module, shape: tuple[int, ...], content: bytes) -> None:
    import onnxruntime

    images = np.random.default_rng(0).uniform(-1, 1, (_CHECKED_IMAGES, *shape)).astype(np.float32)
    with deterministic(), torch.inference_mode():
        given = model(torch.from_numpy(images))
    if not isinstance(given, torch.Tensor):
        raise ExportError(f"the network gives a {type(given).__name__}: let it give one tensor of scores")
    expected = given.numpy()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    scores = session.run([OUTPUT], {INPUT: images})[0]
    if scores.shape != expected.shape or not np.allclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE):
        worst = np.abs(scores - expected).max() if scores.shape == expected.shape else float("inf")
        raise ExportError(
            f"ONNX Runtime's scores differ from PyTorch's by up to {worst:.2g} (allowed: {TOLERANCE:g}); "
            "the export is not faithful and was not written"
        )
