// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleSumTree, SumNode} from "../src/libraries/MerkleSumTree.sol";
import {FRONTIER_LEVELS, SumFrontier} from "../src/libraries/SumFrontier.sol";
import {SumTree} from "./base/SumTree.sol";
import {TestBase} from "./base/TestBase.sol";

/// @notice A tree built chunk by chunk is the tree that was built at once.
contract SumFrontierTest is TestBase {
    bytes32 private constant CONTEXT = keccak256("context");

    function test_sameRootForEveryNumberOfChunks() public pure {
        for (uint256 chunkCount = 1; chunkCount <= 18; ++chunkCount) {
            int256[] memory values = new int256[](64 * (chunkCount - 1) + 1 + chunkCount % 64);
            for (uint256 i = 0; i < values.length; ++i) {
                values[i] = int256(i * i % 199) - 99;
            }
            SumNode[FRONTIER_LEVELS] memory nodes;
            uint32 count = 0;
            for (uint256 from = 0; from < values.length; from += 64) {
                bytes memory chunk;
                for (uint256 i = from; i < from + 64 && i < values.length; ++i) {
                    chunk = abi.encodePacked(chunk, int32(values[i]));
                }
                uint128 sum = MerkleSumTree.sumOfSquares(chunk);
                SumNode memory leaf = SumNode(MerkleSumTree.leafHash(CONTEXT, count, sum, chunk), sum);
                SumFrontier.append(nodes, count, leaf);
                count += 1;
            }
            SumNode memory expected = SumTree.rootOf(SumTree.build(CONTEXT, values));
            SumNode memory found = SumFrontier.root(nodes, count);
            vm.assertEq(found.hash, expected.hash);
            vm.assertEq(uint256(found.sum), expected.sum);
        }
    }
}
