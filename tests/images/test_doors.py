"""The same file gives the same bytes, whichever way it comes in: to train, to calibrate, to ask, to show."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image

from fedvm.images.encode import png
from fedvm.images.prepare import Preparation, load_image
from fedvm.learning.datasets import load_dataset
from fedvm.learning.export import export_onnx
from fedvm.learning.models import ModelSpec, build_model
from fedvm.pipeline.ask import ask
from fedvm.pipeline.calibration import load_calibration
from fedvm.pipeline.onnx_model import Request, prepare

SIDE = 12


def _blob(colour: bool) -> np.ndarray:
    """A picture of 40×30 pixels without any symmetry."""
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(small).resize((40, 30), Image.Resampling.BICUBIC))
    return large if colour else np.ascontiguousarray(large[..., 0])


def _turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(_blob(True)).save(path.with_suffix(".jpg"), exif=exif, quality=90)


def _transparent(path: Path) -> None:
    alpha = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    Image.fromarray(np.dstack([_blob(True), alpha])).save(path.with_suffix(".png"))


def _grey_alpha(path: Path) -> None:
    alpha = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    image = Image.merge("LA", (Image.fromarray(_blob(False)), Image.fromarray(alpha)))
    image.save(path.with_suffix(".png"))


def _palette(path: Path) -> None:
    Image.fromarray(_blob(True)).quantize(16).save(path.with_suffix(".png"), transparency=0)


def _wide(path: Path) -> None:
    Image.fromarray(_blob(False).astype(np.uint16) * 201).save(path.with_suffix(".png"))


def _cmyk(path: Path) -> None:
    Image.fromarray(_blob(True)).convert("CMYK").save(path.with_suffix(".jpg"), quality=90)


def _animated(path: Path) -> None:
    frames = [Image.fromarray(_blob(False)), Image.fromarray(255 - _blob(False))]
    frames[0].save(path.with_suffix(".gif"), save_all=True, append_images=frames[1:])


def _bits(path: Path) -> None:
    Image.fromarray((_blob(False) > 128).astype(np.uint8) * 255).convert("1").save(path.with_suffix(".tif"))


KINDS: dict[str, Callable[[Path], None]] = {
    "turned": _turned,
    "transparent": _transparent,
    "grey with alpha": _grey_alpha,
    "palette": _palette,
    "16 bits": _wide,
    "CMYK": _cmyk,
    "animated": _animated,
    "1 bit": _bits,
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, Preparation], Path]:
    """A directory of `fedvm compile -o` for images of so many channels, prepared so."""
    home = tmp_path_factory.mktemp("programs")

    def program(channels: int, preparation: Preparation) -> Path:
        directory = home / f"{channels}-{preparation}"
        if not directory.is_dir():
            shape = (channels, SIDE, SIDE)
            export_onnx(build_model(ModelSpec("linear", shape, 3), seed=1), shape, home / "model.onnx")
            request = Request(home / "model.onnx", preprocess=(1 / 127.5, -1.0), preparation=preparation)
            prepare(request).compiled.save(directory)
        return directory

    return program


@pytest.mark.parametrize("preparation", [Preparation.PHOTO, Preparation.DRAWING])
@pytest.mark.parametrize("kind", KINDS)
def test_every_door_gives_the_same_bytes(
    tmp_path: Path, programs: Callable[[int, Preparation], Path], kind: str, preparation: Preparation
) -> None:
    (tmp_path / "file").mkdir()
    KINDS[kind](tmp_path / "file" / "image")
    (file,) = (tmp_path / "file").iterdir()
    content, size = file.read_bytes(), (SIDE, SIDE)

    folder = tmp_path / "folder"
    for place in ("train/a", "train/b", "test/a"):
        (folder / place).mkdir(parents=True)
        shutil.copy(file, folder / place)
    trained = load_dataset("own", folder, size=size, preparation=preparation)
    wanted, shape = trained.train.images[0], trained.shape

    table = Dataset.from_dict(
        {"image": [content] * 2, "label": [0, 1]},
        features=Features({"image": Value("binary"), "label": ClassLabel(names=["a", "b"])}),
    )
    (tmp_path / "parquet").mkdir()
    table.to_parquet(tmp_path / "parquet" / "train.parquet")
    table.to_parquet(tmp_path / "parquet" / "test.parquet")
    local = load_dataset("own", tmp_path / "parquet", size=size, preparation=preparation)
    hub = load_dataset(str(tmp_path / "parquet"), size=size, preparation=preparation)  # as the hub's are read
    calibration, _ = load_calibration(tmp_path / "file", shape, preparation)
    (answer,) = ask([file], programs(shape[0], preparation))
    single = load_image(content, shape, preparation)
    shown = load_image(png(single.pixels), shape, Preparation.RAW)
    for door, pixels in {
        "folder, second class": trained.train.images[1],
        "folder, test": trained.test.images[0],
        "parquet": local.train.images[1],
        "hub": hub.test.images[0],
        "calibration": calibration[0],
        "predict": answer.seen,
        "bytes": single.pixels,
        "as shown": shown.pixels,
        "Pillow's image": load_image(Image.open(io.BytesIO(content)), shape, preparation).pixels,
    }.items():
        assert np.array_equal(pixels, wanted), door
    assert answer.notes == tuple(str(note) for note in single.notes) and single.notes
    assert len(trained.notes) == len(single.notes) and all(
        note.startswith("3 images: ") for note in trained.notes
    )
