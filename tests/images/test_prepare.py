"""Image files: the pixels a model gets, the conversions noted, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedvm.images.decode import MAX_PIXELS
from fedvm.images.encode import png
from fedvm.images.errors import ImageError
from fedvm.images.prepare import ImageInput, Preparation, load_image
from fedvm.pipeline.config_file import load_config
from fedvm.pipeline.errors import ConfigError

GREY, COLOUR = (1, 4, 5), (3, 4, 5)
ORIENTATION = 0x0112


def _save(folder: Path, image: np.ndarray | Image.Image, name: str = "a.png", **options: object) -> Path:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(folder / name, **options)
    return folder / name


def _photo(path: Path, shape: tuple[int, int, int]) -> ImageInput:
    return load_image(path, shape, Preparation.PHOTO)


def _notes(image: ImageInput) -> list[str]:
    return [str(note) for note in image.notes]


@pytest.fixture
def grey() -> np.ndarray:
    return np.arange(20, dtype=np.uint8).reshape(4, 5) * 12


@pytest.fixture
def colour() -> np.ndarray:
    return np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4


@pytest.mark.parametrize("preparation", [Preparation.RAW, Preparation.PHOTO])
def test_fitting_images_pass_unchanged(
    tmp_path: Path, grey: np.ndarray, colour: np.ndarray, preparation: Preparation
) -> None:
    image = load_image(_save(tmp_path, grey), GREY, preparation)
    assert image.notes == () and np.array_equal(image.pixels, grey[None])
    image = load_image(_save(tmp_path, colour), COLOUR, preparation)
    assert image.notes == () and np.array_equal(image.pixels, colour.transpose(2, 0, 1))
    again = load_image(png(image.pixels), COLOUR, preparation)
    assert again.notes == () and np.array_equal(again.pixels, image.pixels)


def test_grey_and_colour_turn_into_each_other(tmp_path: Path, grey: np.ndarray, colour: np.ndarray) -> None:
    image = _photo(_save(tmp_path, grey), COLOUR)
    assert np.array_equal(image.pixels, np.stack([grey] * 3)) and _notes(image) == [
        "grey repeated in three channels"
    ]
    image = _photo(_save(tmp_path, colour), GREY)
    luma = colour.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(image.pixels[0] - luma).max() <= 1 and "BT.601" in _notes(image)[0]


def test_what_is_grey_already_loses_no_colour(tmp_path: Path, grey: np.ndarray) -> None:
    for name, picture in {
        "palette.png": Image.fromarray(grey).convert("P"),
        "palette.gif": Image.fromarray(grey),
        "rgb.png": Image.fromarray(np.stack([grey] * 3, axis=-1)),
        "rgba.png": Image.fromarray(grey).convert("RGBA"),
        "la.png": Image.fromarray(grey).convert("LA"),
    }.items():
        image = _photo(_save(tmp_path, picture, name), GREY)
        assert image.notes == () and np.array_equal(image.pixels[0], grey), name
    bits = Image.fromarray((grey > 100).astype(np.uint8) * 255).convert("1")
    image = _photo(_save(tmp_path, bits, "bits.png"), GREY)
    assert image.notes == () and np.array_equal(image.pixels[0], (grey > 100) * 255)


def test_a_coloured_palette_is_colour(tmp_path: Path) -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[1:3, 1:3] = (250, 20, 30)
    path = _save(tmp_path, Image.fromarray(pixels).quantize(4), "a.gif")
    image = _photo(path, COLOUR)
    assert image.notes == () and np.array_equal(image.pixels, pixels.transpose(2, 0, 1))
    assert _notes(_photo(path, GREY)) == ["colour turned to grey by BT.601 luma"]


def test_transparency_lies_over_black(tmp_path: Path, colour: np.ndarray) -> None:
    alpha = np.full((4, 5, 1), 255, np.uint8)
    opaque = _photo(_save(tmp_path, np.concatenate([colour, alpha], axis=2)), COLOUR)
    assert opaque.notes == () and np.array_equal(opaque.pixels, colour.transpose(2, 0, 1))
    alpha[0, 0] = 0
    image = _photo(_save(tmp_path, np.concatenate([colour + 1, alpha], axis=2)), COLOUR)
    assert not image.pixels[:, 0, 0].any() and "transparent" in _notes(image)[0]
    # The transparent colour of a file without an alpha channel, as in old PNG and GIF files.
    image = _photo(_save(tmp_path, np.full((4, 5), 90, np.uint8), "key.png", transparency=90), GREY)
    assert not image.pixels.any() and "transparent" in _notes(image)[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [(2, "left to right"), (3, "180°"), (4, "top to bottom"), (6, "90° clockwise"), (8, "90°")],
)
@pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg"])
def test_every_orientation_is_applied_and_noted(tmp_path: Path, value: int, words: str, ending: str) -> None:
    upright = np.zeros((8, 8), np.uint8)  # a square: its size tells nothing
    upright[:4, :3] = 255
    undo = {2: 0, 3: 3, 4: 1, 6: 2, 8: 4}[value]  # Image.Transpose that brings it into the stored orientation
    stored = Image.fromarray(upright).transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[ORIENTATION] = value
    options = {"quality": 95} if ending == "jpg" else {"lossless": True} if ending == "webp" else {}
    image = _photo(_save(tmp_path, stored, f"a.{ending}", exif=exif, **options), (1, 8, 8))
    assert np.abs(image.pixels[0].astype(int) - upright).max() <= (40 if ending == "jpg" else 0)
    assert [words in note for note in _notes(image) if "EXIF" in note] == [True]


def test_only_the_first_frame_is_seen_and_that_is_noted(tmp_path: Path, grey: np.ndarray) -> None:
    frames = [Image.fromarray(grey), Image.fromarray(255 - grey)]
    for ending in ("gif", "tif", "png", "webp"):
        options = {"lossless": True} if ending == "webp" else {}
        path = _save(tmp_path, frames[0], f"a.{ending}", save_all=True, append_images=frames[1:], **options)
        image = _photo(path, GREY)
        assert np.array_equal(image.pixels[0], grey), ending
        assert _notes(image) == ["only the first frame is seen (of 2)"], ending


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path, grey: np.ndarray) -> None:
    wide = grey.astype(np.uint16) * 257
    for name in ("a.png", "a.tif"):
        image = _photo(_save(tmp_path, wide, name), GREY)
        assert np.array_equal(image.pixels[0], grey) and _notes(image) == ["upper 8 of 16 bits kept"]
    # Dark ones, too: what is done follows from the file's kind, never from its values.
    image = _photo(_save(tmp_path, grey.astype(np.uint16), "dark.png"), GREY)
    assert not image.pixels.any() and _notes(image) == ["upper 8 of 16 bits kept"]
    deep = b"P6 5 4 65535\n" + np.repeat(wide[..., None], 3, axis=2).astype(">u2").tobytes()
    (tmp_path / "deep.ppm").write_bytes(deep)
    image = _photo(tmp_path / "deep.ppm", GREY)
    assert np.abs(image.pixels[0].astype(int) - grey).max() <= 1
    with pytest.raises(ImageError, match=r"a\.tif: holds 32-bit"):
        _photo(_save(tmp_path, grey.astype(np.int32), "a.tif"), GREY)
    with pytest.raises(ImageError, match=r"f\.tif: holds 32-bit or floating-point"):
        _photo(_save(tmp_path, grey.astype(np.float32), "f.tif"), GREY)


def test_cmyk_becomes_rgb(tmp_path: Path, colour: np.ndarray) -> None:
    image = _photo(_save(tmp_path, Image.fromarray(colour).convert("CMYK"), "a.tif"), COLOUR)
    assert np.array_equal(image.pixels, colour.transpose(2, 0, 1)) and _notes(image) == ["CMYK turned to RGB"]


def test_another_size_is_scaled_or_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, np.full((8, 20), 77, np.uint8))
    with pytest.raises(ImageError, match=r"a\.png: the model takes 5×4 pixels, the image has 20×8"):
        load_image(path, GREY, Preparation.RAW)
    image = _photo(path, GREY)
    assert image.pixels.shape == GREY and (image.pixels == 77).all()
    assert _notes(image) == ["scaled to 5×4, the middle kept (from 20×8)"]
    image = _photo(_save(tmp_path, np.full((8, 10), 77, np.uint8)), GREY)
    assert _notes(image) == ["scaled to 5×4 (from 10×8)"]


def test_unreadable_files_are_refused(tmp_path: Path, colour: np.ndarray) -> None:
    with pytest.raises(ImageError, match="no such file"):
        _photo(tmp_path / "absent.png", GREY)
    text = tmp_path / "b.png"
    text.write_text("hello")
    with pytest.raises(ImageError, match=r"b\.png: not a readable image"):
        _photo(text, GREY)
    for name, options in (("cut.png", {}), ("cut.jpg", {}), ("cut.webp", {}), ("cut.tif", {})):
        whole = _save(tmp_path, np.tile(colour, (20, 20, 1)), name, **options).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ImageError, match=rf"{name}: not a readable image"):
            _photo(tmp_path / name, COLOUR)
    side = int(MAX_PIXELS**0.5) + 1
    large = io.BytesIO()
    Image.new("1", (side, side)).save(large, "PNG")
    with pytest.raises(ImageError, match="too many: scale it down"):
        load_image(large.getvalue(), GREY, Preparation.PHOTO, "large")
    with pytest.raises(ImageError, match="takes 4 channels"):
        _photo(_save(tmp_path, colour), (4, 4, 5))


def test_the_configuration_knows_every_preparation() -> None:
    for preparation in Preparation:
        assert load_config(None, {"data.preparation": preparation.value}).data.preparation is preparation
    with pytest.raises(ConfigError, match="preparation"):
        load_config(None, {"data.preparation": "magic"})
