"""Pictures in the terminal, in what its encoding and its colours allow."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import pytest
from rich.console import Console

from fedvm.cli.picture import picture


def _printed(
    pixels: np.ndarray, *, encoding: str, colours: Literal["truecolor", "256"] | None = None, width: int = 80
) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(
        file=stream,
        color_system=colours,
        force_terminal=colours is not None,
        width=width,
        legacy_windows=False,
    )
    console.print(picture(pixels, console))
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture
def corner() -> np.ndarray:
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, :3, 0] = 255
    return pixels


def test_half_blocks_without_colours(corner: np.ndarray) -> None:
    assert _printed(corner, encoding="utf-8").splitlines() == ["█   ", "▀   "]


def test_shades_for_what_is_no_drawing() -> None:
    slope = np.tile(np.linspace(0, 255, 5).astype(np.uint8), (1, 2, 1))
    assert _printed(slope, encoding="utf-8").splitlines() == [" ░▒▓█"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_shades_where_the_encoding_has_no_blocks(corner: np.ndarray, encoding: str) -> None:
    assert _printed(corner, encoding=encoding).splitlines() == ["@   ", "=   "]


def test_colours_are_those_of_the_pixels() -> None:
    pixels = np.zeros((3, 2, 1), np.uint8)
    pixels[:, 0, 0], pixels[:, 1, 0] = (250, 10, 20), (1, 2, 3)
    text = _printed(pixels, encoding="utf-8", colours="truecolor")
    assert "38;2;250;10;20" in text and "48;2;1;2;3" in text and text.count("▀") == 1


def test_large_and_odd_pictures_fit_the_terminal() -> None:
    lines = _printed(np.full((3, 301, 400), 255, np.uint8), encoding="utf-8", width=40).splitlines()
    assert {len(line) for line in lines} == {40} and len(lines) == 15
    assert len(_printed(np.full((1, 5, 3), 255, np.uint8), encoding="utf-8").splitlines()) == 3
