"""A manifest for OpenSSF Model Signing v1.0 over the ONNX file, the program and the evidence, unsigned or signed.

The format: https://github.com/sigstore/model-transparency/blob/main/docs/model_signing_format.md, an in-toto statement
whose predicate lists files; signed, it is the payload of a DSSE envelope in a Sigstore bundle.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedvm.exports.errors import ExportError, NothingToExport
from fedvm.exports.facts import Facts
from fedvm.exports.figures import needed_version
from fedvm.exports.in_toto import STATEMENT, statement
from fedvm.exports.text import json_bytes

PREDICATE: Final = "https://model_signing/signature/v1.0"
UNSIGNED: Final = "statement.json"
SIGNED: Final = "model.sig"
_PAYLOAD: Final = "application/vnd.in-toto+json"
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MODEL: Final = "model/"
_CURVES: Final[Mapping[type[ec.EllipticCurve], hashes.HashAlgorithm]] = {
    ec.SECP256R1: hashes.SHA256(),
    ec.SECP384R1: hashes.SHA384(),
    ec.SECP521R1: hashes.SHA512(),
}
"""The curves that the format takes, and the hash of each."""


def model_signing_files(facts: Facts) -> dict[str, bytes]:
    """The folder `model` with all that is to be signed, and `statement.json` over it. Raises NothingToExport without a
    version, or where no store has its ONNX file."""
    version = needed_version(facts)
    if version.onnx is None:
        raise NothingToExport(f"the ONNX file is not there to be signed: {version.missing}")
    model = {f"program/{account}.bin": code for account, code in version.codes.items()}
    model |= {"model.onnx": version.onnx, "evidence/lineage.json": json_bytes(statement(facts))}
    files = {f"{_MODEL}{name}": data for name, data in sorted(model.items())}
    return {**files, UNSIGNED: json_bytes(manifest(model))}


def manifest(model: Mapping[str, bytes]) -> dict[str, Any]:
    """The statement over the files of a folder by their paths in it."""
    digests = {name: sha256(data) for name, data in sorted(model.items())}
    root = sha256(b"".join(one.digest() for one in digests.values()))
    return {
        "_type": STATEMENT,
        "subject": [{"name": _MODEL.rstrip("/"), "digest": {"sha256": root.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": one.hexdigest()}
                for name, one in digests.items()
            ],
        },
    }


def signing_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private key from a PEM file that is not encrypted. Raises ExportError unless it is one of the curves P-256,
    P-384 and P-521; OSError if it cannot be read."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ExportError(f"{path} holds no private key in PEM, or an encrypted one: {_ADVICE}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or type(key.curve) not in _CURVES:
        raise ExportError(f"{path} holds a key of another kind than P-256, P-384 or P-521: {_ADVICE}")
    return key


_ADVICE: Final = "make one with `openssl ecparam -name prime256v1 -genkey -noout -out signing.pem`"


def signed(files: Mapping[str, bytes], key: ec.EllipticCurvePrivateKey) -> dict[str, bytes]:
    """The files of `model_signing_files` with `model.sig` and `public-key.pem` in the place of the statement. The
    signature follows from key and files (RFC 6979)."""
    payload = files[UNSIGNED]
    algorithm = ec.ECDSA(_CURVES[type(key.curve)], deterministic_signing=True)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # Pre-authentication encoding of DSSE v1.
    message = b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": sha256(public).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": b64encode(key.sign(message, algorithm)).decode(), "keyid": ""}],
        },
    }
    kept = {name: data for name, data in files.items() if name != UNSIGNED}
    return {**kept, SIGNED: (json.dumps(bundle) + "\n").encode(), "public-key.pem": public}
