"""Where a challenger finds what the hashes of a proposal are of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedvm.evm.keccak import keccak

Preimages = Callable[[bytes], bytes | None]
"""From a hash of 32 bytes to what it is the hash of, or None if that is not known."""


@dataclass(frozen=True)
class PreimageFolder:
    """Preimages in files named by the hash in hexadecimal; what a file holds is checked."""

    path: Path

    def __call__(self, wanted: bytes) -> bytes | None:
        """The preimage, None if there is no sound file of it."""
        file = self.path / wanted.hex()
        data = file.read_bytes() if file.is_file() else None
        return data if data is not None and keccak(data) == wanted else None

    def write(self, preimages: Mapping[bytes, bytes]) -> None:
        """Publish preimages by their hashes."""
        self.path.mkdir(parents=True, exist_ok=True)
        for digest, preimage in preimages.items():
            part = self.path / f".{digest.hex()}.writing"
            part.write_bytes(preimage)
            part.replace(self.path / digest.hex())


def first_known(*sources: Preimages) -> Preimages:
    """The first answer of several sources. An empty one is none: the contracts take it for no preimage."""

    def lookup(wanted: bytes) -> bytes | None:
        return next((found for source in sources if (found := source(wanted))), None)

    return lookup
