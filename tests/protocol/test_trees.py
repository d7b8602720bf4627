from dataclasses import replace

import numpy as np
import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedvm.protocol import (
    AGGREGATE,
    MODEL,
    EncodingError,
    Opening,
    Place,
    ProofError,
    RangeError,
    ShapeError,
    Sibling,
    aggregate_tree,
    model_root,
    model_tree,
    open_plain,
    open_update,
    sum_squares,
    update_tree,
    verify_plain,
    verify_update,
)

FEDERATION, MEMBER = "0x" + "fe" * 20, "0x" + "0a" * 20
INT32 = st.integers(-(2**31), 2**31 - 1)
updates = st.integers(1, 700).flatmap(lambda n: arrays(np.int32, n, elements=INT32))


PLACE = Place(1, FEDERATION, 1, MEMBER)


def sample(elements: int) -> np.ndarray:
    return np.random.default_rng(elements).integers(-(2**31), 2**31, elements).astype(np.int32)


@given(updates)
def test_the_root_sums_all_squares(update: np.ndarray) -> None:
    tree = update_tree(update, PLACE)
    assert tree.sum_squares == sum_squares(update) == sum(int(d) ** 2 for d in update)


@given(updates, st.data())
def test_every_opening_verifies_and_no_changed_element_does(update: np.ndarray, data: st.DataObject) -> None:
    tree = update_tree(update, PLACE)
    index = data.draw(st.integers(0, (update.size - 1) // 64))
    opening = open_update(tree, index)
    verify_update(opening, tree.root, tree.sum_squares, PLACE, update.size)
    at = data.draw(st.integers(0, len(opening.payload) - 1))
    flipped = bytearray(opening.payload)
    flipped[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofError, match="does not lead"):
        verify_update(
            Opening(index, bytes(flipped), opening.siblings), tree.root, tree.sum_squares, PLACE, update.size
        )


@given(updates, st.integers(0, 10_000), st.integers(1, 2**32 - 1))
def test_any_changed_element_changes_every_root(update: np.ndarray, at: int, change: int) -> None:
    other = update.copy()
    other.view(np.uint32)[at % update.size] ^= np.uint32(change)
    assert update_tree(other, PLACE).root != update_tree(update, PLACE).root
    assert model_root(other) != model_root(update)


@pytest.mark.parametrize(
    "change", [{"chain_id": 2}, {"federation": "0x" + "fd" * 20}, {"round": 2}, {"member": "0x" + "0b" * 20}]
)
@pytest.mark.parametrize("elements", [1, 64, 65, 300])
def test_an_opening_holds_in_its_own_place_only(elements: int, change: dict[str, object]) -> None:
    tree = update_tree(sample(elements), PLACE)
    with pytest.raises(ProofError, match="does not lead"):
        verify_update(open_update(tree, 0), tree.root, tree.sum_squares, replace(PLACE, **change), elements)


def test_an_opening_holds_for_a_vector_of_its_own_length_only() -> None:
    tree = update_tree(sample(64), PLACE)
    with pytest.raises(ProofError):
        verify_update(open_update(tree, 0), tree.root, tree.sum_squares, PLACE, 63)
    with pytest.raises(ProofError):
        verify_update(open_update(tree, 0), tree.root, tree.sum_squares, PLACE, 65)


def test_a_cut_update_has_another_context_even_where_its_chunks_agree() -> None:
    whole, cut = sample(128), sample(128)[:64]
    tree = update_tree(cut, PLACE)
    assert tree.hashes[0][0] != update_tree(whole, PLACE).hashes[0][0]


@pytest.mark.parametrize("elements", [1, 63, 64, 65, 128, 129, 513, 1000])
def test_models_and_aggregates_open_at_every_chunk(elements: int) -> None:
    for kind, tree in (
        (MODEL, model_tree(sample(elements))),
        (AGGREGATE, aggregate_tree(sample(elements).astype(np.int64) << 20)),
    ):
        for index in range(-(-elements // 64)):
            opening = open_plain(tree, index)
            verify_plain(opening, kind, tree.root, elements)
            with pytest.raises(ProofError):
                verify_plain(opening, kind, tree.root, elements + 1)


def test_an_update_does_not_open_as_a_model() -> None:
    model = model_tree(sample(300))
    aggregate = aggregate_tree(sample(300).astype(np.int64))
    with pytest.raises(ProofError):
        verify_plain(open_plain(model, 0), AGGREGATE, model.root, 300)
    with pytest.raises(ProofError):
        verify_plain(open_plain(aggregate, 0), MODEL, aggregate.root, 300)


def test_lies_in_an_opening_are_named() -> None:
    update = sample(300)
    tree = update_tree(update, PLACE)
    good = open_update(tree, 1)

    def check(message: str, opening: Opening, total: int = tree.sum_squares) -> None:
        with pytest.raises(ProofError, match=message):
            verify_update(opening, tree.root, total, PLACE, 300)

    check("lies outside", Opening(5, good.payload, good.siblings))
    check("holds 252 bytes, expected 256", Opening(1, good.payload[:-4], good.siblings))
    check("has 2 siblings, a tree of this size needs 3", Opening(1, good.payload, good.siblings[:-1]))
    check(
        "states a sum outside uint128", Opening(1, good.payload, (Sibling(bytes(32), -1), *good.siblings[1:]))
    )
    check("overflow uint128", Opening(1, good.payload, (Sibling(bytes(32), 2**128 - 1), *good.siblings[1:])))
    check("does not hold 32 bytes", Opening(1, good.payload, (Sibling(b""), *good.siblings[1:])))
    check("does not lead", Opening(0, good.payload, good.siblings))
    check("the update states 7", good, total=7)
    moved = Sibling(good.siblings[0].hash, good.siblings[0].sum_squares + 1)
    check("does not lead", Opening(1, good.payload, (moved, *good.siblings[1:])))


def test_the_padding_cannot_be_opened() -> None:
    with pytest.raises(RangeError, match="no chunk 5; the vector has 5"):
        open_update(update_tree(sample(300), PLACE), 5)
    with pytest.raises(RangeError, match="no chunk -1"):
        open_plain(model_tree(sample(300)), -1)


def test_wrong_vectors_and_places_are_refused() -> None:
    with pytest.raises(EncodingError, match="federation"):
        update_tree(sample(3), replace(PLACE, federation="0x12"))
    with pytest.raises(ShapeError, match="int32"):
        update_tree(sample(3).astype(np.int64), PLACE)
    with pytest.raises(ShapeError, match="int64"):
        aggregate_tree(sample(3))
    with pytest.raises(ShapeError, match="empty"):
        model_root(np.zeros(0, dtype=np.int32))
    with pytest.raises(EncodingError, match="federation is 'FedVM'"):
        update_tree(sample(3), replace(PLACE, federation="FedVM"))
    for spelling in ("fe" * 20, "0X" + "fe" * 20, "0x" + "fe" * 19, "0x" + "fg" * 20):
        with pytest.raises(EncodingError, match="hex digits"):
            update_tree(sample(3), replace(PLACE, federation=spelling))
    with pytest.raises(EncodingError, match="wrong checksum"):
        update_tree(sample(3), replace(PLACE, federation="0x" + "Fe" * 20))
    for spelling in ("0x" + "FE" * 20, to_checksum_address(FEDERATION)):
        assert (
            update_tree(sample(3), replace(PLACE, federation=spelling)).root
            == update_tree(sample(3), PLACE).root
        )
    with pytest.raises(RangeError, match="round is -1"):
        update_tree(sample(3), replace(PLACE, round=-1))
    with pytest.raises(EncodingError, match=r"round must be an integer, not float"):
        update_tree(sample(3), replace(PLACE, round=1.0))


def test_the_byte_order_of_the_array_does_not_matter() -> None:
    swapped = sample(100).astype(">i4")
    with pytest.raises(ShapeError):
        model_root(swapped)  # refused rather than hashed in doubt
    strided = np.repeat(sample(100), 2)[::2]
    assert model_root(strided) == model_root(sample(100))
