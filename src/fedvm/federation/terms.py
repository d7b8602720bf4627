"""The terms of a round: what the server tells a client, and what the client is asked to sign under."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from flwr.app import ConfigRecord, ConfigRecordValues

from fedvm.federation.errors import TermsError
from fedvm.federation.metrics import MetricNames
from fedvm.jsontext import parse_json
from fedvm.protocol import Domain, EncodingError, Rules
from fedvm.protocol.address import to_address

SEALED_STEP = "fedvm.sealed"
"""Key of the record that asks a member of a sealed federation for a step of an epoch or round, and of its answer."""
SEALED_ROUND = "fedvm.sealed-round"
"""Key of the record in a train message that says in which epoch its update is to be sealed."""
SHAPES = "fedvm.shapes"
"""Key of the record in a train message that asks for the names and shapes of what an app trains, not for its values."""
RECORD = "fedvm"
"""Key of FedVM's ConfigRecord in train messages and their replies."""


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
    """What FedVM adds to a train message beside the model's tensors.

    arrays_key: of the ArrayRecord that is the model. weighted_by: the metric by which the strategy weights clients.
    remainder: what the tensors lack of the vector (`ModelCodec.remainder`). loss: the metric that is attested as loss.
    """

    terms: RoundTerms
    arrays_key: str = "arrays"
    weighted_by: str = "num-examples"
    remainder: bytes = b""
    loss: str = MetricNames.attested_loss

    def to_record(self) -> ConfigRecord:
        """As a Flower ConfigRecord; integers beyond 64 bits are why the terms are JSON inside."""
        content: dict[str, ConfigRecordValues] = {
            "terms": json.dumps(asdict(self.terms), default=bytes.hex),
            "arrays": self.arrays_key,
            "weighted-by": self.weighted_by,
            "remainder": self.remainder,
            "loss": self.loss,
        }
        return ConfigRecord(content)

    @classmethod
    def from_record(cls, record: ConfigRecord) -> Briefing:
        """Inverse of `to_record`. Raises TermsError if the record cannot be read."""
        try:
            terms = _terms(parse_json(str(record["terms"])))
            remainder = record["remainder"]
            if not isinstance(remainder, bytes):
                raise TypeError("the remainder is not bytes")
            names = str(record["arrays"]), str(record["weighted-by"])
            return cls(terms, *names, remainder, str(record["loss"]))
        except (KeyError, TypeError, ValueError, EncodingError) as error:
            raise TermsError(f"the server's fedvm record cannot be read: {error}") from error


def _terms(fields: dict[str, Any]) -> RoundTerms:
    rules = fields.pop("rules")
    rules = Rules(**{**rules, "aggregator": bytes.fromhex(rules["aggregator"])})
    domain = fields.pop("domain")
    domain = Domain(int(domain["chain_id"]), to_address(domain["federation"], "federation"))
    base_root = bytes.fromhex(fields.pop("base_root"))
    return RoundTerms(domain=domain, rules=rules, base_root=base_root, **fields)
