"""The workflow that publishes a tag: no rights and no commands but those that it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / ".github" / "workflows" / "release.yml").read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)


def steps() -> list[dict[str, Any]]:
    return [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_what_it_runs_is_there() -> None:
    said = "\n".join(step.get("run", "") for step in steps())
    tools = re.findall(r"\btools/\S+\.py", said)
    assert tools == ["tools/release.py"] and all((ROOT / tool).is_file() for tool in tools)
    targets = re.findall(r"\bmake ([a-z-]+)", said)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["test"] and all(f"\n{target}:" in makefile for target in targets)
    assert (ROOT / "contracts" / "package.json").is_file() and "npm pack ./contracts" in said


def test_it_may_do_no_more_than_each_job_needs() -> None:
    assert WORKFLOW["permissions"] == {}
    writing = {
        name: {right for right, level in job["permissions"].items() if level == "write"}
        for name, job in WORKFLOW["jobs"].items()
    }
    assert writing == {
        "build": {"id-token", "attestations"},
        "python": {"id-token"},
        "contracts": {"id-token"},
        "release": {"contents"},
    }
    assert "secrets." not in TEXT, "the registries trust its identity"
    # Nothing of an untrusted name goes into a script.
    assert all("${{" not in step.get("run", "") for step in steps())


def test_nothing_is_published_before_everything_was_built_and_checked() -> None:
    jobs = WORKFLOW["jobs"]
    assert jobs["python"]["needs"] == jobs["contracts"]["needs"] == "build"
    assert jobs["release"]["needs"] == ["python", "contracts"]
    order = [step.get("run", "") for step in jobs["build"]["steps"]]
    check = next(i for i, run in enumerate(order) if "make test" in run)
    build = next(i for i, run in enumerate(order) if "--twice" in run)
    assert check < build
