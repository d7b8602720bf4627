// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The integer LeNet of the compiler's benchmark, written by hand the way networks usually are in Solidity
/// @notice What FedVM's program is compared with: one multiplication for each weight and position, on the same
/// integers and to the same bit. It is not part of FedVM. No effort was spared within that approach:
/// - the weights lie in data contracts as one byte each and come into memory by three EXTCODECOPY;
/// - activations are whole words, so that reading one is a single MLOAD;
/// - a convolution keeps the five weights of a kernel row on the stack while it slides them over the plane;
/// - inner loops are assembly, unchecked and unrolled.
contract NaiveLeNet {
    uint256 private constant LAYERS = 5;
    uint256 private constant SIDE = 32;
    uint256 private constant CHANNELS = 3;
    uint256 private constant SCORES = 10;
    uint256 private constant KERNEL = 5;
    /// Bytes of a data contract after its first, which is STOP.
    uint256 private constant PART_BYTES = 24_575;
    /// Bytes of int8 weights of all layers, in order, each [outputs, inputs…] in C order.
    uint256 private constant WEIGHTS = 61_770;
    /// After the weights, for each layer, for each output: bias int32, shift uint8. Last, one byte a layer: high.
    uint256 private constant OUTPUT_BYTES = 5;
    uint256 private constant OUTPUTS = 236;
    uint256 private constant DATA = WEIGHTS + OUTPUT_BYTES * OUTPUTS + LAYERS;

    address private immutable PART_0;
    address private immutable PART_1;
    address private immutable PART_2;

    error WrongInputLength(uint256 expected, uint256 actual);

    /// Where the next layer's numbers lie in memory.
    struct Cursor {
        uint256 weights;
        uint256 outputs;
        uint256 high;
    }

    constructor(address part0, address part1, address part2) {
        PART_0 = part0;
        PART_1 = part1;
        PART_2 = part2;
    }

    /// @notice Scores of the ten classes for a CIFAR-10 image, 3 × 32 × 32 bytes, channel by channel.
    function predict(bytes calldata image) external view returns (int32[] memory scores) {
        unchecked {
            if (image.length != CHANNELS * SIDE * SIDE) {
                revert WrongInputLength(CHANNELS * SIDE * SIDE, image.length);
            }
            uint256 data = _load();
            Cursor memory at = Cursor(data, data + WEIGHTS, data + WEIGHTS + OUTPUT_BYTES * OUTPUTS);
            uint256 x = _unpack(image);
            x = _convolution(at, x, CHANNELS, SIDE, 6);
            x = _convolution(at, x, 6, 14, 16);
            x = _dense(at, x, 400, 120);
            _squash(at, x, 120);
            x = _dense(at, x, 120, 84);
            _squash(at, x, 84);
            x = _dense(at, x, 84, SCORES);
            scores = new int32[](SCORES);
            for (uint256 o = 0; o < SCORES; o++) {
                scores[o] = int32(_word(x + 32 * o));
            }
        }
    }

    /// The data contracts' bytes, one after the other, with a word to spare before and after.
    function _load() private view returns (uint256 data) {
        address part0 = PART_0;
        address part1 = PART_1;
        address part2 = PART_2;
        uint256 rest = DATA - 2 * PART_BYTES;
        data = _allocate(DATA / 32 + 3) + 32;
        assembly ("memory-safe") {
            extcodecopy(part0, data, 1, PART_BYTES)
            extcodecopy(part1, add(data, PART_BYTES), 1, PART_BYTES)
            extcodecopy(part2, add(data, mul(2, PART_BYTES)), 1, rest)
        }
    }

    /// One word for each byte of the image.
    function _unpack(bytes calldata image) private pure returns (uint256 x) {
        x = _allocate(CHANNELS * SIDE * SIDE);
        assembly ("memory-safe") {
            let to := x
            for {
                let from := image.offset
                let end := add(from, image.length)
            } lt(from, end) { from := add(from, 8) } {
                let v := calldataload(from)
                mstore(to, byte(0, v))
                mstore(add(to, 32), byte(1, v))
                mstore(add(to, 64), byte(2, v))
                mstore(add(to, 96), byte(3, v))
                mstore(add(to, 128), byte(4, v))
                mstore(add(to, 160), byte(5, v))
                mstore(add(to, 192), byte(6, v))
                mstore(add(to, 224), byte(7, v))
                to := add(to, 256)
            }
        }
    }

    /// 5 × 5 convolution, 2 × 2 maximum, requantization; words [channels, side, side] to words
    /// [outputs, (side − 4) / 2, (side − 4) / 2].
    function _convolution(Cursor memory at, uint256 x, uint256 channels, uint256 side, uint256 outputs)
        private
        pure
        returns (uint256 y)
    {
        unchecked {
            uint256 convolved = side - KERNEL + 1;
            uint256 plane = (convolved / 2) * (convolved / 2);
            uint256 sums = _allocate(convolved * convolved);
            y = _allocate(outputs * plane);
            for (uint256 o = 0; o < outputs; o++) {
                _fill(sums, convolved * convolved, _bias(at.outputs));
                for (uint256 c = 0; c < channels; c++) {
                    for (uint256 row = 0; row < KERNEL; row++) {
                        _addKernelRow(at.weights, x + 32 * side * (c * side + row), sums, convolved);
                        at.weights += KERNEL;
                    }
                }
                _pool(sums, y + 32 * o * plane, convolved, _shift(at.outputs), _high(at.high));
                at.outputs += OUTPUT_BYTES;
            }
            at.high += 1;
        }
    }

    /// sums[i, j] += Σ_k weight[k] · x[i, j + k] for the five weights of one kernel row.
    function _addKernelRow(uint256 weights, uint256 x, uint256 sums, uint256 convolved) private pure {
        assembly ("memory-safe") {
            let w := mload(weights)
            let w0 := signextend(0, byte(0, w))
            let w1 := signextend(0, byte(1, w))
            let w2 := signextend(0, byte(2, w))
            let w3 := signextend(0, byte(3, w))
            w := signextend(0, byte(4, w))
            for { let end := add(sums, shl(5, mul(convolved, convolved))) } lt(sums, end) {} {
                for { let rowEnd := add(sums, shl(5, convolved)) } lt(sums, rowEnd) {} {
                    // two positions a turn: the sides are even
                    let x1 := mload(add(x, 32))
                    let x2 := mload(add(x, 64))
                    let x3 := mload(add(x, 96))
                    let x4 := mload(add(x, 128))
                    mstore(
                        sums,
                        add(
                            mload(sums),
                            add(
                                mul(w0, mload(x)),
                                add(mul(w1, x1), add(mul(w2, x2), add(mul(w3, x3), mul(w, x4))))
                            )
                        )
                    )
                    x4 := add(mul(w2, x3), mul(w3, x4))
                    x3 := add(mul(w0, x1), mul(w1, x2))
                    sums := add(sums, 32)
                    mstore(sums, add(mload(sums), add(add(x3, x4), mul(w, mload(add(x, 160))))))
                    sums := add(sums, 32)
                    x := add(x, 64)
                }
                x := add(x, 128)
            }
        }
    }

    /// y = clip(max(sums under 2 × 2) >> shift, 0, high).
    function _pool(uint256 sums, uint256 y, uint256 convolved, uint256 shift, uint256 high) private pure {
        assembly ("memory-safe") {
            let row := shl(5, convolved)
            for { let end := add(sums, mul(row, convolved)) } lt(sums, end) { sums := add(sums, row) } {
                for { let rowEnd := add(sums, row) } lt(sums, rowEnd) { sums := add(sums, 64) } {
                    let best := mload(sums)
                    let other := mload(add(sums, 32))
                    if slt(best, other) { best := other }
                    other := mload(add(sums, row))
                    if slt(best, other) { best := other }
                    other := mload(add(add(sums, row), 32))
                    if slt(best, other) { best := other }
                    // memory is zero already where the result is
                    if sgt(best, 0) {
                        best := shr(shift, best)
                        if gt(best, high) { best := high }
                        mstore(y, best)
                    }
                    y := add(y, 32)
                }
            }
        }
    }

    /// Sums of a dense layer. `inputs` is a multiple of four.
    function _dense(Cursor memory at, uint256 x, uint256 inputs, uint256 outputs)
        private
        pure
        returns (uint256 y)
    {
        y = _allocate(outputs);
        uint256 weights = at.weights;
        uint256 biases = at.outputs;
        assembly ("memory-safe") {
            // an MLOAD 31 bytes before a weight has it in the lowest byte
            let w := sub(weights, 31)
            for { let o := 0 } lt(o, outputs) { o := add(o, 1) } {
                let sum := signextend(3, shr(224, mload(add(biases, mul(OUTPUT_BYTES, o)))))
                for {
                    let from := x
                    let end := add(x, shl(5, inputs))
                } lt(from, end) { from := add(from, 128) } {
                    sum := add(sum, mul(signextend(0, mload(w)), mload(from)))
                    sum := add(sum, mul(signextend(0, mload(add(w, 1))), mload(add(from, 32))))
                    sum := add(sum, mul(signextend(0, mload(add(w, 2))), mload(add(from, 64))))
                    sum := add(sum, mul(signextend(0, mload(add(w, 3))), mload(add(from, 96))))
                    w := add(w, 4)
                }
                mstore(add(y, shl(5, o)), sum)
            }
        }
        unchecked {
            at.weights = weights + inputs * outputs;
        }
    }

    /// In place: x = clip(x >> shift, 0, high).
    function _squash(Cursor memory at, uint256 x, uint256 count) private pure {
        unchecked {
            int256 high = int256(_high(at.high));
            for (uint256 o = 0; o < count; o++) {
                int256 value = _word(x + 32 * o) >> _shift(at.outputs);
                if (value < 0) value = 0;
                if (value > high) value = high;
                _fill(x + 32 * o, 1, value);
                at.outputs += OUTPUT_BYTES;
            }
            at.high += 1;
        }
    }

    /// Zeroed memory for `words` words, which Solidity's own arrays leave out of its way.
    function _allocate(uint256 words) private pure returns (uint256 start) {
        assembly ("memory-safe") {
            start := mload(0x40)
            mstore(0x40, add(start, shl(5, words)))
        }
    }

    function _fill(uint256 start, uint256 words, int256 value) private pure {
        assembly ("memory-safe") {
            for { let end := add(start, shl(5, words)) } lt(start, end) { start := add(start, 32) } {
                mstore(start, value)
            }
        }
    }

    function _word(uint256 pointer) private pure returns (int256 value) {
        assembly ("memory-safe") {
            value := mload(pointer)
        }
    }

    function _bias(uint256 pointer) private pure returns (int256 value) {
        assembly ("memory-safe") {
            value := signextend(3, shr(224, mload(pointer)))
        }
    }

    function _shift(uint256 pointer) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := byte(4, mload(pointer))
        }
    }

    function _high(uint256 pointer) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := byte(0, mload(pointer))
        }
    }
}
