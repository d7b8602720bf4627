"""The formats that can be exported, and the folder that they are written into."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from fedvm.exports.annex_iv import annex_iv_files
from fedvm.exports.croissant import croissant_files
from fedvm.exports.cyclonedx import cyclonedx_files
from fedvm.exports.decision_log import decision_log_files
from fedvm.exports.errors import ExportError, NothingToExport
from fedvm.exports.facts import Facts
from fedvm.exports.in_toto import in_toto_files
from fedvm.exports.model_card import model_card_files
from fedvm.exports.model_signing import model_signing_files, signed
from fedvm.exports.registers import register_files
from fedvm.files import atomic_folder, is_free

_SIGNING: Final = "model-signing"
MARK: Final = "fedvm-export.json"
"""A file by which a folder of exports is known, so that an export never takes the place of anything else."""


FORMATS: Final[Mapping[str, Callable[[Facts], Mapping[str, bytes]]]] = {
    "in-toto": in_toto_files,
    "decision-log": decision_log_files,
    "cyclonedx": cyclonedx_files,
    "model-card": model_card_files,
    "annex-iv": annex_iv_files,
    "algorithm-registers": register_files,
    _SIGNING: model_signing_files,
    "croissant": croissant_files,
}
"""From the facts to the paths and bytes of a format's files; each raises NothingToExport where there is nothing."""


@dataclass(frozen=True)
class Exported:
    """What was written. files: of each format, in the order asked for. left_out: why, by format."""

    files: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]


def export(
    facts: Facts,
    names: Sequence[str],
    directory: Path,
    *,
    leave_out: bool = False,
    key: EllipticCurvePrivateKey | None = None,
) -> Exported:
    """Write formats into a folder, each into one of its own, all or nothing; a folder of exports that is there already
    is replaced. The same facts give the same bytes. leave_out: leave out formats for which there is nothing on chain.
    key: signs the format model-signing, which stays unsigned without.

    Raises:
        NothingToExport: there is nothing to export in a format, or in any.
        ExportError: there is no such format, something else is at `directory`, or there is nothing for the key.
        OSError: the folder cannot be written.
    """
    check_names(names)
    require_free(directory)
    if key is not None and _SIGNING not in names:
        raise ExportError(f"a key signs the format {_SIGNING} alone: name it, too, or leave the key away")
    made: dict[str, Mapping[str, bytes]] = {}
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            made[name] = FORMATS[name](facts)
        except NothingToExport as error:
            if not leave_out:
                raise NothingToExport(f"{name}: {error}") from error
            left_out[name] = str(error)
    if key is not None and _SIGNING in made:
        made[_SIGNING] = signed(made[_SIGNING], key)
    if not made:
        raise NothingToExport("; ".join(f"{name}: {why}" for name, why in left_out.items()))
    listed = {name: tuple(files) for name, files in made.items()}
    contents = {f"{name}/{path}": data for name, files in made.items() for path, data in files.items()}
    told = {
        "chain": facts.chain_id,
        "federation": None if facts.federation is None else facts.federation.address,
        "service": None if facts.service is None else facts.service.address,
        "block": facts.block,
        "formats": listed,
    }
    contents[MARK] = (json.dumps(told, indent=2) + "\n").encode()
    with atomic_folder(directory) as made_in:
        for path, data in contents.items():
            file = made_in / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    return Exported(listed, left_out)


def check_names(names: Sequence[str]) -> None:
    """Raise ExportError unless all are formats, and there is one at least."""
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        what = f"{unknown[0]!r} is no format" if unknown else "no format is named"
        raise ExportError(f"{what}: name some of {', '.join(FORMATS)}, or give --all")


def require_free(directory: Path) -> None:
    """Raise ExportError if exports would take the place of something else, or cannot lie there."""
    above = next((one for one in directory.absolute().parents if one.is_file()), None)
    if above is not None:
        raise ExportError(f"{directory} cannot be a folder, since {above} is a file: name another folder")
    if not is_free(directory, MARK):
        raise ExportError(f"{directory} is there already and holds no exports of FedVM: name another folder")
