"""Reads new ballot cards, has the contract decide each on record, and publishes the count and the pages.

A scheduler runs it. Whenever it is stopped, the next run goes on: no card is counted twice and none is lost.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from fedvm.chain.errors import ChainError
from fedvm.chain.keys import load_key
from fedvm.evm.keccak import keccak
from fedvm.files import write_atomically
from fedvm.images.decode import SUFFIXES
from fedvm.images.errors import ImageError
from fedvm.pipeline.ask import ask, version_description
from fedvm.pipeline.questions import image_question
from fedvm.rundir.run import Run, open_run
from fedvm.web.export import export
from fedvm.web.source import Target


class Office:
    """Where cards lie: inbox → deciding → decided, or by-hand where the model is not sure or cannot read the file."""

    def __init__(self, home: Path) -> None:
        self.inbox, self.deciding, self.decided, self.by_hand = (
            home / name for name in ("inbox", "deciding", "decided", "by-hand")
        )
        for folder in (self.inbox, self.deciding, self.decided, self.by_hand):
            folder.mkdir(parents=True, exist_ok=True)

    def cards(self) -> list[Path]:
        """Cards that wait, those first that a run before this one had begun with."""
        found = [*sorted(self.deciding.iterdir()), *sorted(self.inbox.iterdir())]
        return [card for card in found if card.suffix.lower() in SUFFIXES]


def decide(card: Path, run: Run, office: Office) -> str:
    """What becomes of one card."""
    service = run.model_service
    description = version_description(run.store, service, service.current_version())
    begun = card.parent == office.deciding
    try:
        (answer,) = ask([card], run)  # without a record, which costs nothing
        data = image_question(card, card.name, description).data
    except ImageError as error:
        card.rename(free(office.by_hand / card.name))
        return f"{card.name}: by hand: {error}"
    if answer.doubt:
        card.rename(free(office.by_hand / card.name))
        return f"{card.name}: by hand: {answer.doubt}"
    number = recorded_already(run, data, office) if begun else None
    if number is None:
        if not begun:
            card = card.rename(free(office.deciding / card.name))
        user = run.chain.account("user") if run.chain is not None else load_key()
        (answer,) = ask([card], run, user=user)
        number = answer.decision
    card.rename(office.decided / f"{number}-{card.name}")
    return f"{card.name}: {answer.class_names[answer.label]}, decision {number}"


def recorded_already(run: Run, data: bytes, office: Office) -> int | None:
    """The decision on a card of a run that was stopped before it filed the card: one that no card is filed under."""
    filed = {int(card.name.partition("-")[0]) for card in office.decided.iterdir()}
    same = (
        one
        for one in run.model_service.decisions(first=run.deployment.block)
        if one.input_hash == keccak(data)
    )
    return next((one.id for one in same if one.id not in filed), None)


def free(path: Path) -> Path:
    """The path, or one like it that no file has."""
    number = 1
    while (other := path if number == 1 else path.with_stem(f"{path.stem}-{number}")).exists():
        number += 1
    return other


def count(run: Run) -> Counter[str]:
    """Votes by project, from the chain alone."""
    service = run.model_service
    names = version_description(run.store, service, service.current_version()).classes
    return Counter(names[one.label] for one in service.decisions(first=run.deployment.block))


def main() -> int:
    """Decide what is new, then publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="directory of the run whose service decides")
    parser.add_argument("--office", type=Path, required=True, help="folder with inbox/; the others are made")
    parser.add_argument("--site", type=Path, required=True, help="folder of the public pages")
    given = parser.parse_args()
    office = Office(given.office)
    try:
        with open_run(given.run, read_only=False) as run:
            for card in office.cards():
                print(decide(card, run, office), flush=True)
            votes = count(run)
    except ChainError as error:
        print(f"council.py: {error}", file=sys.stderr)
        return 1
    export(Target(run=given.run), given.site)
    lines = "".join(f"{project},{number}\n" for project, number in sorted(votes.items()))
    write_atomically(given.office / "count.csv", f"project,votes\n{lines}")
    print(f"{votes.total()} votes on record; pages in {given.site}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
