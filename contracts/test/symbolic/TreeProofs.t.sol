// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationTree} from "../../src/libraries/AggregationTree.sol";
import {CommitmentTree, MAX_PEAKS} from "../../src/libraries/CommitmentTree.sol";
import {MerkleSumTree, SumNode, UpdatePlace} from "../../src/libraries/MerkleSumTree.sol";
import {TestBase} from "../base/TestBase.sol";

/// @notice Proofs about the shapes and paths of the trees, by symbolic execution with Halmos (`make prove`).
contract TreeProofs is TestBase {
    function climb(bytes32 node, uint256 position, bytes32[] calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return CommitmentTree.climb(node, position, siblings);
    }

    /// @notice The chunks of a vector of any length are consecutive, hold 1 to 64 elements, and cover it exactly.
    function check_chunksPartitionAVector(uint64 elements, uint32 index) external pure {
        vm.assume(elements > 0 && elements <= 64 * (uint64(1) << 32));
        uint256 chunks = MerkleSumTree.chunkCount(elements);
        uint256 length = MerkleSumTree.chunkLength(elements, index);
        assert((length > 0) == (index < chunks));
        if (index >= chunks) return;
        uint256 end = uint256(index) * 64 + length;
        assert(length <= 64 && end <= elements);
        assert(length == 64 || index == chunks - 1);
        assert(index < chunks - 1 || end == elements);
    }

    /// @notice The tree over the chunks is as low as it can be: 2^(height − 1) < chunks ≤ 2^height.
    /// @dev Vectors of up to 2^20 elements.
    function check_heightIsLeast(uint64 elements) external pure {
        vm.assume(elements > 0 && elements <= 1 << 20);
        uint256 chunks = MerkleSumTree.chunkCount(elements);
        uint256 height = MerkleSumTree.height(elements);
        assert(chunks <= uint256(1) << height);
        assert(height == 0 || chunks > uint256(1) << (height - 1));
    }

    /// @notice The same for the aggregation tree, over up to 2^12 updates.
    function check_aggregationHeightIsLeast(uint32 updates) external pure {
        vm.assume(updates > 0 && updates <= 1 << 12);
        uint256 height = AggregationTree.height(updates);
        assert(updates <= uint256(1) << height);
        assert(height == 0 || updates > uint256(1) << (height - 1));
    }

    /// @notice Every update has exactly one place: under a peak that exists, within its width, and the widths of the
    ///         larger peaks and the position add up to the index. So no two indices share a place.
    /// @dev Rounds of up to 255 updates.
    function check_locateIsAPlace(uint8 count, uint8 index) external pure {
        vm.assume(index < count);
        (uint256 level, uint256 position) = CommitmentTree.locate(count, index);
        assert((uint256(count) >> level) & 1 == 1);
        assert(position < uint256(1) << level);
        uint256 before = (uint256(count) >> (level + 1)) << (level + 1);
        assert(before + position == index);
    }

    /// @notice After any number of appends up to 7, every leaf climbs to its peak.
    function check_everyAppendedLeafClimbs(bytes32[7] calldata leaves, uint8 count) external view {
        vm.assume(count > 0 && count <= 7);
        bytes32[MAX_PEAKS] memory peaks;
        for (uint32 i = 0; i < count; ++i) {
            CommitmentTree.append(peaks, i, leaves[i]);
        }
        uint256 start = 0;
        for (uint256 above = 3; above > 0; --above) {
            uint256 level = above - 1;
            if ((count >> level) & 1 == 0) continue;
            uint256 width = uint256(1) << level;
            for (uint256 position = 0; position < width; ++position) {
                bytes32[] memory siblings = new bytes32[](level);
                for (uint256 k = 0; k < level; ++k) {
                    siblings[k] = _subtree(leaves, start, k, (position >> k) ^ 1);
                }
                assert(this.climb(leaves[start + position], position, siblings) == peaks[level]);
            }
            start += width;
        }
    }

    /// @notice Two different leaves never climb to the same peak from the same position, if the hash has no collisions.
    function check_aPlaceHoldsOneLeaf(bytes32 one, bytes32 other, bytes32[2] calldata beside, uint8 position)
        external
        view
    {
        vm.assume(one != other && position < 4);
        bytes32[] memory siblings = new bytes32[](2);
        (siblings[0], siblings[1]) = (beside[0], beside[1]);
        assert(this.climb(one, position, siblings) != this.climb(other, position, siblings));
    }

    /// @notice A sum tree accepts no path whose sums do not add up to what the root states.
    /// @dev One step above a chunk of one element; 16-bit elements, since the solver squares bit by bit.
    function check_verifiedSumIsTheSum(int16 value, SumNode calldata sibling, SumNode calldata root)
        external
        pure
    {
        UpdatePlace memory place = UpdatePlace(1, address(2), 3, address(4), 65);
        SumNode[] memory siblings = new SumNode[](1);
        siblings[0] = sibling;
        if (!MerkleSumTree.verify(place, 1, abi.encodePacked(int32(value)), siblings, root)) return;
        uint256 square = uint256(int256(value) * int256(value));
        assert(uint256(root.sum) == square + sibling.sum);
    }

    /// @dev Hash of the perfect tree of the given level over leaves start + position · 2^level and on.
    function _subtree(bytes32[7] calldata leaves, uint256 start, uint256 level, uint256 position)
        private
        pure
        returns (bytes32)
    {
        if (level == 0) return leaves[start + position];
        return keccak256(
            abi.encodePacked(
                bytes1(0x0b),
                _subtree(leaves, start, level - 1, 2 * position),
                _subtree(leaves, start, level - 1, 2 * position + 1)
            )
        );
    }
}
