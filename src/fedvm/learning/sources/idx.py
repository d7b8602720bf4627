"""The IDX files of MNIST and Fashion-MNIST.

Format, after Y. LeCun's description at the MNIST database: two zero bytes, a type byte (0x08 is uint8), the
number of dimensions, each dimension as a big-endian uint32, then the elements in C order.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedvm.images.data_set import resize_images
from fedvm.learning.data import ImageData, Split
from fedvm.learning.errors import DataError

# Where Debian's package dataset-fashion-mnist puts its files.
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
# H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST" (arXiv:1708.07747), table 1.
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with such files."""
    return path.is_dir() and any(path.glob("train-images-idx3-ubyte*"))


def load(name: str, folder: Path, *, size: tuple[int, int] | None = None) -> ImageData:
    """Read `{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]` from `folder`.

    Classes are named by their numbers, unless the data set is named `fashion-mnist`.

    Raises:
        DataError: a file is missing or damaged.
    """
    splits = []
    for prefix in ("train", "t10k"):
        images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"), dimensions=3)
        labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"), dimensions=1)
        splits.append(Split(resize_images(images[:, None], size), labels.astype(np.int64)))
    numbers = tuple(str(label) for label in range(int(splits[0].labels.max(initial=0)) + 1))
    names = FASHION_CLASSES if name.lower() == "fashion-mnist" else numbers
    return ImageData(name, splits[0], splits[1], names)


def read_idx(path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read one IDX file of uint8, gzipped or not.

    Raises:
        DataError: not such a file, truncated, or with bytes left over.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    header = 4 + 4 * dimensions
    if len(raw) < header or raw[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{path} is not an IDX file of uint8 with {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", raw[4:header])
    if len(raw) - header != int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"{path} is damaged: its header says {shape} but {len(raw) - header} bytes follow")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _find(folder: Path, stem: str) -> Path:
    found = [path for path in (folder / f"{stem}.gz", folder / stem) if path.is_file()]
    if not found:
        raise DataError(f"{folder} lacks {stem}.gz; fetch the four files of the data set again")
    return found[0]
