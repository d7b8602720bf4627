"""Image files: the pixels a model gets, the conversions noted, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedvm.pipeline.calibration import load_calibration
from fedvm.pipeline.errors import ImageError, UsageError
from fedvm.pipeline.images import load_image

GREY = (1, 4, 5)
COLOUR = (3, 4, 5)


def _save(folder: Path, array: np.ndarray, mode: str | None = None, name: str = "a.png") -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(folder / name)
    return folder / name


@pytest.fixture
def grey() -> np.ndarray:
    return np.arange(20, dtype=np.uint8).reshape(4, 5) * 12


@pytest.fixture
def colour() -> np.ndarray:
    return np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4


def test_fitting_images_pass_unchanged(tmp_path: Path, grey: np.ndarray, colour: np.ndarray) -> None:
    image = load_image(_save(tmp_path, grey), GREY)
    assert image.notes == () and np.array_equal(image.pixels, grey[None])
    image = load_image(_save(tmp_path, colour), COLOUR)
    assert image.notes == () and np.array_equal(image.pixels, colour.transpose(2, 0, 1))


def test_grey_and_colour_turn_into_each_other(tmp_path: Path, grey: np.ndarray, colour: np.ndarray) -> None:
    image = load_image(_save(tmp_path, grey), COLOUR)
    assert np.array_equal(image.pixels, np.stack([grey] * 3)) and "grey" in image.notes[0]
    image = load_image(_save(tmp_path, colour), GREY)
    luma = colour.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(image.pixels[0] - luma).max() <= 1 and "BT.601" in image.notes[0]


def test_transparency_lies_over_black(tmp_path: Path, colour: np.ndarray) -> None:
    alpha = np.full((4, 5, 1), 255, np.uint8)
    opaque = load_image(_save(tmp_path, np.concatenate([colour, alpha], axis=2)), COLOUR)
    assert opaque.notes == () and np.array_equal(opaque.pixels, colour.transpose(2, 0, 1))
    alpha[0, 0] = 0
    image = load_image(_save(tmp_path, np.concatenate([colour + 1, alpha], axis=2)), COLOUR)
    assert not image.pixels[:, 0, 0].any() and "transparent" in image.notes[0]


def test_palettes_and_sixteen_bits(tmp_path: Path, grey: np.ndarray) -> None:
    wide = grey.astype(np.uint16) * 257
    image = load_image(_save(tmp_path, wide), GREY)
    assert np.array_equal(image.pixels[0], grey) and "16 bits" in image.notes[0]
    image = load_image(_save(tmp_path, grey, "P"), GREY)
    assert np.array_equal(image.pixels[0], grey)


def test_wrong_size_is_refused_or_scaled(tmp_path: Path) -> None:
    path = _save(tmp_path, np.full((8, 20), 77, np.uint8))
    with pytest.raises(ImageError, match=r"takes 5×4 pixels, the image has 20×8.*--resize"):
        load_image(path, GREY)
    image = load_image(path, GREY, resize=True)
    assert image.pixels.shape == GREY and (image.pixels == 77).all() and "20×8" in image.notes[0]


def test_unreadable_files_are_refused(tmp_path: Path, colour: np.ndarray) -> None:
    with pytest.raises(ImageError, match="no such file"):
        load_image(tmp_path / "absent.png", GREY)
    text = tmp_path / "b.png"
    text.write_text("hello")
    with pytest.raises(ImageError, match=r"b\.png: not a readable image"):
        load_image(text, GREY)
    whole = _save(tmp_path, np.tile(colour, (20, 20, 1))).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"cut\.png: not a readable image"):
        load_image(tmp_path / "cut.png", COLOUR)


def test_calibration_from_folder_and_file(tmp_path: Path, colour: np.ndarray) -> None:
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    _save(folder, colour, name="b.png")
    _save(folder / "inner", colour + 1, name="a.png")
    images = load_calibration(folder, COLOUR)
    assert np.array_equal(images, np.stack([colour, colour + 1]).transpose(0, 3, 1, 2))
    assert np.array_equal(
        load_calibration(folder, (4, 5, 3), channels_last=True), np.stack([colour, colour + 1])
    )
    np.savez(tmp_path / "c.npz", images=images, labels=np.zeros(2))
    assert np.array_equal(load_calibration(tmp_path / "c.npz", COLOUR), images)
    np.save(tmp_path / "c.npy", images)
    assert np.array_equal(load_calibration(tmp_path / "c.npy", COLOUR), images)


def test_calibration_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_calibration(tmp_path / "absent.npz", COLOUR)
    with pytest.raises(UsageError, match="holds no image files"):
        load_calibration(tmp_path, COLOUR)
    np.savez(tmp_path / "f.npz", images=np.full((2, 3, 4, 5), np.nan))
    with pytest.raises(UsageError, match="input 0 holds NaN"):
        load_calibration(tmp_path / "f.npz", COLOUR)
    np.savez(tmp_path / "u.npz", images=np.full((2, 3, 4, 5), "a"))
    with pytest.raises(UsageError, match="give numbers"):
        load_calibration(tmp_path / "u.npz", COLOUR)
    np.savez(tmp_path / "s.npz", np.zeros((2, 4, 5, 3), np.uint8))
    with pytest.raises(UsageError, match=r"\(2, 4, 5, 3\), the model takes \(N, 3, 4, 5\)"):
        load_calibration(tmp_path / "s.npz", COLOUR)
    np.savez(tmp_path / "m.npz", a=np.zeros(2), b=np.zeros(2))
    with pytest.raises(UsageError, match="name the one"):
        load_calibration(tmp_path / "m.npz", COLOUR)
    (tmp_path / "t.npz").write_text("text")
    with pytest.raises(UsageError, match=r"not an \.npz"):
        load_calibration(tmp_path / "t.npz", COLOUR)
