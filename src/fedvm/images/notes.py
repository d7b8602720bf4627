"""Notes: the conversions made to an image, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One conversion. text: the same for every image with this conversion; detail: what was found in this image."""

    text: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.detail})" if self.detail else self.text


def counted(notes: Iterable[Note]) -> tuple[str, ...]:
    """The conversions made to many images, each with the number of images, the most frequent first."""
    counts = Counter(note.text for note in notes)
    return tuple(
        f"{count:,} {'image' if count == 1 else 'images'}: {text}" for text, count in counts.most_common()
    )
