"""Inputs and labels from the files that people have; what is no number is named with its line and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.table import read_inputs, read_labels


def written(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text", ["1,2.5\n3,-4e1\n", "a;b\n1;2.5\n\n3;-4e1", "a\tb\n1\t2.5\n3\t-4e1", "\ufeffa,b\n1,2.5\n3,-40"]
)
def test_csv(tmp_path: Path, text: str) -> None:
    values = read_inputs(written(tmp_path, text), (2,))
    assert values.dtype == np.float32 and values.tolist() == [[1, 2.5], [3, -40]]


def test_rows_are_flattened_inputs(tmp_path: Path) -> None:
    path = written(tmp_path, "1,2,3,4\n5,6,7,8\n")
    assert read_inputs(path, (2, 2)).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", r"line 3, column b: 'x' is no finite number"),
        ("1,2\n3,\n", r"line 2, column 2: a value is missing"),
        ("1,2\n3,nan\n", "'nan' is no finite number"),
        ("1,2\n3\n", "line 2: holds 1 values"),
        ("1,2,3\n", r"3 columns, the model takes 2.*--labels"),
        ("", "no rows"),
        ("a,b\n", "a header and no rows"),
    ],
)
def test_csv_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_inputs(written(tmp_path, text), (2,))


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_inputs(tmp_path / "a.csv", (2,))


def test_labels(tmp_path: Path) -> None:
    table = written(tmp_path, "a,b,kind\n1,2,0\n3,4,2\n")
    assert read_inputs(table, (2,), labels="kind").tolist() == [[1, 2], [3, 4]]
    assert read_labels("kind", table).tolist() == [0, 2]
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 2)), y=np.array([1, 0]))
    assert read_labels("y", tmp_path / "d.npz").tolist() == [1, 0]
    alone = written(tmp_path, "kind\n1\n0\n", "labels.csv")
    assert read_labels(str(alone), None).tolist() == [1, 0]


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    table = written(tmp_path, "a,b,kind\n1,2,setosa\n3,4,virginica\n")
    for name, inputs, message in (
        ("species", table, r"no column species \(a, b, kind\)"),
        ("kind", table, "give classes by number"),
        ("absent.csv", None, "no such file"),
    ):
        with pytest.raises(UsageError, match=message):
            read_labels(name, inputs)
    for text in ("-1\n0\n", "0.5\n1\n"):
        with pytest.raises(UsageError, match="whole numbers from 0"):
            read_labels(str(written(tmp_path, text, "l.csv")), None)
