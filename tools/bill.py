"""The bill of materials of a wheel: what it needs, in the versions of constraints.txt, which were tested.

It is made from the environment that this runs in, which must have these versions. The form is CycloneDX 1.6.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution, distribution
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"


class ReleaseError(Exception):
    """Nothing can be released; the message says what to do."""


def pins() -> dict[str, str]:
    """Package → the version that constraints.txt names."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pinned = [line.partition("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version.strip() for name, _, version in pinned}


def installed(name: str, pinned: dict[str, str]) -> Distribution:
    """A package of this environment, which must have the pinned version.

    Raises ReleaseError if it has not.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise ReleaseError(
            f"{name} is not installed; run `make wheel`, which installs what is needed"
        ) from None
    if (
        pinned.get(name) != found.version.partition("+")[0]
    ):  # a build of one's own has a local version behind it
        raise ReleaseError(
            f"{name} {found.version} is installed and constraints.txt names {pinned.get(name, 'none')}; "
            "install by the constraints, or mend them"
        )
    return found


def needed(requirements: list[str], extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Names and extras of what requirements ask for in this environment."""
    for line in requirements:
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield canonicalize_name(one.name), frozenset(one.extras)


def closure(requirements: list[str]) -> dict[str, tuple[Distribution, set[str]]]:
    """Package → its distribution and the names of what it needs, of all that requirements lead to."""
    pinned, found = pins(), dict[str, tuple[Distribution, set[str]]]()
    seen, waiting = set[tuple[str, frozenset[str]]](), list(needed(requirements, frozenset()))
    while waiting:
        name, extras = one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        package = found.setdefault(name, (installed(name, pinned), set()))
        for child in needed(package[0].requires or [], extras | {""}):
            package[1].add(child[0])
            waiting.append(child)
    return found


def described(name: str, package: Distribution, kind: ComponentType = ComponentType.LIBRARY) -> Component:
    """A package as a component."""
    said = package.metadata.json
    expression = said.get("license_expression")
    return Component(
        type=kind,
        name=name,
        version=package.version,
        purl=PackageURL("pypi", None, name, package.version),
        bom_ref=f"{name}@{package.version}",
        description=str(said["summary"]) if "summary" in said else None,
        licenses=[LicenseExpression(str(expression))] if expression else None,
    )


def of_wheel(wheel: Path) -> Distribution:
    """What a wheel says of itself."""
    (inside,) = (one for one in zipfile.Path(wheel).iterdir() if one.name.endswith(".dist-info"))
    return PathDistribution(inside)


def bill(wheel: Path, time: int) -> str:
    """The bill of materials of a wheel, as CycloneDX's JSON. time: Unix seconds that it bears.

    Raises ReleaseError where a package is missing or has another version than the constraints name.
    """
    ours, digest = of_wheel(wheel), hashlib.sha256(wheel.read_bytes()).hexdigest()
    root = described(ours.name, ours, ComponentType.APPLICATION)
    root.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=digest))
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, digest))
    bom.metadata.timestamp = datetime.fromtimestamp(time, UTC)
    bom.metadata.component = root
    requirements = ours.requires or []
    packages = closure(requirements)
    components = {name: described(name, package) for name, (package, _) in packages.items()}
    bom.components.update(components.values())
    direct = {name for name, _ in needed(requirements, frozenset())}
    bom.register_dependency(root, [components[name] for name in sorted(direct)])
    for name, (_, children) in packages.items():
        bom.register_dependency(components[name], [components[child] for child in sorted(children)])
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"
