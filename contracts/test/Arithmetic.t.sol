// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationTree} from "../src/libraries/AggregationTree.sol";
import {CommitmentTree} from "../src/libraries/CommitmentTree.sol";
import {TestBase} from "./base/TestBase.sol";
import {MeanCaller} from "./harness/MeanCaller.sol";

/// @notice The libraries' functions over calldata.
contract ArithmeticCaller is MeanCaller {
    function isLeaf(bytes calldata preimage) external pure returns (bool) {
        return AggregationTree.isLeaf(preimage);
    }

    function isNode(bytes calldata preimage) external pure returns (bool) {
        return AggregationTree.isNode(preimage);
    }
}

/// @notice What follows in a round's arithmetic, at every element of a chunk, and the places of its trees.
contract ArithmeticTest is TestBase {
    uint256 private constant ELEMENTS = 64;
    uint32 private constant WEIGHT = 300;

    ArithmeticCaller private caller = new ArithmeticCaller();

    function test_everyProductCounts() public view {
        bytes memory update = packed(4, 1);
        bytes memory sums = packed(8, int256(uint256(WEIGHT)));
        vm.assertTrue(caller.multiplies(sums, update, WEIGHT));
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            sums[8 * i + 7] ^= 0x01;
            vm.assertFalse(caller.multiplies(sums, update, WEIGHT));
            sums[8 * i + 7] ^= 0x01;
        }
    }

    function test_everySumCounts() public view {
        bytes memory sums = packed(8, 7);
        vm.assertTrue(caller.adds(sums, packed(8, 3), true, packed(8, 4)));
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            sums[8 * i + 7] ^= 0x01;
            vm.assertFalse(caller.adds(sums, packed(8, 3), true, packed(8, 4)));
            sums[8 * i + 7] ^= 0x01;
        }
    }

    function test_everyMeanCounts() public view {
        bytes memory model = packed(4, 5);
        // The model moved by 3 · value.
        bytes memory sums = packed(8, 3 * int256(uint256(WEIGHT)));
        vm.assertTrue(caller.follows(packed(4, 2), sums, model, WEIGHT));
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            model[4 * i + 3] ^= 0x01;
            vm.assertFalse(caller.follows(packed(4, 2), sums, model, WEIGHT));
            model[4 * i + 3] ^= 0x01;
        }
    }

    function test_knowsLeavesAndNodesOfTheAggregationTree() public view {
        for (uint256 size = 0; size <= 120; ++size) {
            for (uint8 kind = 7; kind <= 10; ++kind) {
                bytes memory preimage = new bytes(size);
                if (size > 0) preimage[0] = bytes1(kind);
                vm.assertTrue(caller.isLeaf(preimage) == (size == 73 && kind == 8));
                vm.assertTrue(caller.isNode(preimage) == (size == 105 && kind == 9));
            }
        }
    }

    /// @dev Peaks from the largest down, each over as many updates as its bit is worth.
    function test_everyUpdateLiesUnderItsPeak() public pure {
        for (uint32 count = 1; count <= 70; ++count) {
            uint32 index = 0;
            for (uint256 height = 7; height > 0; --height) {
                uint256 width = uint256(1) << (height - 1);
                if (count & width == 0) continue;
                for (uint256 place = 0; place < width; ++place) {
                    (uint256 level, uint256 position) = CommitmentTree.locate(count, index++);
                    vm.assertEq(level, height - 1);
                    vm.assertEq(position, place);
                }
            }
            vm.assertEq(index, count);
        }
    }

    /// @return data Elements of −20 … 20, each times a factor, big-endian.
    function packed(uint256 width, int256 factor) private pure returns (bytes memory data) {
        data = new bytes(width * ELEMENTS);
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            uint256 word = uint256((int256((i * 7) % 41) - 20) * factor);
            for (uint256 j = 0; j < width; ++j) {
                data[width * i + j] = bytes1(uint8(word >> (8 * (width - 1 - j))));
            }
        }
    }
}
