"""The rules in a configuration's units and in the contract's."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conditions
from fedvm.federation.rule_units import contract_rules
from fedvm.federation.settings import RulesSettings
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.rule_units import changed_rules, rules_in_settings
from fedvm.protocol import Rules
from fedvm.settings import stated as stated_settings

MILLIONTHS = st.integers(1, 10**6).map(lambda part: part / 10**6)


@st.composite
def rules_settings(draw: st.DrawFn) -> RulesSettings:
    examples = draw(st.integers(1, 2**31))
    narrower = {
        "max_examples": st.integers(examples, 2**32 - 1),
        "max_norm": st.one_of(st.floats(0.01, 1000), st.integers(1, 9999).map(lambda steps: steps / 100)),
        "fraction_bits": st.integers(10, 30),
        "max_share": st.just(1.0),  # a smaller one must leave room for the quorum
    }
    of_kind = {int: st.integers(1, 1000), float: MILLIONTHS}
    drawn = {
        one.key: draw(narrower.get(one.key, of_kind[one.kind])) for one in stated_settings(RulesSettings)
    }
    return RulesSettings(**{**drawn, "min_examples": examples})


@given(rules_settings())
@settings(max_examples=200, deadline=None)
def test_what_the_contract_holds_is_shown_as_it_was_stated(stated: RulesSettings) -> None:
    shown = rules_in_settings(_with_model(stated))
    # On chain the bound is in whole steps, so that many norms come to the same: a short one is shown.
    short = float(shown["max_norm"])
    assert contract_rules(replace(stated, max_norm=short)) == contract_rules(stated)
    if stated.max_norm == round(stated.max_norm, 2):
        assert len(repr(short)) <= len(repr(stated.max_norm))
    assert shown == {**asdict(stated), "max_norm": short}


@given(rules_settings(), rules_settings(), st.data())
@settings(max_examples=200, deadline=None)
def test_only_what_is_stated_changes(old: RulesSettings, new: RulesSettings, data: st.DataObject) -> None:
    present = _with_model(old)
    wanted = replace(new, fraction_bits=old.fraction_bits)
    stated = data.draw(st.sets(st.sampled_from(list(asdict(old)))))
    try:
        changed = changed_rules(present, wanted, stated)
    except UsageError as error:
        assert "in force already" in str(error)
        changed = present
    before, after, whole = (rules_in_settings(one) for one in (present, changed, _with_model(wanted)))
    for key in before:
        assert after[key] == (whole[key] if key in stated else before[key])
    assert changed.max_sum_squares == present.max_sum_squares or "max_norm" in stated
    with pytest.raises(UsageError, match="leave it out"):
        changed_rules(present, replace(wanted, fraction_bits=10 if old.fraction_bits > 10 else 11), stated)


def _with_model(stated: RulesSettings) -> Rules:
    return conditions.rules(**contract_rules(stated))
