"""The rules in a configuration's units and in the contract's."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedvm.federation.settings import RulesSettings
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.rule_units import changed_rules, contract_rules, rules_in_settings
from fedvm.protocol import Rules

MILLIONTHS = st.integers(1, 10**6).map(lambda part: part / 10**6)


@st.composite
def rules_settings(draw: st.DrawFn) -> RulesSettings:
    examples = draw(st.integers(1, 2**31))
    return RulesSettings(
        min_clients=draw(st.integers(1, 1000)),
        min_examples=examples,
        max_examples=draw(st.integers(examples, 2**32 - 1)),
        max_norm=draw(st.one_of(st.floats(0.01, 1000), st.integers(1, 9999).map(lambda steps: steps / 100))),
        fraction_bits=draw(st.integers(10, 30)),
        round_seconds=draw(st.integers(1, 86_400)),
        min_accuracy=draw(MILLIONTHS),
        max_loss=draw(MILLIONTHS),
        min_labels=draw(st.integers(0, 1000)),
        rest_rounds=draw(st.integers(0, 1000)),
        max_epsilon=draw(MILLIONTHS),
    )


@given(rules_settings())
@settings(max_examples=200, deadline=None)
def test_what_the_contract_holds_is_shown_as_it_was_stated(stated: RulesSettings) -> None:
    shown = rules_in_settings(Rules(elements=5, **contract_rules(stated)))
    # On chain the bound is in whole steps, so that many norms come to the same: a short one is shown.
    short = float(shown["max_norm"])
    assert contract_rules(replace(stated, max_norm=short)) == contract_rules(stated)
    if stated.max_norm == round(stated.max_norm, 2):
        assert len(repr(short)) <= len(repr(stated.max_norm))
    assert shown == {**asdict(stated), "max_norm": short}


@given(rules_settings(), rules_settings(), st.data())
@settings(max_examples=200, deadline=None)
def test_only_what_is_stated_changes(old: RulesSettings, new: RulesSettings, data: st.DataObject) -> None:
    present = Rules(elements=5, **contract_rules(old))
    wanted = replace(new, fraction_bits=old.fraction_bits)
    stated = data.draw(st.sets(st.sampled_from(list(asdict(old)))))
    try:
        changed = changed_rules(present, wanted, stated)
    except UsageError as error:
        assert "in force already" in str(error)
        changed = present
    before, after, whole = (rules_in_settings(one) for one in (present, changed, _all(present, wanted)))
    for key in before:
        assert after[key] == (whole[key] if key in stated else before[key])
    assert changed.max_sum_squares == present.max_sum_squares or "max_norm" in stated
    with pytest.raises(UsageError, match="leave it out"):
        changed_rules(present, replace(wanted, fraction_bits=10 if old.fraction_bits > 10 else 11), stated)


def _all(present: Rules, wanted: RulesSettings) -> Rules:
    return Rules(elements=present.elements, **contract_rules(wanted))
