"""What the tests' federations demand: rules and security, where a test does not care."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fedvm.federation.rule_units import contract_rules
from fedvm.federation.settings import RulesSettings, SecuritySettings
from fedvm.pipeline.rule_units import contract_security
from fedvm.protocol import WEIGHTED_MEAN, Rules, Security


def rules(**changes: Any) -> Rules:
    """The rules of a configuration that states none, at 16 bits and without bounds on norm and loss, but for the
    changes."""
    lenient = {
        "fraction_bits": 16,
        "max_examples": 1000,
        "max_sum_squares": 2**100,
        "max_loss_micros": 2**64 - 1,
    }
    fields = {**contract_rules(RulesSettings()), **lenient, "elements": 64, "aggregator": WEIGHTED_MEAN}
    return Rules(**{**fields, **changes})


def security(**changes: int) -> Security:
    """The security of a configuration that states none, but for the changes."""
    return replace(contract_security(SecuritySettings()), **changes)
