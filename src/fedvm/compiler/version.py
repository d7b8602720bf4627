"""The compiler's version, and the known faults of earlier versions.

The version is raised whenever the same file, calibration data and options may give another program. A test compares the
code of some networks with the code of this version.

"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COMPILER_VERSION = 2
"""Of the programs that this package emits."""
UNSTATED = 1
"""Version of a program whose manifest or recipe does not state one: the first did not."""


@dataclass(frozen=True)
class Fault:
    """A fault in the programs of some versions. first, last: the first and last version that have it."""

    first: int
    last: int
    name: str
    effect: str
    networks: str

    def __str__(self) -> str:
        return f"{self.name}: {self.effect} ({self.networks})"


FAULTS = (
    Fault(
        1, 1, "lost columns",
        "the program may give other scores than its own reference",
        "rows with more columns than the next layer's words have lanes, e.g. 28 or 32 columns through convolution, "
        "ReLU and batch normalisation twice, or an average before a convolution",
    ),
    Fault(
        1, 1, "averages over wide rows",
        "the integers are another model than the one that was given",
        "averages over 24 columns and more, at few activation bits over fewer",
    ),
    Fault(
        1, 1, "zero that is no level",
        "zero padding counted as another value, an error of up to the spread of the scores",
        "real inputs or sums whose range did not contain zero, read with zero padding",
    ),
    Fault(
        1, 1, "one range for all features",
        "features of small range lost their values",
        "real inputs whose features differ in range, e.g. tables that were not standardised",
    ),
    Fault(
        1, 1, "one word's shifts for all",
        "the program may give other scores than its own reference",
        "optimize=\"deploy\": dense layers of several words whose outputs have different shifts",
    ),
)  # fmt: skip
"""All that are known, the oldest first."""


def known_faults(version: int) -> tuple[Fault, ...]:
    """The faults that a program of this compiler version may have."""
    return tuple(fault for fault in FAULTS if fault.first <= version <= fault.last)


def version_of(manifest: Mapping[str, Any]) -> int:
    """The compiler version that a program's manifest states.

    Raises ValueError if it states something else than a version.
    """
    version = manifest.get("compiler", UNSTATED)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(
            f"the manifest states the compiler version {version!r}; it must be a whole number from 1 on"
        )
    return version


def verdict_on(version: int) -> str:
    """A message about a program of this compiler version: its known faults and what to do, "" if none are known."""
    faults = known_faults(version)
    if not faults:
        return ""
    listed = "; ".join(map(str, faults))
    return (
        f"it was made by compiler version {version}, which has known faults: {listed}. Compile the model again with "
        f"version {COMPILER_VERSION} and deploy that"
    )
