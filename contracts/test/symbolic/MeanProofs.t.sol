// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "../base/TestBase.sol";
import {MeanCaller} from "../harness/MeanCaller.sol";

/// @notice Proofs over all inputs of the stated widths, by symbolic execution with Halmos (`make prove`).
/// @dev A chunk of one element stands for all: the loops treat every element alike and stop at the first that fails;
///      `check_addsLooksAtEveryElement` proves that for a chunk of two.
contract MeanProofs is TestBase, MeanCaller {
    /// @notice With S = q·W + r and 0 ≤ r < W, which is what q = floor(S / W) means, a model element passes exactly if
    ///         it is base + q.
    /// @dev Every base, model, quotient and rest; weights that are powers of two, since the solver multiplies by others
    ///      bit by bit. `tests/contracts/test_mean_lemma.py` proves the inequality for all weights, over the integers.
    function check_followsIsFloor(int32 base, int32 model, int32 quotient, uint32 rest, uint8 shift)
        external
        view
    {
        vm.assume(shift < 32);
        for (uint256 k = 0; k < 32; k += 8) {
            if (shift != k) continue;
            uint64 weight = uint64(1) << uint64(k);
            vm.assume(rest < weight);
            int256 sum = int256(quotient) * int256(uint256(weight)) + int256(uint256(rest));
            bool stated = this.follows(
                abi.encodePacked(base), abi.encodePacked(int64(sum)), abi.encodePacked(model), weight
            );
            assert(stated == (int256(model) - int256(base) == quotient));
        }
    }

    /// @notice A sum passes exactly if it is the sum of the children's, without wrapping, an absent right one being 0.
    function check_addsIsExact(int64 sum, int64 left, bool hasRight, int64 right) external view {
        int256 expected = int256(left) + (hasRight ? int256(right) : int256(0));
        assert(
            this.adds(abi.encodePacked(sum), abi.encodePacked(left), hasRight, abi.encodePacked(right))
                == (int256(sum) == expected)
        );
    }

    /// @notice One wrong element anywhere in a chunk of two is seen.
    function check_addsLooksAtEveryElement(
        int64[2] calldata sum,
        int64[2] calldata left,
        int64[2] calldata right
    ) external view {
        bool expected = int256(sum[0]) == int256(left[0]) + int256(right[0])
            && int256(sum[1]) == int256(left[1]) + int256(right[1]);
        assert(
            this.adds(
                abi.encodePacked(sum[0], sum[1]),
                abi.encodePacked(left[0], left[1]),
                true,
                abi.encodePacked(right[0], right[1])
            ) == expected
        );
    }

    /// @notice A product passes exactly if it is weight · update, without wrapping.
    /// @dev The weight has its whole width of 32 bits, so has the update.
    function check_multipliesIsExact(int64 sum, int32 update, uint32 weight) external view {
        int256 expected = int256(uint256(weight)) * int256(update);
        assert(
            this.multiplies(abi.encodePacked(sum), abi.encodePacked(update), weight)
                == (int256(sum) == expected)
        );
    }
}
