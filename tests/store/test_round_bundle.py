"""The pieces that a round's evidence is packed into: the same for all who have the artefacts."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from pdp_server import Pdp, provider
from test_foc import BRIEF, HASTY, KEY, state

from fedvm.protocol.aggregators import NAME_ELEMENTS
from fedvm.store import Cid, ContentStore, ReadOnlyStore, StoreError, bundle
from fedvm.store.backends import proving_store
from fedvm.store.bundle import Bundles, car_of
from fedvm.store.car import read_car
from fedvm.store.foc import OnchainCloud
from fedvm.store.mirrored import MirroredStore
from fedvm.store.pdp import MIN_PIECE_BYTES
from fedvm.store.piece import piece_of

DATA = [random.Random(number).randbytes(size) for number, size in enumerate((3_000, 500_000, 40, 700))]


@pytest.fixture
def pdp() -> Iterator[Pdp]:
    with provider(Account.from_key(KEY).address) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def put(store: ContentStore, data: list[bytes]) -> list[bytes]:
    return [Cid.parse(store.put(one)).binary for one in data]


def roots(car: bytes) -> list[bytes]:
    with io.BytesIO(car) as stream:
        read = read_car(stream)
        assert list(read.blocks)
        return [root.binary for root in read.roots]


def test_the_order_in_which_artefacts_are_named_does_not_matter(store: ContentStore) -> None:
    cids = put(store, DATA)
    (car,) = Bundles(store, cids)
    assert roots(car) == sorted(cids)
    assert [car] == list(Bundles(store, [*reversed(cids), cids[0]]))


def test_what_is_too_much_for_one_piece_is_divided(
    store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cids = put(store, [random.Random(number).randbytes(3_000) for number in range(3)])
    for most, counts in ((2_000, [1, 1, 1]), (6_000, [2, 1]), (9_000, [3])):
        monkeypatch.setattr(bundle, "MOST_BYTES", most)
        cars = [roots(car) for car in Bundles(store, cids)]
        assert [len(one) for one in cars] == counts
        assert [root for one in cars for root in one] == sorted(cids)


def test_what_the_store_lacks_is_left_out_and_said(store: ContentStore, tmp_path: Path) -> None:
    cids = put(store, DATA[:2])
    (lost,) = put(ContentStore(tmp_path / "elsewhere"), DATA[2:3])
    bundles = Bundles(store, [*cids, lost, b"no CID"])
    assert [roots(car) for car in bundles] == [sorted(cids)]
    assert bundles.missing == {lost, b"no CID"}


def test_bytes_that_vectors_name_belong_to_them(store: ContentStore) -> None:
    (named,) = put(store, [b"bytes of a model"])
    assert len(named) == 4 * NAME_ELEMENTS
    cids = put(store, [named, *DATA[:1]])
    (plain,), (whole,) = Bundles(store, cids), Bundles(store, cids, over_bytes=True)
    assert roots(plain) == sorted(cids) and roots(whole) == sorted([*cids, named])


def test_the_smallest_artefact_is_large_enough_for_a_piece() -> None:
    car = car_of([(Cid.of_block(0x55, b"x"), b"x")])
    assert len(car) >= MIN_PIECE_BYTES and roots(car) == [Cid.of_block(0x55, b"x").binary]


def test_a_provider_holds_them_and_says_under_which_numbers(
    pdp: Pdp, store: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state(tmp_path, monkeypatch)
    cloud = OnchainCloud(f"foc+http://{pdp.url}", HASTY, BRIEF)
    cloud.put(DATA[3])
    cars = [car_of([(Cid.of_block(0x55, one), one)]) for one in (b"a" * 200, b"b" * 200)]
    held = cloud.hold(cars)
    assert held.data_set == 11
    assert dict(held.pieces) == {
        number: piece_of(io.BytesIO(car)).cid_v2 for number, car in enumerate(cars, start=1)
    }
    asked = pdp.count("POST")
    assert cloud.hold(reversed(cars)) == held and pdp.count("POST") == asked  # nothing is sent twice
    pdp.data_sets[11].pop()
    with pytest.raises(StoreError, match="does not list it"):
        cloud.hold(cars)


def test_who_cannot_write_can_have_nothing_held(pdp: Pdp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDVM_FOC", raising=False)
    with pytest.raises(ReadOnlyStore, match="FEDVM_FOC"):
        OnchainCloud(f"foc+http://{pdp.url}", HASTY, BRIEF).hold([b"car"])


def test_the_location_that_proves_is_found_among_others(pdp: Pdp, store: ContentStore) -> None:
    cloud = OnchainCloud(f"foc+http://{pdp.url}", HASTY, BRIEF)
    assert proving_store(store) is None and proving_store(cloud) is cloud
    assert proving_store(MirroredStore([("here", store), ("there", cloud)])) is cloud
    assert proving_store(MirroredStore([("here", store)])) is None
