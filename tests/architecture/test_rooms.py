"""The code keeps to the plan that docs/architecture.md draws."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

import pytest
from source import ROOT, imports_of, modules

PLAN = ROOT / "docs" / "architecture.md"
ROW = re.compile(r"^\| `fedvm\.([a-z.]+)`[^|]*\|[^|]*\|([^|]*)\|$", re.MULTILINE)


def plan() -> dict[str, frozenset[str]]:
    """Room → rooms that it may import, by the table of the page."""
    rooms: dict[str, frozenset[str]] = {}
    for name, allowed in ROW.findall(PLAN.read_text(encoding="utf-8")):
        every = "all of the above" in allowed
        rooms[name] = frozenset(rooms) if every else frozenset(re.findall(r"`([a-z.]+)`", allowed))
    return rooms


def room_of(module: str) -> str | None:
    """The innermost room of the plan that a module is in; None for `fedvm` itself, which only bears the version."""
    inside = [room for room in plan() if f"{module}.".startswith(f"fedvm.{room}.")]
    return max(inside, key=len, default=None)


def test_the_plan_names_every_room_and_no_other() -> None:
    top = {module.split(".")[1] for module in modules() if module.count(".") == 1}
    top |= {module.split(".")[1] for module in modules() if module.count(".") > 1}
    assert {room for room in plan() if "." not in room} == top
    assert {module for module in modules() if module != "fedvm" and room_of(module) is None} == set()
    assert all(f"fedvm.{room}" in modules() for room in plan())


def test_every_import_goes_where_the_plan_allows() -> None:
    rooms = plan()
    strays = [
        f"{module} imports {other}"
        for module in modules()
        for other in imports_of(module)
        if (here := room_of(module)) and (there := room_of(other)) and there != here
        if there not in rooms[here]
    ]
    assert strays == []


def test_every_allowance_of_the_plan_is_used() -> None:
    used = {(room_of(module), room_of(other)) for module in modules() for other in imports_of(module)}
    spare = {
        (room, other)
        for room, allowed in plan().items()
        if room not in ("pipeline", "cli")  # they stand on top: the plan allows them all that is below
        for other in allowed
        if (room, other) not in used
    }
    assert spare == set()


def test_the_rooms_stand_on_floors() -> None:
    assert list(TopologicalSorter(plan()).static_order())  # raises CycleError


def test_no_modules_import_each_other_in_a_circle() -> None:
    circle = TopologicalSorter({module: set(imports_of(module)) for module in modules()})
    try:
        circle.prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
