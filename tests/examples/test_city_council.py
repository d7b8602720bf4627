"""The council's script: each card becomes one decision, whatever is wrong with it and wherever a run was stopped."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from PIL import Image
from shown import commands, copy_of, run

from fedvm.rundir.run import open_run

AGAIN = "python council.py --run run --office office --site site"


def decisions(directory: Path) -> int:
    with open_run(directory) as opened:
        return sum(1 for _ in opened.model_service.decisions(first=opened.deployment.block))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_count_the_cards(tmp_path: Path) -> None:
    here = copy_of("city-council", tmp_path)
    shutil.copy(Path(__file__).parents[2] / "examples" / "demo.toml", here.parent)
    said = run(commands("city-council"), here, timeout=800)
    office = here / "office"
    cards = len(list((here / "run" / "images").glob("*.png")))
    decided = sorted((office / "decided").iterdir(), key=lambda card: int(card.name.partition("-")[0]))
    by_hand = list((office / "by-hand").iterdir())
    assert decided and len(decided) + len(by_hand) == cards and not list((office / "inbox").iterdir())
    assert f"{len(decided)} votes on record" in said and decisions(here / "run") == len(decided)
    assert "Nothing found in" in said and (here / "site" / "index.html").is_file()
    with (office / "count.csv").open() as file:
        votes = {row["project"]: int(row["votes"]) for row in csv.DictReader(file)}
    written = [card.stem.rpartition("-")[2] for card in decided]
    assert sum(votes.values()) == len(written)
    misread = sum(abs(votes.get(digit, 0) - written.count(digit)) for digit in "0123456789") / 2
    assert misread <= len(written) / 3, "the model reads other digits than were written"

    # A run that was stopped after the record and before the card was filed, with files that are no cards beside it.
    first = decided[0]
    first.rename(office / "deciding" / first.name.partition("-")[2])
    (office / "inbox" / "broken.png").write_bytes(b"no picture")
    (office / "inbox" / "notes.txt").write_text("no card")
    Image.new("L", (28, 28), 0).save(office / "inbox" / "empty.png")
    said = run(AGAIN, here)
    assert decisions(here / "run") == len(decided) and first.is_file()
    assert "broken.png: by hand" in said and "empty.png: by hand" in said
    assert [card.name for card in (office / "inbox").iterdir()] == ["notes.txt"]

    # The same, but stopped before the record; and a second card with the very same picture.
    again = decided[1].name.partition("-")[2]
    shutil.copy(decided[1], office / "deciding" / again)
    shutil.copy(decided[1], office / "inbox" / again)
    run(AGAIN, here)
    assert decisions(here / "run") == len(decided) + 2
    assert len(list((office / "decided").glob(f"*-{again}"))) == 3

    with open_run(here / "run", read_only=False):
        said = run(AGAIN, here, fails=True)
    assert "council.py: " in said and "Traceback" not in said
