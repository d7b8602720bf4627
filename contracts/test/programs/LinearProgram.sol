// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProgram} from "../../src/interfaces/IProgram.sol";

/// @notice Answers `IProgram`'s calls, in code of the opcodes that programs may have: without a dispatcher, which checks
///         that no money was sent.
abstract contract PureProgram {
    error WrongInputLength(uint256 length, uint256 expected);

    bytes4 internal constant PREDICT = IProgram.predict.selector;

    /// @dev Solidity's dispatcher for a fallback that takes money is none.
    fallback() external payable {
        _answer();
    }

    function _answer() internal view virtual;
}

/// @notice A network small enough to check by hand: two scores of four bytes, s₀ = Σ xᵢ − bias, s₁ = −s₀.
contract LinearProgram is PureProgram {
    int256 private immutable _bias;

    constructor(int32 bias_) {
        _bias = bias_;
    }

    function _answer() internal view override {
        int256 bias = _bias;
        bytes4 predict = PREDICT;
        bytes4 wrong = WrongInputLength.selector;
        assembly {
            // Selector, offset, length, bytes.
            let length := calldataload(0x24)
            if sub(length, 4) {
                mstore(0, wrong)
                mstore(4, length)
                mstore(0x24, 4)
                revert(0, 0x44)
            }
            let word := calldataload(0x44)
            let sum := sub(add(add(byte(0, word), byte(1, word)), add(byte(2, word), byte(3, word))), bias)
            if eq(shr(224, calldataload(0)), shr(224, predict)) {
                mstore(0x00, 0x20)
                mstore(0x20, 2)
                mstore(0x40, sum)
                mstore(0x60, sub(0, sum))
                return(0, 0x80)
            }
            mstore(0, slt(sum, 0))
            return(0, 0x20)
        }
    }
}

/// @notice For inputs of any length: its score is the length.
contract LengthProgram is PureProgram {
    function _answer() internal pure override {
        assembly {
            mstore(0x00, 0x20)
            mstore(0x20, 1)
            mstore(0x40, calldataload(0x24))
            return(0, 0x60)
        }
    }
}

/// @notice As many scores as the last two bytes of a state, or the first two of an input, say: score i is i.
contract WideProgram is PureProgram {
    function _answer() internal pure override {
        assembly {
            let count := shr(240, calldataload(sub(calldatasize(), 2)))
            // Of predict's calldata, whose input begins behind 68 bytes.
            if gt(calldatasize(), 68) { count := shr(240, calldataload(68)) }
            mstore(0, 32)
            mstore(32, count)
            for { let i := 0 } lt(i, count) { i := add(i, 1) } { mstore(add(64, mul(32, i)), i) }
            return(0, add(64, mul(32, count)))
        }
    }
}

/// @dev Ways in which `FickleProgram` answers.
uint256 constant FICKLE_KINDS = 14;

/// @notice Misbehaves as its input says: 0 answers with two scores of which the first is the greatest, and 1 with two
///         equal ones. Then what is no answer: 2 one score too few, 3 one too many, 4 with an offset of 64, 5 a count that
///         its bytes do not hold, 6 a score that is no int32, 7 a byte too few, 8 a byte too many, 9 nothing, 10 32 KiB,
///         11 never ends, 12 reverts with 32 KiB, anything else reverts with nothing.
contract FickleProgram is PureProgram {
    function _answer() internal pure override {
        assembly {
            let kind := byte(0, calldataload(0x44))
            mstore(0x00, 0x20)
            mstore(0x20, 2)
            mstore(0x40, 3)
            mstore(0x60, sub(0, 3))
            if eq(kind, 1) { mstore(0x60, 3) }
            if eq(kind, 2) {
                mstore(0x20, 1)
                return(0, 0x60)
            }
            if eq(kind, 3) {
                mstore(0x20, 3)
                return(0, 0xa0)
            }
            if eq(kind, 4) { mstore(0x00, 0x40) }
            if eq(kind, 5) { mstore(0x20, 3) }
            if eq(kind, 6) { mstore(0x40, shl(31, 1)) }
            if eq(kind, 7) { return(0, 0x7f) }
            if eq(kind, 8) { return(0, 0x81) }
            if eq(kind, 9) { return(0, 0) }
            if eq(kind, 10) { return(0, 0x8000) }
            if eq(kind, 11) { for {} 1 {} {} }
            if eq(kind, 12) { revert(0, 0x8000) }
            if gt(kind, 12) { revert(0, 0) }
            return(0, 0x80)
        }
    }
}
