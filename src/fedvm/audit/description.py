"""The description of a version's input and classes, kept in the ONNX file that the chain commits to.

The class names, the preparation of an image, the meaning of the input's bytes and the scale of the scores change what
an answer says as much as the weights do. So they are part of `model.onnx` (its `metadata_props`), with whose CID a
version is registered. Nobody can change them afterwards, and other names in a report change no answer.

"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import onnx

from fedvm.audit.errors import DescriptionError
from fedvm.images.prepare import Preparation
from fedvm.jsontext import parse_json

_KEY: Final = "fedvm.description"
_LONGEST_NAME: Final = 200
BRIGHTNESS: Final = "brightness"
"""The unit of an image's bytes."""


@dataclass(frozen=True)
class InputDescription:
    """shape: of one input, without a batch axis; layout: "CHW", "HWC", or "" if the input is not an image; preparation:
    of an image file; unit: what the bytes measure; low and high: the real numbers that the bytes 0 and 255 stand for,
    one per channel or feature; row: of a tabular model, how a row of numbers and categories becomes the bytes
    (`fedvm.compiler.encoding`), else None."""

    shape: tuple[int, ...]
    layout: str
    preparation: Preparation
    unit: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    row: dict[str, Any] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(channels, height, width); None for an input that is no image."""
        if len(self.shape) != 3:
            return None
        first, second, third = self.shape
        shape = (third, first, second) if self.layout == "HWC" else (first, second, third)
        return shape if shape[0] in (1, 3) else None


@dataclass(frozen=True)
class Description:
    """title: what the model is, in words; classes: their names, in the order of the scores; score_scale: the real
    number that a score of 1 stands for, one a class; head: what the model makes of the scores, as in the compiler's
    manifest."""

    title: str
    classes: tuple[str, ...]
    input: InputDescription
    score_scale: tuple[float, ...]
    head: str = ""

    def __post_init__(self) -> None:
        """Raise DescriptionError if names are missing, repeated, too long or not printable."""
        _check_printable(self.title, self.input.unit)
        check_class_names(self.classes)
        if len(self.classes) != len(self.score_scale):
            raise DescriptionError(
                f"{len(self.classes)} class names for {len(self.score_scale)} scores: name every class, in their order"
            )

    @classmethod
    def of(
        cls,
        manifest: Mapping[str, Any],
        *,
        title: str,
        classes: Sequence[str],
        preparation: Preparation,
        unit: str | None = None,
    ) -> Self:
        """The description of a program by the compiler's manifest; unit: brightness for images unless given.

        Raises DescriptionError when the names do not fit.
        """
        spec, output = manifest["input"], manifest["output"]
        scale, offset = (np.asarray(spec[key], np.float64).reshape(-1) for key in ("scale", "offset"))
        shape = tuple(int(size) for size in spec["shape"])
        worth = np.broadcast_to(np.reshape(output["scale"], (-1, 1, 1)), output["tensor"]).transpose(
            output["order"]
        )
        asked = InputDescription(
            shape=shape,
            layout=str(spec["layout"]),
            preparation=preparation,
            unit=(BRIGHTNESS if len(shape) == 3 else "") if unit is None else unit,
            low=tuple(float(low) for low in offset),
            high=tuple(float(high) for high in 255 * scale + offset),
            row=parse_json(json.dumps(spec.get("row"))),
        )
        return cls(
            title, tuple(classes), asked, tuple(float(one) for one in worth.ravel()), str(output["head"])
        )

    def agrees(self, manifest: Mapping[str, Any]) -> bool:
        """Whether shape, ranges and score scale are those of the compiled program."""
        again = type(self).of(
            manifest,
            title=self.title,
            classes=self.classes,
            preparation=self.input.preparation,
            unit=self.input.unit,
        )
        return again == self

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Any) -> Self:
        """Inverse of `to_json`. Raises DescriptionError for anything else."""
        try:
            asked = fields["input"]
            return cls(
                title=str(fields["title"]),
                classes=tuple(str(name) for name in fields["classes"]),
                input=InputDescription(
                    shape=tuple(int(size) for size in asked["shape"]),
                    layout=str(asked["layout"]),
                    preparation=Preparation(asked["preparation"]),
                    unit=str(asked["unit"]),
                    low=tuple(float(low) for low in asked["low"]),
                    high=tuple(float(high) for high in asked["high"]),
                    row=asked.get("row"),
                ),
                score_scale=tuple(float(one) for one in fields["score_scale"]),
                head=str(fields.get("head", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DescriptionError):
                raise
            raise DescriptionError(f"the description of the version is malformed: {error!r}") from None


def check_class_names(names: Sequence[str]) -> None:
    """Raise DescriptionError if class names are missing, repeated, too long or not printable."""
    _check_printable(*names)
    if any(not name.strip() for name in names):
        raise DescriptionError("a class has no name: give each one")
    doubled = next((name for name, count in Counter(names).items() if count > 1), None)
    if doubled is not None:
        raise DescriptionError(f"two classes are called {doubled!r}: give each a name of its own")


def _check_printable(*names: str) -> None:
    for name in names:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise DescriptionError(
                f"{name[:40]!r} cannot be a name: it takes up to {_LONGEST_NAME} printable characters"
            )


def write_description(model: bytes, description: Description) -> bytes:
    """The ONNX file `model` with `description` in its metadata; the same arguments give the same bytes."""
    proto = onnx.load_model_from_string(model)
    kept = [(entry.key, entry.value) for entry in proto.metadata_props if entry.key != _KEY]
    del proto.metadata_props[:]
    for key, value in [*kept, (_KEY, json.dumps(description.to_json(), sort_keys=True))]:
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    return bytes(proto.SerializeToString(deterministic=True))


def read_description(model: bytes) -> Description:
    """The description in an ONNX file. Raises DescriptionError when there is none, or it is malformed."""
    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's own types
        raise DescriptionError(f"not an ONNX file: {error}") from None
    text = {entry.key: entry.value for entry in proto.metadata_props}.get(_KEY)
    if text is None:
        raise DescriptionError(f"the ONNX file says nothing of its classes: it has no {_KEY} in its metadata")
    try:
        fields = parse_json(text)
    except ValueError as error:
        raise DescriptionError(f"{_KEY} of the ONNX file is no JSON: {error}") from None
    return Description.from_json(fields)
