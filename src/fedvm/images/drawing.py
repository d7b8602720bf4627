"""Strokes on a plain background → bright strokes on black, of one size and centred, like the digits of MNIST.

The normalisation of Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits" (1998): the ink is
scaled, its proportions kept, so that its longer side takes 20 of 28 pixels, and its centre of mass is put on pixel
(14, 14). Before that, the ink must be told from the background:

1. Transparent parts are laid over white if the rest is dark, else over black.
2. Ink is dark where the border of the picture is brighter than what is inside, else bright.
3. The background is what is left when everything narrower than half the picture is removed (a grey opening), so it
   follows uneven light and shadows.
4. A threshold (N. Otsu, IEEE Trans. SMC 9, 1979) separates ink and background; their mean values become 255 and 0.
5. All this is done for brightness, red, green and blue; the channel in which the ink stands out most is used.
6. Specks are removed. So is what lies along the border of the picture, if there are strokes elsewhere.

A picture that already has this form passes unchanged.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedvm.images.decode import Picture
from fedvm.images.notes import Note

Plane = NDArray[np.float32]

BOX: Final = 20 / 28
"""Of the model's shorter side, what the longer side of the ink takes."""
LARGEST, COARSE = 512, 64
"""Longer side, in pixels, at which strokes and their ground are looked for."""
WINDOW: Final = 0.5
"""Of the picture's shorter side: what is wider is no stroke."""
LEAST_CONTRAST, LEAST_RATIO = 16.0, 5.0
"""Of ink and ground, in levels, and in standard deviations of the ground: noise has 3 to 4, drawings 8 and more."""
ALONG: Final = 0.3
"""Of its length, what lies on one side of the picture's border of a thing that is no stroke."""
EDGE: Final = 0.2
"""Ink from which on a pixel belongs to a stroke's extent."""


def normalise(picture: Picture, size: tuple[int, int]) -> tuple[NDArray[np.uint8], tuple[Note, ...], bool]:
    """The ink of a drawing, bright on black, of `size` (height, width) · notes · whether there is none.

    A blank picture gives black.
    """
    image, notes = _opaque(picture.image)
    if _is_normal(image, size):
        return np.asarray(image.convert("L"), dtype=np.uint8), notes, False
    ink, dark, channel = _ink(image)
    mask = None if ink is None else _strokes(ink)
    if ink is None or mask is None:
        return np.zeros(size, np.uint8), (*notes, Note("no strokes found: the picture is blank")), True
    if dark:
        notes += (Note("dark ink on a bright ground: inverted"),)
    if channel:
        notes += (Note(f"the ink was told from its ground by its {channel}"),)
    pixels = _framed(ink, mask, size)
    return (
        pixels,
        (*notes, Note(f"strokes scaled to {round(BOX * min(size))} pixels and centred by mass")),
        False,
    )


def _opaque(image: Image.Image) -> tuple[Image.Image, tuple[Note, ...]]:
    """The picture laid over white if its opaque part is dark, else over black."""
    if image.mode not in ("LA", "RGBA"):
        return image, ()
    alpha = np.asarray(image.getchannel("A"), np.float64)
    light = np.asarray(image.convert("RGBA").convert("RGB").convert("L"), np.float64)
    dark = float((light * alpha).sum()) < 127.5 * float(alpha.sum())
    ground = (255, 255, 255, 255) if dark else (0, 0, 0, 255)
    flat = Image.alpha_composite(Image.new("RGBA", image.size, ground), image.convert("RGBA")).convert("RGB")
    name = "white" if dark else "black"
    return (flat.getchannel("R") if image.mode == "LA" else flat), (
        Note(f"transparent parts laid over {name}"),
    )


def _is_normal(image: Image.Image, size: tuple[int, int]) -> bool:
    """Whether the picture has the model's size and a black background already, and its ink is as large and central as
    it would become, to a pixel."""
    pixels = np.asarray(image.convert("RGB"))
    if pixels.shape[:2] != size or (pixels != pixels[..., :1]).any():
        return False
    ink = pixels[..., 0].astype(np.float64)
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    if float((border > 32).mean()) > 0.25 or ink.max() < 128:
        return False
    rows, columns = np.flatnonzero(ink.max(axis=1) > 32), np.flatnonzero(ink.max(axis=0) > 32)
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    off = np.abs(np.array(_centre(ink)) - np.array(size) / 2)
    return bool(abs(longest - BOX * min(size)) <= 1 and off.max() <= 0.6)


def _ink(image: Image.Image) -> tuple[Plane | None, bool, str]:
    """Ink as 0 … 1 at a working size, whether it is dark, and the colour that shows it ("" for brightness)."""
    small = image.copy()
    small.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    best: tuple[float, Plane, bool, str] | None = None
    coloured = np.asarray(small)
    planes = [("", np.asarray(small.convert("L"), np.float32))]
    if coloured.ndim == 3 and (coloured != coloured[..., :1]).any():
        planes += [
            (name, coloured[..., n].astype(np.float32)) for n, name in enumerate(("red", "green", "blue"))
        ]
    for name, plane in planes:
        dark = _is_dark(plane)
        found = _contrast(plane, dark)
        if found is not None and (best is None or found[0] > 1.2 * best[0]):
            best = (*found, dark, name)
    return (None, False, "") if best is None else best[1:]


def _is_dark(plane: Plane) -> bool:
    """Whether the strokes are darker than the background that the border of the picture suggests."""
    coarse = _resized(plane, COARSE)
    return float(((coarse - _from_border(coarse)) ** 3).sum()) < 0


def _from_border(plane: Plane) -> Plane:
    """The background estimated from the border: a Coons patch through the four borders, which follows light and
    shadow."""
    from scipy import ndimage

    height, width = plane.shape
    depth = max(1, min(height, width) // 12)
    bands = (plane[:depth], plane[-depth:], plane[:, :depth].T, plane[:, -depth:].T)
    # Medians, so that a stroke that touches the border does not count.
    top, bottom, left, right = (
        ndimage.median_filter(np.median(band, axis=0), max(3, band.shape[1] // 3), mode="nearest")
        for band in bands
    )
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    corners = [
        (top[0] + left[0]) / 2,
        (top[-1] + right[0]) / 2,
        (bottom[0] + left[-1]) / 2,
        (bottom[-1] + right[-1]) / 2,
    ]
    blended = (1 - y) * ((1 - x) * corners[0] + x * corners[1]) + y * ((1 - x) * corners[2] + x * corners[3])
    patch = (1 - y) * top + y * bottom + (1 - x) * left[:, None] + x * right[:, None] - blended
    return np.asarray(patch, np.float32)


def _contrast(plane: Plane, dark: bool) -> tuple[float, Plane] | None:
    """(difference between ink and background, ink as 0 … 1); None if nothing stands out."""
    from scipy import ndimage

    values = 255 - plane if dark else plane
    coarse = _resized(values, COARSE)
    window = max(3, round(min(coarse.shape) * WINDOW) | 1)
    light = _from_border(coarse)
    # Both estimates lie below the picture: one keeps a slope up to the border, the other the edge of a shadow.
    opened = np.maximum(
        ndimage.grey_opening(coarse, size=window, mode="nearest"),
        light + ndimage.grey_opening(coarse - light, size=window, mode="nearest"),
    )
    raised = values - _enlarged(opened, values.shape)
    threshold, *_ = _otsu(raised)
    inked = _resized((raised > threshold).astype(np.float32), COARSE) > 0.05
    ground = np.where(ndimage.binary_dilation(inked), opened, coarse)
    raised = values - _enlarged(ndimage.gaussian_filter(ground, 1, mode="nearest"), values.shape)
    threshold, low, high, floor = _otsu(raised)
    if high - low < max(LEAST_CONTRAST, LEAST_RATIO * floor):
        return None
    start = min(low + 2 * floor, threshold)
    return high - low, np.clip((raised - start) / (high - start), 0, 1).astype(np.float32)


def _otsu(values: Plane) -> tuple[float, float, float, float]:
    """Threshold, mean below, mean above, standard deviation below."""
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = values.size - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    best = int(np.nanargmax(np.nan_to_num(between)))
    cut = float(edges[best + 1])
    under, over = values[values <= cut], values[values > cut]
    if not len(under) or not len(over):
        return cut, float(values.mean()), float(values.mean()), 0.0
    return cut, float(under.mean()), float(over.mean()), float(under.std())


def _strokes(ink: Plane) -> NDArray[np.bool_] | None:
    """The mask of the strokes."""
    from scipy import ndimage

    labels, count = ndimage.label(ink > 0.5, structure=np.ones((3, 3)))
    if not count:
        return None
    boxes = ndimage.find_objects(labels)
    areas = np.bincount(labels.reshape(-1))[1:]
    lengths = np.array([max(s.stop - s.start for s in box) for box in boxes])
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    contact = np.max([np.bincount(side, minlength=count + 1)[1:] for side in sides], axis=0)
    # A stroke may end at the border. What runs along the border is uneven light.
    outside = contact >= ALONG * lengths
    wanted = areas >= 0.03 * areas.max()
    if outside.any() and not outside.all() and lengths[~outside].max() >= 0.25 * lengths[outside].max():
        wanted = ~outside & (areas >= 0.03 * areas[~outside].max())
    chosen: NDArray[np.bool_] = np.concatenate([[False], wanted])[labels]
    return chosen


def _framed(ink: Plane, mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The strokes alone on black, of `size`, scaled to the box and moved in one step, to fractions of a pixel."""
    from scipy import ndimage

    height, width = size
    near = ndimage.binary_dilation(mask, iterations=max(1, max(ink.shape) // 100))
    strokes = np.where(near, ink, 0)
    (top, bottom), (left, right) = (_extent((near & (ink > EDGE)).any(axis=axis)) for axis in (1, 0))
    crop = strokes[top:bottom, left:right]
    scale = max(crop.shape) / round(BOX * min(size))
    row, column = _centre(crop.astype(np.float64))
    margin = int(np.ceil(scale * max(size)))
    framed = Image.fromarray(np.rint(np.pad(crop, margin) * 255).astype(np.uint8))
    # The middle is the edge between two pixels, but MNIST's centres of mass lie in the middle of pixel (14, 14).
    y0 = margin + row + 0.5 - scale * (height / 2 + 0.5)
    x0 = margin + column + 0.5 - scale * (width / 2 + 0.5)
    box = (x0, y0, x0 + scale * width, y0 + scale * height)
    return np.asarray(framed.resize((width, height), Image.Resampling.BILINEAR, box=box), np.uint8)


def _extent(used: NDArray[np.bool_]) -> tuple[int, int]:
    """Index of the first element that is set, and the index after the last."""
    (places,) = used.nonzero()
    return int(places[0]), int(places[-1]) + 1


def _centre(ink: NDArray[np.float64]) -> tuple[float, float]:
    total = ink.sum()
    rows, columns = ink.sum(axis=1), ink.sum(axis=0)
    return float(rows @ np.arange(len(rows)) / total), float(columns @ np.arange(len(columns)) / total)


def _resized(plane: Plane, longest: int) -> Plane:
    """Averaged down so that the longer side is at most `longest`."""
    if max(plane.shape) <= longest:
        return plane
    scale = longest / max(plane.shape)
    height, width = (max(1, round(length * scale)) for length in plane.shape)
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BOX))


def _enlarged(plane: Plane, shape: tuple[int, ...]) -> Plane:
    return np.asarray(Image.fromarray(plane).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
