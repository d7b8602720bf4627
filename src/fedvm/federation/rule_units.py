"""The rules of a configuration as the contract has them: real numbers there, integers here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

from fedvm.federation.settings import RulesSettings
from fedvm.protocol import max_sum_squares
from fedvm.protocol.rules import PPM
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS

SCALED: Mapping[str, str] = MappingProxyType(
    {
        "min_accuracy": "min_accuracy_ppm",
        "max_loss": "max_loss_micros",
        "max_share": "max_share_ppm",
        "max_epsilon": "max_epsilon_micros",
    }
)
"""Settings that the contract has in millionths, under which name."""


def contract_rules(settings: RulesSettings) -> dict[str, int]:
    """The settings as fields of `Rules`, by the fields' names; what is not set is left out.

    Raises:
        EncodingError: `max_norm` allows no update, or does not fit the contract.
    """
    fields: dict[str, int] = {}
    for key, value in asdict(settings).items():
        if key == "max_norm":
            fields["max_sum_squares"] = max_sum_squares(value, settings.fraction_bits)
        elif key in SCALED:
            fields[SCALED[key]] = NOT_ATTESTED_LOSS if value is None else round(value * PPM)
        elif value is not None:
            fields[key] = value
    return fields
