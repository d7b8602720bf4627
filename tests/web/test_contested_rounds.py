"""The pages of rounds that do not go as planned: one whose result was proved wrong, and sealed ones."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

sys.path.extend(str(Path(__file__).parent.parent / folder) for folder in ("audit", "chain"))

from court_bench import create_court, random_updates
from lies import LIES, tell
from sealed_record import record

from fedvm.audit.rolled_up import rolled_up_result
from fedvm.devnet.embedded import open_chain
from fedvm.store import ContentStore
from fedvm.web.app import make_app
from fedvm.web.database import Index
from fedvm.web.render import Renderer
from fedvm.web.site import Site
from fedvm.web.source import Source, Target
from fedvm.web.sync import Reader
from fedvm.web.words import short

pytestmark = pytest.mark.slow


@contextmanager
def pages_of(directory: Path, federation: str, seed: int) -> Iterator[Site]:
    with open_chain(directory, seed=seed, read_only=True) as chain:
        source = Source(chain.w3, ContentStore(directory / "store"), federation, None)
        site = Site(Index(), Target(), Renderer(static=False))
        site.source = source
        Reader(site.index, source).read()
        yield site
        site.index.close()


@pytest.fixture(scope="module")
def disputed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A round in which a coordinator states a wrong product, answers two questions, and loses its bond."""
    directory, rng = tmp_path_factory.mktemp("disputed") / "run", random.Random(3)
    court = create_court(directory, elements=150, members=5)
    facts = court.open_round(random_updates(rng, 4, 150), rng)
    lie = tell(next(about for about in LIES if about.__name__ == "_wrong_product_or_sum"), facts, rng)
    court.propose(lie)
    upheld = court.challenge(published={}.get, answered=lie.preimages.get)
    assert upheld is not None and upheld.demands == 2
    court.chain.close()
    with pages_of(directory, court.contract.address, seed=4) as site:
        yield site


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two sealed rounds of seventeen members, of whom one never is ready and others send nothing."""
    recorded = record(tmp_path_factory.mktemp("sealed") / "run")
    with pages_of(recorded.path, recorded.federation, seed=11) as site:
        yield site


def words(site: Site, path: str) -> str:
    """What a page says, without its markup."""
    answer = TestClient(make_app(site), base_url="http://127.0.0.1:8000").get(path)
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_a_disputed_round_tells_each_move_and_who_was_right(disputed: Site) -> None:
    said = words(disputed, "/rounds/1")
    assert "The stated model was rejected" in said and "The coordinator can state another one" in said
    moves = [
        "The coordinator opened the round",
        "The coordinator stated the new model",
        "asked to see the data behind",
        "The data behind",
        "proved to the contract: an update was not multiplied with its weight",
        "The result was rejected",
        "took its share of the lost bond",
    ]
    disputes, _, steps = said.partition("Disputes ")[2].partition("Step by step")
    assert [disputes.count(move) for move in moves[2:]] == [2, 2, 1, 1, 1]
    assert all(move in steps for move in moves[:2]) and "Nobody proved it wrong" not in said
    assert disputes.index(moves[2]) < disputes.index(moves[4]) < disputes.index(moves[5])
    assert "New model and sums are those of the result that was rejected" in said
    assert "rejected" in words(disputed, "/rounds")


def test_a_round_that_a_stranger_brought_to_its_end_says_who(tmp_path: Path) -> None:
    court, rng = create_court(tmp_path / "run", elements=130, members=5), random.Random(7)
    number, judged_at, rollup = court.open_rollup(random_updates(rng, 4, 130), rng)
    court.state_honest(number, judged_at, rollup)
    now = int(court.chain.w3.eth.get_block("latest")["timestamp"])
    court.chain.advance_time(court.contract.round(number).until + 1 - now)
    result = rolled_up_result(court.contract, court.store, number, court.block)
    court.contract.propose(court.challenger, number, result.proposal)
    stranger = court.challenger.address
    court.chain.close()
    with pages_of(tmp_path / "run", court.contract.address, seed=4) as site:
        said = words(site, "/rounds/1")
    assert f"{short(stranger)}, in the coordinator's place, stated the new model" in said.replace(
        "&#39;", "'"
    )
    assert "The coordinator stated" not in said


def test_a_sealed_round_shows_sums_and_no_update(sealed: Site) -> None:
    first, second = words(sealed, "/rounds/1"), words(sealed, "/rounds/2")
    for said in (first, second):
        assert "The updates themselves are sealed: only the sums of groups became known" in said
        assert "Groups whose sums became known" in said and "whose sealed updates came" in said
        assert "Disputes" not in said and "Nobody proved it wrong in time" in said
    # 17 members, 1 absent in the first round, 2 in the second.
    assert "16 updates counted" in first and "15 updates counted" in second
    groups = re.findall(r"\b([12]) (\d) (\d) ", first.partition("allowed")[2])
    assert [number for number, _, _ in groups[:2]] == ["1", "2"]
    assert sum(int(there) for _, _, there in groups[:2]) == 16
    assert sum(int(members) for _, members, _ in groups[:2]) == 17
    assert "what is public" in words(sealed, "/").lower() or "sealed" in words(sealed, "/").lower()


@pytest.mark.parametrize("kind", ["disputed", "sealed"])
def test_they_are_fit_for_everybody(kind: str, request: pytest.FixtureRequest) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("axe_playwright_python")
    from web_bench.axe import SHAPES, browser, violations
    from web_bench.serving import served

    site = request.getfixturevalue(kind)
    with playwright.sync_playwright() as player, served(site) as address:
        chromium = browser(player)
        if chromium is None:
            pytest.skip("chromium is not installed")
        for width, scheme in SHAPES:
            for path in ("/", "/rounds", "/rounds/1"):
                assert violations(chromium, address + path, width, scheme) == [], (path, width, scheme)
