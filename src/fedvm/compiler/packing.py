"""How weights of dense layers fill words of data contracts (`kernels/packed.py`), where little code is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from fedvm.compiler.graph import IntegerLayer
from fedvm.compiler.tiling import WORD_BITS
from fedvm.compiler.view import WORD_BYTES

DATA_BYTES = 24_575
"""Bytes of data in a contract: the code limit less the STOP before them."""
BLOCK = 13
"""Activations of a packed layer on the stack: with a pointer, the mask and the accumulator, DUP16 reaches the
pointer."""
PACKED_CODE, PACKED_PRODUCT = 1000, 13
"""Code bytes of the loop that computes a packed layer, about: beside its products, and of each of them."""
TURN, RESUMED, PRODUCT, UNPACKED = 60, 12, 38, 14
"""Gas of a turn of that loop, of a sum of outputs that goes on in it, of a product, and of one without it, about."""
GAS_A_BYTE = 20
"""Gas of a prediction that is worth a byte of code, where little code is wanted: a byte costs that of ten."""


@dataclass(frozen=True)
class Packing:
    """How the weights of a dense layer fill data words. block: activations at a time; blocks: how many of these; slots:
    weights in a lane of a data word; words: data words of a block; cost: bytes of the data and of the code of a block,
    and what its gas is worth in bytes."""

    block: int
    blocks: int
    slots: int
    words: int
    cost: float


def packing(activations: int, outputs: int, slots: int) -> Packing:
    """The cheapest packing for so many activations and words of outputs. slots: weights in a lane, at most."""
    found = []
    for block in range(BLOCK, 0, -1):
        blocks, fields = -(-activations // block), block * outputs
        side_by_side = max(1, min(slots, fields))
        words = -(-fields // side_by_side)
        cost = blocks * words * WORD_BYTES + PACKED_PRODUCT * fields
        gas = blocks * (TURN + RESUMED * outputs + PRODUCT * fields)
        if words * WORD_BYTES <= DATA_BYTES or block == 1:
            found.append(Packing(block, blocks, side_by_side, words, cost + gas / GAS_A_BYTE))
    return min(found, key=lambda p: p.cost)


def packed_lanes(layer: IntegerLayer, need: int, immediate: int) -> tuple[int, bool]:
    """(lane bits, whether to pack) for a dense layer of which little code is wanted. need: lane bits at least;
    immediate: bytes of code that a word of weights takes otherwise."""
    low = min(0, *(int(t.weight.min()) for t in layer.terms))
    high = max(0, *(int(t.weight.max()) for t in layer.terms))
    field, outputs = max(1, (high - low).bit_length()), layer.shape[0]
    activations = sum(t.weight.shape[1] for t in layer.terms)

    def packed(bits: int) -> float:
        return packing(activations, -(-outputs // (WORD_BITS // bits)), bits // field).cost

    bits = min(range(need, max(need, 32) + 1), key=lambda b: (packed(b), b))
    unpacked = activations * -(-outputs // (WORD_BITS // need)) * (immediate + UNPACKED / GAS_A_BYTE)
    return (bits, True) if packed(bits) + PACKED_CODE < unpacked else (need, False)
