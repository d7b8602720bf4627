import numpy as np
import pytest

from fedvm.protocol import (
    EncodingError,
    RangeError,
    ShapeError,
    VectorSpec,
    dequantize,
    int32_from_bytes,
    int64_from_bytes,
    max_sum_squares,
    quantize_model,
    quantize_update,
    sum_squares,
    to_bytes,
)


def state() -> dict[str, np.ndarray]:
    return {
        "conv.weight": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
        "bn.running_mean": np.array([0.5, -0.5], dtype=np.float32),
        "bn.num_batches_tracked": np.array(7, dtype=np.int64),
        "fc.bias": np.array([9.0], dtype=np.float64),
    }


def test_flatten_keeps_the_states_order_and_leaves_counters_out() -> None:
    spec = VectorSpec.from_arrays(state())
    assert [t.name for t in spec.tensors] == ["conv.weight", "bn.running_mean", "fc.bias"]
    assert spec.elements == 9
    assert spec.flatten(state()).tolist() == [0, 1, 2, 3, 4, 5, 0.5, -0.5, 9]


def test_flatten_is_in_c_order_even_of_a_transposed_array() -> None:
    spec = VectorSpec.from_arrays({"w": np.zeros((2, 3), dtype=np.float32)})
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert spec.flatten({"w": array}).tolist() == [0, 1, 2, 3, 4, 5]


def test_unflatten_restores_shapes_dtypes_order_and_the_bases_counters() -> None:
    spec = VectorSpec.from_arrays(state())
    back = spec.unflatten(spec.flatten(state()) + 1, state())
    assert list(back) == list(state())
    assert back["bn.num_batches_tracked"] == 7
    assert back["conv.weight"].dtype == np.float32
    assert back["conv.weight"].shape == (1, 2, 3)
    assert back["fc.bias"].tolist() == [10.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.bias": np.zeros(2)}, "fc.bias"),
        ({"fc.bias": np.zeros(1, dtype=np.float32)}, "float32"),
        ({"extra": np.zeros(1)}, "extra"),
    ],
)
def test_flatten_names_the_tensor_that_differs(change: dict[str, np.ndarray], message: str) -> None:
    spec = VectorSpec.from_arrays(state())
    with pytest.raises(ShapeError, match=message):
        spec.flatten(state() | change)


def test_flatten_names_a_missing_tensor() -> None:
    spec = VectorSpec.from_arrays(state())
    with pytest.raises(ShapeError, match=r"bn\.running_mean"):
        spec.flatten({k: v for k, v in state().items() if k != "bn.running_mean"})


def test_a_state_without_floats_is_refused() -> None:
    with pytest.raises(EncodingError, match="no floating-point"):
        VectorSpec.from_arrays({"n": np.array([1])})


def test_models_round_to_nearest_even() -> None:
    values = np.array([0.5, 1.5, -0.5, -1.5, 2.25]) / 4
    assert quantize_model(values, 2).tolist() == [0, 2, 0, -2, 2]
    assert dequantize(np.array([3, -2], dtype=np.int32), 2).tolist() == [0.75, -0.5]


def test_models_outside_int32_are_refused_with_the_element_named() -> None:
    with pytest.raises(RangeError, match=r"element 1 of the model is 32768\.0"):
        quantize_model(np.array([0.0, 32768.0]), 16)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(EncodingError, match="element 2"):
        quantize_model(np.array([0.0, 1.0, bad]), 16)
    with pytest.raises(EncodingError, match="element 0"):
        quantize_update(np.array([bad]), 1.0, 16)


def test_updates_round_toward_zero() -> None:
    assert quantize_update(np.array([0.9, -0.9, 1.9, -1.9]) / 4, 100.0, 2).tolist() == [0, 0, 1, -1]


def test_updates_within_the_bound_are_not_scaled() -> None:
    difference = np.array([3.0, 4.0])
    assert quantize_update(difference, 5.0, 8).tolist() == [768, 1024]
    assert quantize_update(difference, 2.5, 8).tolist() == [384, 512]


def test_a_huge_finite_update_is_clipped_not_overflowed() -> None:
    update = quantize_update(np.full(4, 1e300), 2.0, 16)
    assert np.all(np.abs(update - 65536) <= 1)
    assert sum_squares(update) <= max_sum_squares(2.0, 16)


@pytest.mark.parametrize("bound", [0.0, -1.0, np.nan, np.inf])
def test_senseless_bounds_are_refused(bound: float) -> None:
    with pytest.raises(EncodingError, match="positive and finite"):
        max_sum_squares(bound, 16)


def test_the_bound_is_exact() -> None:
    assert max_sum_squares(5.0, 16) == (5 * 2**16) ** 2
    assert max_sum_squares(0.1, 16) == 42949672  # float 0.1 lies above 1/10
    with pytest.raises(EncodingError, match="below one step"):
        max_sum_squares(1e-9, 16)


def test_sum_of_squares_is_exact_beyond_64_bits() -> None:
    assert sum_squares(np.full(1000, -(2**31), dtype=np.int32)) == 1000 * 2**62


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((2, 2), np.int32), np.zeros(0, np.int32)])
def test_only_flat_int32_vectors_are_summed(bad: np.ndarray) -> None:
    with pytest.raises(ShapeError):
        sum_squares(bad)


def test_stored_bytes_are_big_endian() -> None:
    vector = np.array([1, -2], dtype=np.int32)
    assert to_bytes(vector).hex() == "00000001fffffffe"
    assert int32_from_bytes(to_bytes(vector), 2).tolist() == [1, -2]
    wide = np.array([1 << 40, -1], dtype=np.int64)
    assert int64_from_bytes(to_bytes(wide), 2).tolist() == [1 << 40, -1]
    with pytest.raises(ShapeError, match="7 bytes"):
        int32_from_bytes(bytes(7), 2)
