"""Models trained elsewhere, through the command line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import call

SHARED = Path(__file__).parent.parent.parent.parent / "shared"


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared folder")
def test_compile_and_check_the_trained_lenet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(SHARED / "data/cifar10/test.parquet").slice(0, 40)
    pictures = [Image.open(io.BytesIO(row["bytes"])) for row in table["img"].to_pylist()]
    images = np.stack([np.asarray(picture.convert("RGB")).transpose(2, 0, 1) for picture in pictures])
    np.savez(tmp_path / "images.npz", images=images)
    model = str(SHARED / "models/lenet_cifar10_trained.onnx")
    status, out, err = call(
        capsys, "compile", model, "--calibration", str(tmp_path / "images.npz"), "--check",
        "--scale", str(1 / 127.5), "--offset", "-1",
    )  # fmt: skip
    assert status == 0 and "42 inputs, 0 unlike ONNX Runtime" in err and "conv" in out
