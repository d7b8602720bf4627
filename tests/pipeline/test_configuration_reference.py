"""The reference of the settings is made from them, and says of each all that is to be said."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedvm.pipeline.config_file import free_on_resume, grows_on_resume, settings_by_key
from fedvm.pipeline.errors import UsageError
from fedvm.pipeline.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def rows() -> dict[str, list[str]]:
    """The cells of the page's tables by "table.key"."""
    found, table = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## ["):
            table = line[4:-1]
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            found[f"{table}.{cells[0].strip('`')}"] = cells
    return found


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: fedvm settings > docs/configuration.md"


def test_every_setting_has_its_meaning_values_default_and_whether_it_may_change_on_resume() -> None:
    found = rows()
    settings = {key: one for key, one in settings_by_key().items() if "." in key}
    assert found.keys() == settings.keys() and len(found) > 100
    may_change = dict.fromkeys(free_on_resume(), "yes") | dict.fromkeys(grows_on_resume(), "only upwards")
    for key, (_, words, values, default, _, resume) in found.items():
        assert len(words) > 1 and values and default and "`." not in words, key
        assert resume == may_change.get(key, "no"), key
        unit = settings[key].setting.unit
        assert not unit or unit in values or "seconds" in values, key


def test_keys_whose_names_say_seconds_or_bits_state_the_unit() -> None:
    for key, one in settings_by_key().items():
        for ending, unit in (("_seconds", "s"), ("_bits", "bits"), ("_rounds", "rounds"), ("bond", "wei")):
            assert not key.endswith(ending) or one.setting.unit == unit, key


def test_a_table_alone() -> None:
    assert reference(["gate"]).startswith("## [gate]\n") and "[rules]" not in reference(["gate"])
    with pytest.raises(UsageError, match=r"no table \[gates\]\. The tables are: run, network, data"):
        reference(["gates"])
