// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {VectorTree} from "./VectorTree.sol";

/// @title Arithmetic of the weighted mean, one chunk at a time
/// @notice Every function returns whether what is stated follows. Chunks are packed and of equal numbers of elements.
library MeanLib {
    /// @notice model = base + floor(S / W): with q = model − base that is 0 ≤ S − q·W < W for every element.
    /// @param base int32 chunk of the base.
    /// @param sums int64 chunk of S.
    /// @param model int32 chunk of the new model.
    /// @param totalWeight W, at least 1.
    /// @return True when it holds for every element.
    function follows(bytes calldata base, bytes calldata sums, bytes calldata model, uint64 totalWeight)
        internal
        pure
        returns (bool)
    {
        int256 weight = int256(uint256(totalWeight));
        for (uint256 i = 0; i < base.length / 4; ++i) {
            // 33 bits by 64, and 64 more: far from 256.
            unchecked {
                int256 quotient = VectorTree.int32At(model, i) - VectorTree.int32At(base, i);
                int256 rest = VectorTree.int64At(sums, i) - quotient * weight;
                if (rest < 0 || rest >= weight) return false;
            }
        }
        return true;
    }

    /// @notice sums = left + right, where a right child that is absent counts as zeros.
    /// @param sums int64 chunk of the node.
    /// @param left int64 chunk of the left child.
    /// @param hasRight Whether there is a right child.
    /// @param right int64 chunk of the right child.
    /// @return True when it holds for every element.
    function adds(bytes calldata sums, bytes calldata left, bool hasRight, bytes calldata right)
        internal
        pure
        returns (bool)
    {
        for (uint256 i = 0; i < sums.length / 8; ++i) {
            int256 expected = VectorTree.int64At(left, i);
            // Two int64 do not fill 256 bits.
            unchecked {
                if (hasRight) expected += VectorTree.int64At(right, i);
            }
            if (VectorTree.int64At(sums, i) != expected) return false;
        }
        return true;
    }

    /// @notice sums = weight · update.
    /// @param sums int64 chunk of the leaf.
    /// @param update int32 chunk of the update.
    /// @param weight Weight of the update.
    /// @return True when it holds for every element.
    function multiplies(bytes calldata sums, bytes calldata update, uint32 weight)
        internal
        pure
        returns (bool)
    {
        int256 factor = int256(uint256(weight));
        for (uint256 i = 0; i < sums.length / 8; ++i) {
            // 32 bits by 32.
            unchecked {
                if (VectorTree.int64At(sums, i) != factor * VectorTree.int32At(update, i)) return false;
            }
        }
        return true;
    }
}
