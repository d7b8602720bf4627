"""The terms of a round: what the server tells a client, and what the client is asked to sign under."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from flwr.app import ConfigRecord, ConfigRecordValues

from fedvm.federation.errors import TermsError
from fedvm.protocol import Domain, EncodingError, Rules, TensorSpec, VectorSpec
from fedvm.protocol.address import to_address

SEALED_STEP = "fedvm.sealed"
"""Key of the record that asks a member of a sealed federation for a step of an epoch or round, and of its answer."""
SEALED_ROUND = "fedvm.sealed-round"
"""Key of the record in a train message that says in which epoch its update is to be sealed."""
RECORD = "fedvm"
"""Key of FedVM's ConfigRecord in train and evaluate messages and in train replies."""


@dataclass(frozen=True)
class RoundTerms:
    """One round on one chain: the rules in full, the root of the model to train from (32 bytes), the
    deadline.

    `domain` is the chain and the federation on it, `deadline` in Unix seconds.
    """

    domain: Domain
    round: int
    rules: Rules
    base_root: bytes
    deadline: int


@dataclass(frozen=True)
class Briefing:
    """Everything FedVM adds to a message: how the vector maps to tensors, its scale, and a train's terms.

    order: names of all the model's tensors, federated or not, since some apps go by position.
    """

    spec: VectorSpec
    order: tuple[str, ...]
    fraction_bits: int
    terms: RoundTerms | None

    def to_record(self) -> ConfigRecord:
        """As a Flower ConfigRecord; integers beyond 64 bits are why it is JSON inside."""
        tensors = [[tensor.name, list(tensor.shape), tensor.dtype] for tensor in self.spec.tensors]
        content: dict[str, ConfigRecordValues] = {
            "tensors": json.dumps(tensors),
            "order": json.dumps(self.order),
            "fraction-bits": self.fraction_bits,
        }
        if self.terms:
            content["terms"] = json.dumps(asdict(self.terms), default=bytes.hex)
        return ConfigRecord(content)

    @classmethod
    def from_record(cls, record: ConfigRecord) -> Briefing:
        """Inverse of `to_record`. Raises TermsError if the record cannot be read."""
        try:
            tensors = json.loads(str(record["tensors"]))
            spec = VectorSpec(tuple(TensorSpec(name, tuple(shape), dtype) for name, shape, dtype in tensors))
            terms = _terms(json.loads(str(record["terms"]))) if "terms" in record else None
            order = tuple(str(name) for name in json.loads(str(record["order"])))
            return cls(spec, order, int(str(record["fraction-bits"])), terms)
        except (KeyError, TypeError, ValueError, EncodingError) as error:
            raise TermsError(f"the server's fedvm record cannot be read: {error}") from error


def _terms(fields: dict[str, Any]) -> RoundTerms:
    rules = fields.pop("rules")
    rules = Rules(**{**rules, "aggregator": bytes.fromhex(rules["aggregator"])})
    domain = fields.pop("domain")
    domain = Domain(int(domain["chain_id"]), to_address(domain["federation"], "federation"))
    base_root = bytes.fromhex(fields.pop("base_root"))
    return RoundTerms(domain=domain, rules=rules, base_root=base_root, **fields)
