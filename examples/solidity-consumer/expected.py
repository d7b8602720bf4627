"""Writes program/expected.json: every fifth flower as the program's bytes, and ONNX Runtime's scores for it."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas

from fedvm.compiler import CompiledModel

compiled = CompiledModel.load("program")
rows = pandas.read_csv("flowers.csv").drop(columns="species").to_numpy(np.float32)[::5]
inputs = compiled.quantize_input(rows)
reference = onnxruntime.InferenceSession(compiled.reference.SerializeToString())
(scores,) = reference.run(None, {reference.get_inputs()[0].name: inputs})
expected = {
    "inputs": ["0x" + row.tobytes().hex() for row in inputs],
    "labels": scores.argmax(axis=1).tolist(),
    "scores": scores.tolist(),
}
Path("program/expected.json").write_text(json.dumps(expected))
