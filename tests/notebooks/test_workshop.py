"""The workshop's notebook: what is committed is short and empty, and run from top to bottom it shows what it says."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "federated_learning_on_fevm.ipynb"
STEPS = [
    "Install", "The data", "The network", "The baseline", "The clients", "The rules, in a contract", "The strategy",
    "The rounds", "Export", "Compile", "Deploy", "Predict", "Audit",
]  # fmt: skip
LONGEST = 30
"""Lines of a cell that one still reads on a projector."""
MOST_SECONDS = 300


def read() -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_goes_through_the_steps_of_the_talk_in_their_order() -> None:
    text = "\n".join(cell.source for cell in read().cells if cell.cell_type == "markdown")
    assert re.findall(r"^## \d+\. (.+)$", text, re.MULTILINE) == STEPS


def test_is_committed_without_outputs_in_short_cells() -> None:
    for cell in read().cells:
        if cell.cell_type != "code":
            continue
        assert cell.outputs == [] and cell.execution_count is None, cell.id
        assert len(cell.source.splitlines()) <= LONGEST, cell.id


def test_only_one_cell_installs_and_links_lead_somewhere() -> None:
    cells = read().cells
    assert [cell.id for cell in cells if "%pip" in cell.source] == ["install"]
    links = [one for cell in cells for one in re.findall(r"\]\(([^)#]+)", cell.source)]
    assert links and all((NOTEBOOK.parent / link).is_file() for link in links)


@pytest.mark.slow
@pytest.mark.timeout(2 * MOST_SECONDS)
def test_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = read()
    NotebookClient(
        notebook,
        timeout=MOST_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": NOTEBOOK.parent}},
    ).execute()
    said = {cell.id: printed(cell) for cell in notebook.cells if cell.cell_type == "code"}
    pictures = {cell.id for cell in notebook.cells if "image/png" in shown(cell)}
    assert pictures == {"grid", "progress", "predict"}
    alone = percent(said["baseline"])
    rounds = [line for line in said["rounds"].splitlines() if line.startswith("round ")]
    assert len(rounds) == 6 and "updates" not in rounds[0]
    for line in rounds[1:]:
        assert "15 updates accepted; capped: 11,250 images count as 300; refused: TooFewLabels" in line
    assert percent(rounds[-1]) > max(alone, 80)
    assert "round 5 of 0x" in said["export"]
    assert "gas a prediction" in said["compile"] and "MLOAD" in said["compile"]
    assert "version 1 from round 5" in said["deploy"]
    assert "8 of 8 answers equal" in said["predict"]
    assert abs(percent(said["accuracy"]) - percent(rounds[-1])) < 3, "the integers lose accuracy"
    assert "decision 1: a " in said["decide"] and "comes from round 5 of 0x" in said["decide"]
    assert said["audit"].startswith("clean\n") and "decision 1" in said["audit"]
    found, put_back = said["tamper"].splitlines()
    assert re.match(r"[1-9]\d* findings; the first: block \w+ is corrupt", found)
    assert put_back == "put back: clean"
    (work,) = tmp_path.glob("fedvm-workshop-*")
    assert (work / "federation" / "deployment.json").is_file() and str(work) in said["end"]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(one.text for one in cell.outputs if one.output_type == "stream" and one.name == "stdout")


def shown(cell: nbformat.NotebookNode) -> set[str]:
    return {kind for one in cell.get("outputs", ()) for kind in one.get("data", {})}


def percent(line: str) -> float:
    found = re.search(r"(\d+\.\d)%", line)
    assert found is not None, line
    return float(found.group(1))
