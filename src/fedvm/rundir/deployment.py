"""``deployment.json``: the chain of a run, and the addresses of its contracts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from eth_utils.address import is_checksum_address, to_checksum_address

from fedvm.chain.errors import DeploymentError
from fedvm.files import write_atomically
from fedvm.jsontext import parse_json
from fedvm.rundir.layout import RunDirectory
from fedvm.store import DEFAULT_STORES

FORMAT: Final = 3


@dataclass(frozen=True)
class ChainRef:
    """``embedded`` with a file beside ``deployment.json``, or ``rpc`` with the endpoint's address."""

    kind: Literal["embedded", "rpc"]
    location: str


@dataclass(frozen=True)
class Deployment:
    """Addresses are checksummed; ``program`` lists the entry contract first; ``block`` is the first block
    that concerns the run, where a search for events begins. Fields of contracts that are not deployed yet are None or
    empty. ``stores``: where the artefacts are, folders (relative ones lie in the directory) or URLs."""

    chain: ChainRef
    chain_id: int
    federation: str | None = None
    service: str | None = None
    program: tuple[str, ...] = ()
    block: int = 0
    stores: tuple[str, ...] = DEFAULT_STORES

    def __post_init__(self) -> None:
        named = {"federation": self.federation, "service": self.service}
        named |= {f"program[{index}]": address for index, address in enumerate(self.program)}
        for name, address in named.items():
            if address is not None and not is_checksum_address(address):
                raise DeploymentError(f"{name} is not a checksummed address: {address!r}")
        if self.chain_id <= 0 or self.block < 0:
            raise DeploymentError(f"chainId {self.chain_id} or block {self.block} is out of range")

    def save(self, directory: Path | str) -> Path:
        """Write ``deployment.json`` into ``directory``, whole or not at all; returns its path."""
        path = RunDirectory(Path(directory)).deployment
        location = "path" if self.chain.kind == "embedded" else "url"
        fields = {
            "format": FORMAT,
            "chain": {"kind": self.chain.kind, location: self.chain.location},
            "chainId": self.chain_id,
            "federation": self.federation,
            "service": self.service,
            "program": list(self.program),
            "block": self.block,
            "stores": list(self.stores),
        }
        write_atomically(path, json.dumps(fields, indent=2) + "\n")
        return path

    @classmethod
    def load(cls, directory: Path | str) -> Deployment:
        """Read it; :class:`DeploymentError` if it is missing or malformed."""
        path = RunDirectory(Path(directory)).deployment
        try:
            fields = parse_json(path.read_text(encoding="utf-8"))
            if fields["format"] != FORMAT:
                raise DeploymentError(f"{path} has format {fields['format']}, this version reads {FORMAT}")
            return cls(
                _chain_ref(fields["chain"]),
                fields["chainId"],
                _address(fields["federation"]),
                _address(fields["service"]),
                tuple(to_checksum_address(address) for address in fields["program"]),
                fields["block"],
                _locations(fields["stores"]),
            )
        except FileNotFoundError as error:
            raise DeploymentError(
                f"no {path.name} in {directory}; is it a run's directory, and did the run get that far?"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise DeploymentError(f"{path} is malformed ({error!r}); restore it from the run") from error


def _chain_ref(fields: Any) -> ChainRef:
    if fields["kind"] == "embedded":
        return ChainRef("embedded", fields["path"])
    if fields["kind"] == "rpc":
        return ChainRef("rpc", fields["url"])
    raise ValueError(f"chain kind {fields['kind']!r}")


def _address(value: str | None) -> str | None:
    return None if value is None else to_checksum_address(value)


def _locations(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise ValueError(f"stores {value!r}")
    return tuple(value)
