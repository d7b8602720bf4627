"""`benchmarks/results/compiler.json` is the snapshot of what predictions cost: no model may get dearer unnoticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from compiler_bench.cases import LENET, LOW_BIT, UNIT
from compiler_bench.rows import read_results
from numpy.typing import NDArray

from fedvm.compiler import compile_model
from fedvm.images.data_set import Form, load_images
from quick import these_quick

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results" / "compiler.json"
SHARED = REPOSITORY.parent / "shared"
CALIBRATION = 1000


@pytest.fixture(scope="module")
def calibration() -> NDArray[np.uint8]:
    """The first training images, as the benchmark takes them."""
    path = SHARED / "data" / "cifar10" / "train.parquet"
    if not path.is_file() or not (SHARED / "models" / LENET).is_file():
        pytest.skip("no ../shared data")
    batch = next(pq.ParquetFile(path).iter_batches(CALIBRATION, columns=["img"]))
    images = [(f"image {i}", image["bytes"]) for i, image in enumerate(batch.column("img").to_pylist())]
    return load_images(images, len(images), Form()).images


CASES: dict[str, dict[str, object]] = {
    "LeNet, 8-bit": {"activation_bits": 6},
    "LeNet, small code": {"activation_bits": 6, "optimize": "deploy"},
    "LeNet, low-bit": dict(LOW_BIT),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", these_quick(CASES, ("LeNet, 8-bit",)))
def test_lenet_is_not_dearer_than_recorded(name: str, calibration: NDArray[np.uint8]) -> None:
    recorded = {row.name: row.value for row in read_results(RESULTS)}
    compiled = compile_model(SHARED / "models" / LENET, calibration, preprocess=UNIT, **CASES[name])  # type: ignore[arg-type]
    gas = compiled.manifest["gas"]
    message = "run `make bench-compiler` and commit its results if this is meant"
    assert gas["evm"] <= recorded[f"{name}: gas"], message
    assert gas["filecoin"] <= recorded[f"{name}: Filecoin gas, whole message, estimate"], message
    assert gas["deploy"] <= recorded[f"{name}: deployment gas"], message
