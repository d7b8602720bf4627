"""Local files: parquet, image folders, IDX."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Picture

from fedvm.learning.data import ColumnNames, ImageData
from fedvm.learning.datasets import load_dataset
from fedvm.learning.errors import DataError
from fedvm.learning.sources.idx import read_idx


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _write(path: Path, mnist: ImageData, rows: range, *, label: object, image: str = "img") -> None:
    split = mnist.train.take(np.array(rows))
    cells = [{"bytes": _png(picture[0]), "path": None} for picture in split.images]
    kind = ClassLabel(names=list(mnist.class_names)) if label is None else label
    values = split.labels.tolist() if label is None else [f"digit {n}" for n in split.labels]
    table = Dataset.from_dict(
        {image: cells, "label": values}, features=Features({image: Image(), "label": kind})
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)


def test_sharded_parquet_gives_back_the_images(tmp_path: Path, mnist: ImageData) -> None:
    rows = range(0, 4500, 50)
    _write(tmp_path / "data/train-00000-of-00002.parquet", mnist, rows[:40], label=None, image="image")
    _write(tmp_path / "data/train-00001-of-00002.parquet", mnist, rows[40:80], label=None, image="image")
    _write(tmp_path / "data/test-00000-of-00001.parquet", mnist, rows[80:], label=None, image="image")
    data = load_dataset(data=tmp_path)
    assert data.name == tmp_path.name and data.class_names == mnist.class_names
    assert np.array_equal(data.train.images, mnist.train.images[:4000:50])
    assert np.array_equal(data.train.labels, mnist.train.labels[:4000:50])
    assert np.array_equal(data.test.labels, mnist.train.labels[4000::50])


def test_string_labels_and_no_test_file(tmp_path: Path, mnist: ImageData) -> None:
    _write(tmp_path / "digits.parquet", mnist, range(0, 4500, 20), label=Value("string"))
    data = load_dataset("digits", tmp_path / "digits.parquet", seed=3)
    assert data.class_names == tuple(f"digit {n}" for n in range(10))
    assert (len(data.train), len(data.test)) == (203, 22)


def test_parquet_errors_name_the_file_and_the_cure(tmp_path: Path, mnist: ImageData) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not parquet")
    with pytest.raises(DataError, match=r"broken\.parquet is not a readable parquet file"):
        load_dataset(data=broken)
    odd = tmp_path / "odd.parquet"
    Dataset.from_dict({"text": ["a"], "label": [0]}).to_parquet(odd)
    with pytest.raises(DataError, match=r"has no image column.*its columns are text, label"):
        load_dataset(data=odd)
    damaged = tmp_path / "damaged.parquet"
    cells = [{"bytes": _png(mnist.train.images[0, 0]), "path": None}, {"bytes": b"no image", "path": None}]
    features = Features({"img": Image(), "label": Value("int64")})
    Dataset.from_dict({"img": cells, "label": [0, 1]}, features=features).to_parquet(damaged)
    with pytest.raises(
        DataError, match=r"\(1 of 2\)[^\n]*\n  image 1 of .*damaged\.parquet: not a readable image"
    ):
        load_dataset(data=damaged)


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_text_labels_of_every_arrow_type(tmp_path: Path, mnist: ImageData, kind: str) -> None:
    words = pa.array([f"digit {n}" for n in mnist.train.labels[::110]])
    words = words.dictionary_encode() if kind == "dictionary" else words.cast(getattr(pa, kind)())
    images = pa.array([_png(picture[0]) for picture in mnist.train.images[::110]])
    pq.write_table(pa.table({"image": images, "label": words}), tmp_path / "a.parquet")
    data = load_dataset(data=tmp_path / "a.parquet")
    found = {data.class_names[label] for label in data.train.labels}
    assert found <= set(words.to_pylist()) and len(data.train) == 37


def test_columns_can_be_named(tmp_path: Path, mnist: ImageData) -> None:
    pictures = [_png(picture[0]) for picture in mnist.train.images[::110]]
    table = {"scan": pictures, "image": [_png(255 - p[0]) for p in mnist.train.images[::110]]}
    numbers = {"year": list(range(41)), "species": mnist.train.labels[::110].tolist()}
    pq.write_table(pa.table({**table, **numbers}), tmp_path / "train.parquet")
    pq.write_table(pa.table({**table, **numbers}), tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"no label column.*--label-column"):
        load_dataset(data=tmp_path)
    with pytest.raises(DataError, match=r"no column 'kind'; its columns are scan, image, year, species"):
        load_dataset(data=tmp_path, columns=ColumnNames(label="kind"))
    data = load_dataset(data=tmp_path, columns=ColumnNames("scan", "species"))
    assert np.array_equal(data.train.images, mnist.train.images[::110])
    assert np.array_equal(data.test.labels, mnist.train.labels[::110])


def _folder(root: Path, classes: dict[str, list[np.ndarray]]) -> None:
    for name, pictures in classes.items():
        (root / name).mkdir(parents=True)
        for number, pixels in enumerate(pictures):
            (root / name / f"{number:03}.png").write_bytes(_png(pixels))


def test_image_folder_with_and_without_splits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (10, 5, 6, 3), np.uint8))
    _folder(tmp_path / "flat", {"cat": pictures, "ant": pictures})
    flat = load_dataset(data=tmp_path / "flat")
    assert flat.class_names == ("ant", "cat") and flat.shape == (3, 5, 6)
    assert (len(flat.train), len(flat.test)) == (18, 2)

    _folder(tmp_path / "split/train", {"ant": pictures[:3], "cat": pictures[3:6]})
    _folder(tmp_path / "split/test", {"cat": pictures[6:]})
    split = load_dataset(data=tmp_path / "split")
    assert split.train.labels.tolist() == [0, 0, 0, 1, 1, 1] and split.test.labels.tolist() == [1] * 4
    assert np.array_equal(split.test.images[2], pictures[8].transpose(2, 0, 1))


def test_image_folder_errors(tmp_path: Path) -> None:
    grey, colour = np.zeros((5, 6), np.uint8), np.full((5, 6, 3), (9, 0, 0), np.uint8)
    _folder(tmp_path / "sizes", {"a": [grey], "b": [grey.T]})
    with pytest.raises(DataError, match=r"not of 6×5 pixels.*\(1 of 2\).*--size(?s:.*)b.000\.png \(5×6\)"):
        load_dataset(data=tmp_path / "sizes")
    _folder(tmp_path / "colours", {"a": [grey], "b": [colour]})
    with pytest.raises(DataError, match="colour images in a grey data set"):
        load_dataset(data=tmp_path / "colours")
    _folder(tmp_path / "damaged", {"a": [grey] * 8, "b": [grey] * 8})
    broken = [tmp_path / "damaged" / name for name in ("a/003.png", "b/000.png", "b/007.png")]
    for file in broken:
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"\(3 of 16\)") as found:
        load_dataset(data=tmp_path / "damaged")
    assert all(f"{file}: not a readable image" in str(found.value) for file in broken)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no data set"):
        load_dataset(data=tmp_path / "empty")
    with pytest.raises(DataError, match="no such file or folder"):
        load_dataset(data=tmp_path / "missing")


def test_images_of_several_sizes_can_be_resized(tmp_path: Path) -> None:
    pictures = [np.full((5 + n, 6), 200, np.uint8) for n in range(5)]
    _folder(tmp_path, {"a": pictures, "b": pictures})
    data = load_dataset(data=tmp_path, size=(8, 9))
    assert data.shape == (1, 8, 9) and np.all(data.train.images == 200)
    assert data.notes == ("10 images: scaled to 9×8, the middle kept",)


def test_idx_files_round_trip_and_truncation_is_found(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = bytes((0, 0, 8, 3)) + np.array(pixels.shape, ">u4").tobytes() + pixels.tobytes()
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    assert np.array_equal(read_idx(tmp_path / "x.gz", dimensions=3), pixels)
    for prefix in ("train", "t10k"):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 2, 1, 0)))
    data = load_dataset(data=tmp_path)
    assert np.array_equal(data.test.images[:, 0], pixels) and data.class_names == ("0", "1")
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"lacks t10k-labels-idx1-ubyte\.gz"):
        load_dataset(data=tmp_path)
    (tmp_path / "y").write_bytes(content[:-1])
    with pytest.raises(DataError, match="damaged"):
        read_idx(tmp_path / "y", dimensions=3)
    (tmp_path / "z.gz").write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "z.gz", dimensions=3)
    with pytest.raises(DataError, match="1 dimensions"):
        read_idx(tmp_path / "x.gz", dimensions=1)


@pytest.mark.shared
def test_cifar10_test_rows_decode(cifar10_folder: Path) -> None:
    data = load_dataset("cifar10", cifar10_folder / "test.parquet", seed=0)
    assert data.shape == (3, 32, 32) and data.class_names[0] == "airplane"
    assert (len(data.train), len(data.test)) == (9000, 1000)
    assert np.bincount(data.test.labels).tolist() == [100] * 10
