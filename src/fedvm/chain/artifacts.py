"""Contract artefacts shipped with the package, so that users need no Solidity compiler."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from eth_typing import HexStr
from web3 import Web3
from web3.contract import Contract

from fedvm.chain.errors import ArtifactError, DeploymentError
from fedvm.jsontext import parse_json

FEDERATION_FACTORY: Final = "FederationFactory"
FEDERATION: Final = "Federation"
DISPUTES: Final = "Disputes"
ROLLUPS: Final = "Rollups"
DIRECT_SUBMISSIONS: Final = "DirectSubmissions"
RULE_BOOK: Final = "RuleBook"
SEALED_DISPUTES: Final = "SealedDisputes"
SEALED_ROUNDS: Final = "SealedRounds"
SEALED_COURT: Final = "SealedCourt"
EPOCHS: Final = "Epochs"
MODEL_SERVICE: Final = "ModelService"
PROMOTION_GATE: Final = "PromotionGate"
INFERENCE_SESSION: Final = "InferenceSession"
LOCAL_PDP_VERIFIER: Final = "LocalPDPVerifier"
CONTRACT_NAMES: Final = (
    FEDERATION_FACTORY,
    FEDERATION,
    DISPUTES,
    ROLLUPS,
    DIRECT_SUBMISSIONS,
    RULE_BOOK,
    SEALED_DISPUTES,
    SEALED_ROUNDS,
    SEALED_COURT,
    EPOCHS,
    MODEL_SERVICE,
    PROMOTION_GATE,
    INFERENCE_SESSION,
    LOCAL_PDP_VERIFIER,
)


@dataclass(frozen=True)
class Artifact:
    """A compiled contract: its ABI, init code without constructor arguments, and runtime code; the version and settings
    of the compiler, and the hash of the sources that it was built from."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    runtime_code: bytes
    compiler: str
    settings: dict[str, Any]
    source_hash: str


@cache
def load_artifact(name: str) -> Artifact:
    """The artefact of a contract (``"Federation"`` or ``"ModelService"``).

    Raises :class:`ArtifactError` if it is missing or malformed.
    """
    file = files("fedvm.chain") / "artifacts" / f"{name}.json"
    try:
        fields = parse_json(file.read_text(encoding="utf-8"))
        return Artifact(
            name,
            fields["abi"],
            _code(fields["bytecode"]),
            _code(fields["deployedBytecode"]),
            fields["compiler"]["version"],
            fields["compiler"]["settings"],
            fields["sourceHash"],
        )
    except FileNotFoundError as error:
        raise ArtifactError(
            f"no artefact of contract {name}; known are {', '.join(CONTRACT_NAMES)}. "
            "In a checkout, build the contracts and run contracts/tools/export_artifacts.py"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"artefact {name}.json is malformed ({error!r}); reinstall fedvm") from error


def compiler_version() -> str:
    """The version of solc that the shipped contracts were built with."""
    return load_artifact(FEDERATION).compiler


def contract_at(w3: Web3, name: str, address: str) -> Contract:
    """The web3 contract ``name`` at ``address``; :class:`DeploymentError` if no code is there."""
    checksummed = Web3.to_checksum_address(address)
    if not w3.eth.get_code(checksummed):
        raise DeploymentError(
            f"no {name} at {address} on chain {w3.eth.chain_id}: no code there; check address and network"
        )
    return w3.eth.contract(address=checksummed, abi=load_artifact(name).abi)


def _code(text: str) -> bytes:
    return bytes.fromhex(HexStr(text).removeprefix("0x"))
