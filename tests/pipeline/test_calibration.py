"""Calibration inputs from a folder of images or a file of arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedvm.images.prepare import Preparation
from fedvm.pipeline.calibration import load_calibration
from fedvm.pipeline.errors import UsageError

SHAPE = (3, 4, 5)


@pytest.fixture
def colour() -> np.ndarray:
    return np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4


def _load(path: Path, shape: tuple[int, ...] = SHAPE, *, channels_last: bool = False) -> np.ndarray:
    return load_calibration(path, shape, Preparation.PHOTO, channels_last=channels_last)[0]


def test_folder_and_file_give_the_same(tmp_path: Path, colour: np.ndarray) -> None:
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    Image.fromarray(colour).save(folder / "b.png")
    Image.fromarray(colour + 1).save(folder / "inner" / "a.png")
    images = _load(folder)
    assert np.array_equal(images, np.stack([colour, colour + 1]).transpose(0, 3, 1, 2))
    assert np.array_equal(_load(folder, (4, 5, 3), channels_last=True), np.stack([colour, colour + 1]))
    np.savez(tmp_path / "c.npz", images=images, labels=np.zeros(2))
    assert np.array_equal(_load(tmp_path / "c.npz"), images)
    np.save(tmp_path / "c.npy", images)
    assert np.array_equal(_load(tmp_path / "c.npy"), images)


def test_conversions_are_counted(tmp_path: Path, colour: np.ndarray) -> None:
    for number in range(3):
        Image.fromarray(np.tile(colour, (2, 2, 1))).save(tmp_path / f"{number}.png")
    Image.fromarray(colour).save(tmp_path / "fits.png")
    images, notes = load_calibration(tmp_path, SHAPE, Preparation.PHOTO)
    assert images.shape == (4, *SHAPE) and notes == ("3 images: scaled to 5×4",)
    with pytest.raises(ValueError, match=r"\(3 of 4\)"):
        load_calibration(tmp_path, SHAPE, Preparation.RAW)


def test_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        _load(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match="holds no image files"):
        _load(tmp_path)
    np.savez(tmp_path / "f.npz", images=np.full((2, 3, 4, 5), np.nan))
    with pytest.raises(UsageError, match="input 0 holds NaN"):
        _load(tmp_path / "f.npz")
    np.savez(tmp_path / "u.npz", images=np.full((2, 3, 4, 5), "a"))
    with pytest.raises(UsageError, match="give numbers"):
        _load(tmp_path / "u.npz")
    np.savez(tmp_path / "s.npz", np.zeros((2, 4, 5, 3), np.uint8))
    with pytest.raises(UsageError, match=r"\(2, 4, 5, 3\), the model takes \(N, 3, 4, 5\)"):
        _load(tmp_path / "s.npz")
    np.savez(tmp_path / "m.npz", a=np.zeros(2), b=np.zeros(2))
    with pytest.raises(UsageError, match="name the one"):
        _load(tmp_path / "m.npz")
    (tmp_path / "t.npz").write_text("text")
    with pytest.raises(UsageError, match=r"not an \.npz"):
        _load(tmp_path / "t.npz")
