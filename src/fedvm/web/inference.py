"""Asks a version about an input: the contract, and ONNX Runtime beside it; and what the answer rests on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from fedvm.audit.description import Description
from fedvm.chain.errors import ChainError
from fedvm.chain.model_service import ModelService
from fedvm.compiler.probe import reference_scores
from fedvm.images.encode import png
from fedvm.pipeline.questions import Question
from fedvm.pipeline.shares import doubt_of, shares_of

_PATCHES = 14
"""Places of the covering square along each side of an image, at most."""
_SHOWN = 224
"""Pixels of a picture's longer side, at least, when it is enlarged for the page."""


@dataclass(frozen=True)
class Row:
    """A class in an answer. share: softmax of the scores · their scale, 0 … 1."""

    name: str
    score: int
    value: float
    share: float
    first: bool


@dataclass(frozen=True)
class Reply:
    """What the contract said. seconds: that `eth_call` took; gas: of a transaction that asks the same, None if the node
    cannot estimate it; again, again_seconds: whether ONNX Runtime's scores are the same, and its time, None without the
    integer ONNX. seen, rests_on: PNG files of what the contract saw, and of what the answer rests on; None for
    numbers."""

    version: int
    question: Question
    label: str
    rows: tuple[Row, ...]
    doubt: str
    seconds: float
    gas: int | None
    same: bool | None
    again_seconds: float | None
    seen: bytes | None
    rests_on: bytes | None


def ask(
    service: ModelService, version: int, question: Question, said: Description, reference: bytes | None
) -> Reply:
    """Ask a version. reference: bytes of the integer ONNX that its program computes, None if it is not at hand.

    Raises ChainError.
    """
    begun = time.perf_counter()
    scores = tuple(map(int, service.predict(question.data, version=version)))
    seconds = time.perf_counter() - begun
    try:
        gas = service.predict_gas(question.data) if version == service.current_version() else None
    except ChainError:
        gas = None
    shares = shares_of(scores, said.score_scale, said.head)
    label = scores.index(max(scores))
    same, again = None, None
    if reference is not None:
        begun = time.perf_counter()
        exact = reference_scores(reference, _inputs([question.data], reference))[0]
        again, same = time.perf_counter() - begun, tuple(map(int, exact)) == scores
    ranked = sorted(range(len(scores)), key=lambda at: (at != label, -shares[at]))
    picture = question.seen
    return Reply(
        version=version,
        question=question,
        label=said.classes[label] if len(scores) > 1 else f"{scores[0] * said.score_scale[0]:.6g}",
        rows=tuple(
            Row(said.classes[at], scores[at], scores[at] * said.score_scale[at], shares[at], at == label)
            for at in ranked
        ),
        doubt=doubt_of(shares, said.classes, blank=question.blank) if len(scores) > 1 else "",
        seconds=seconds,
        gas=gas,
        same=same,
        again_seconds=again,
        seen=None if picture is None else png(enlarged(picture)),
        rests_on=None
        if picture is None or reference is None or question.blank or len(scores) < 2
        else png(_map(picture, said, reference, label)),
    )


def picture_of(data: bytes, said: Description) -> NDArray[np.uint8] | None:
    """The picture that an input's bytes are, uint8 `[C, H, W]`; None for numbers, or bytes of another length."""
    shape = said.input.image_shape
    if shape is None or len(data) != int(np.prod(shape)):
        return None
    pixels = np.frombuffer(data, np.uint8)
    channels, height, width = shape
    if said.input.layout == "HWC":
        return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))
    return pixels.reshape(shape)


def enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each pixel repeated, so that people can see a small picture; uint8 `[C, H, W]` both."""
    times = max(1, -(-_SHOWN // max(pixels.shape[1:])))
    return np.asarray(pixels.repeat(times, axis=1).repeat(times, axis=2))


def _inputs(asked: Sequence[bytes], reference: bytes) -> NDArray[np.uint8]:
    """Inputs as the integer ONNX takes them, uint8 `[N, …]`."""
    dims = onnx.load_model_from_string(reference).graph.input[0].type.tensor_type.shape.dim
    shape = [int(one.dim_value) for one in dims][1:]
    return np.stack([np.frombuffer(data, np.uint8).reshape(shape) for data in asked])


def _map(picture: NDArray[np.uint8], said: Description, reference: bytes, label: int) -> NDArray[np.uint8]:
    """The picture in grey; red where covering it takes from the answer's lead over the next class, blue where it adds.

    The occlusion map of M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks" (2014).
    """
    channels, height, width = picture.shape
    step = max(1, -(-max(height, width) // _PATCHES))
    size = 2 * step
    ground = np.zeros(channels, np.uint8)
    if said.input.preparation != "drawing":
        ground = picture.reshape(channels, -1).mean(axis=1).astype(np.uint8)
    covered, places = [picture], []
    for top in range(-step // 2, height, step):
        for left in range(-step // 2, width, step):
            place = slice(max(0, top), top + size), slice(max(0, left), left + size)
            one = picture.copy()
            one[(slice(None), *place)] = ground[:, None, None]
            covered.append(one)
            places.append(place)
    asked = [(one.transpose(1, 2, 0) if said.input.layout == "HWC" else one).tobytes() for one in covered]
    scores = reference_scores(reference, _inputs(asked, reference))
    values = scores * np.asarray(said.score_scale)
    leads = values[:, label] - np.delete(values, label, axis=1).max(
        axis=1
    )  # a share of 100 % would hide what matters
    lost, times = np.zeros((height, width)), np.zeros((height, width))
    for place, lead in zip(places, leads[1:], strict=True):
        lost[place] += leads[0] - lead
        times[place] += 1
    mean = lost / np.maximum(times, 1)
    most = float(np.abs(mean).max()) or 1.0
    grey = picture.mean(axis=0)
    strength = np.clip(np.abs(mean) / most, 0, 1)[None]
    tint = np.where(
        mean[None] > 0, np.array([235, 70, 50])[:, None, None], np.array([50, 120, 240])[:, None, None]
    )
    base = np.repeat((0.55 * grey + 40)[None], 3, axis=0)
    return enlarged((base * (1 - 0.75 * strength) + tint * 0.75 * strength).astype(np.uint8))
