"""Where a challenger finds the preimages of a proposal's hashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedvm.evm.keccak import keccak

Preimages = Callable[[bytes], bytes | None]
"""From a hash of 32 bytes to what it is the hash of, or None if that is not known."""


@dataclass(frozen=True)
class PreimageFolder:
    """Preimages in files named by the hash in hexadecimal; a file's content is checked against its name."""

    path: Path

    def __call__(self, wanted: bytes) -> bytes | None:
        """The preimage, None if there is no file for it or the file's content is wrong."""
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
    """Asks several sources in turn and returns the first preimage. Empty bytes do not count: the contracts accept no
    empty preimage."""

    def lookup(wanted: bytes) -> bytes | None:
        return next((found for source in sources if (found := source(wanted))), None)

    return lookup
