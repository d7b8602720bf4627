// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleSumTree, SumNode, UpdatePlace} from "../src/libraries/MerkleSumTree.sol";
import {SumTree} from "./base/SumTree.sol";
import {TestBase} from "./base/TestBase.sol";

/// @notice The library's internal functions, callable from outside so that reverts can be expected.
contract MerkleSumTreeCaller {
    function sumOfSquares(bytes memory values) external pure returns (uint128) {
        return MerkleSumTree.sumOfSquares(values);
    }

    function leafHash(bytes32 context, uint32 index, uint128 sum, bytes memory values)
        external
        pure
        returns (bytes32)
    {
        return MerkleSumTree.leafHash(context, index, sum, values);
    }
}

/// @notice Proofs that a chunk of an update is what its root commits to, and that nothing else is.
contract MerkleSumTreeTest is TestBase {
    bytes32 private constant CONTEXT = keccak256("context");

    MerkleSumTreeCaller private caller = new MerkleSumTreeCaller();

    function test_shapeFollowsFromTheCount() public pure {
        uint64[6] memory elements = [uint64(1), 64, 65, 128, 129, 61_706];
        uint8[6] memory heights = [0, 0, 1, 1, 2, 10];
        uint16[6] memory chunks = [1, 1, 2, 2, 3, 965];
        uint8[6] memory lasts = [1, 64, 1, 64, 1, 10];
        for (uint256 i = 0; i < elements.length; ++i) {
            vm.assertEq(MerkleSumTree.height(elements[i]), uint256(heights[i]));
            vm.assertEq(MerkleSumTree.chunkCount(elements[i]), uint256(chunks[i]));
            vm.assertEq(MerkleSumTree.chunkLength(elements[i], uint32(chunks[i] - 1)), uint256(lasts[i]));
            vm.assertEq(MerkleSumTree.chunkLength(elements[i], uint32(chunks[i])), 0);
        }
        vm.assertEq(MerkleSumTree.height(64 * (uint64(1) << 32)), 32);
    }

    function test_sumsSquaresWithTheirSigns() public view {
        vm.assertEq(uint256(caller.sumOfSquares("")), 0);
        vm.assertEq(uint256(caller.sumOfSquares(hex"00000003fffffffc")), 9 + 16);
        vm.assertEq(uint256(caller.sumOfSquares(hex"80000000")), uint256(1) << 62);
        vm.assertEq(uint256(caller.sumOfSquares(hex"7fffffff")), (uint256(1) << 31) ** 2 - (1 << 32) + 1);
    }

    function test_refusesRaggedChunks() public {
        bytes memory ragged = abi.encodeWithSelector(MerkleSumTree.RaggedChunk.selector, 5);
        vm.expectRevert(ragged);
        caller.sumOfSquares(hex"0000000300");
        vm.expectRevert(ragged);
        caller.leafHash(CONTEXT, 0, 0, hex"0000000300");
    }

    function testFuzz_provesEveryChunk(uint256 seed, uint16 size) public pure {
        int256[] memory values = randomValues(seed, bound(size, 1, 320));
        SumNode[][] memory levels = SumTree.build(contextOf(values), values);
        for (uint32 i = 0; i < MerkleSumTree.chunkCount(uint64(values.length)); ++i) {
            vm.assertTrue(proves(levels, values, i));
        }
        uint256 sum = 0;
        for (uint256 i = 0; i < values.length; ++i) {
            sum += uint256(values[i] * values[i]);
        }
        vm.assertEq(uint256(SumTree.rootOf(levels).sum), sum);
    }

    /// @dev Whatever is changed in a proof, it no longer holds.
    function testFuzz_refusesChangedProofs(uint256 seed, uint16 size, uint256 lie, uint64 change)
        public
        pure
    {
        int256[] memory values = randomValues(seed, bound(size, 65, 320));
        UpdatePlace memory place = placeOf(values);
        SumNode[][] memory levels = SumTree.build(contextOf(values), values);
        uint32 index = uint32(bound(seed >> 128, 0, MerkleSumTree.chunkCount(place.elements) - 1));
        bytes memory chunk = SumTree.chunkOf(values, index);
        SumNode[] memory siblings = SumTree.path(levels, index);
        SumNode memory root = SumTree.rootOf(levels);
        vm.assume(change != 0);

        lie = bound(lie, 0, 12);
        if (lie == 0) place.chainId ^= change;
        else if (lie == 1) place.federation = address(uint160(place.federation) ^ change);
        else if (lie == 2) place.round ^= change;
        else if (lie == 3) place.member = address(uint160(place.member) ^ change);
        else if (lie == 4) place.elements ^= change;
        else if (lie == 5) index ^= uint32(change) | 1;
        else if (lie == 6) chunk[change % chunk.length] ^= bytes1(uint8(change) | 1);
        else if (lie == 7) siblings[change % siblings.length].hash ^= bytes32(uint256(change));
        else if (lie == 8) siblings[change % siblings.length].sum ^= change;
        else if (lie == 9) root.hash ^= bytes32(uint256(change));
        else if (lie == 10) root.sum ^= change;
        else if (lie == 11) siblings = new SumNode[](siblings.length - 1);
        else chunk = bytes.concat(chunk, hex"00000000");
        vm.assertFalse(MerkleSumTree.verify(place, index, chunk, siblings, root));
    }

    /// @dev A count under which every chunk has the length it has, and the tree its height.
    function test_refusesAnotherCountOfTheSameShape() public pure {
        int256[] memory values = randomValues(1, 262);
        SumNode[][] memory levels = SumTree.build(contextOf(values), values);
        UpdatePlace memory place = placeOf(values);
        SumNode memory root = SumTree.rootOf(levels);
        bytes memory chunk = SumTree.chunkOf(values, 0);
        vm.assertTrue(MerkleSumTree.verify(place, 0, chunk, SumTree.path(levels, 0), root));
        place.elements += 64;
        vm.assertFalse(MerkleSumTree.verify(place, 0, chunk, SumTree.path(levels, 0), root));
    }

    /// @dev In a false tree a chunk can be shorter or longer than its place.
    function test_refusesChunksOfAnotherLengthThanTheirPlace() public pure {
        int256[] memory values = randomValues(1, 128);
        UpdatePlace memory place = placeOf(values);
        SumNode memory other = SumNode(keccak256("other"), 1);
        for (uint256 length = 62; length <= 66; ++length) {
            bytes memory chunk = new bytes(4 * length);
            SumNode memory leaf = SumNode(MerkleSumTree.leafHash(contextOf(values), 0, 0, chunk), 0);
            SumNode memory root = SumNode(MerkleSumTree.nodeHash(leaf, other), 1);
            SumNode[] memory siblings = new SumNode[](1);
            siblings[0] = other;
            vm.assertTrue(MerkleSumTree.verify(place, 0, chunk, siblings, root) == (length == 64));
        }
    }

    function test_refusesSumsThatOverflow() public pure {
        int256[] memory values = randomValues(1, 128);
        SumNode[][] memory levels = SumTree.build(contextOf(values), values);
        SumNode[] memory siblings = SumTree.path(levels, 0);
        siblings[0].sum = type(uint128).max;
        bytes memory chunk = SumTree.chunkOf(values, 0);
        vm.assertFalse(MerkleSumTree.verify(placeOf(values), 0, chunk, siblings, SumTree.rootOf(levels)));
    }

    function test_aNodeIsNoLeaf() public pure {
        // Their first bytes differ, so that no values hash to a node.
        SumNode memory child = SumNode(keccak256("child"), 1);
        bytes memory asNode = abi.encodePacked(bytes1(0x01), child.hash, child.sum, child.hash, child.sum);
        vm.assertEq(MerkleSumTree.nodeHash(child, child), keccak256(asNode));
        bytes memory asLeaf =
            abi.encodePacked(bytes1(0x00), CONTEXT, uint32(7), uint32(1), uint128(9), hex"00000003");
        vm.assertEq(MerkleSumTree.leafHash(CONTEXT, 7, 9, hex"00000003"), keccak256(asLeaf));
    }

    function proves(SumNode[][] memory levels, int256[] memory values, uint32 index)
        private
        pure
        returns (bool)
    {
        return MerkleSumTree.verify(
            placeOf(values),
            index,
            SumTree.chunkOf(values, index),
            SumTree.path(levels, index),
            SumTree.rootOf(levels)
        );
    }

    function placeOf(int256[] memory values) private pure returns (UpdatePlace memory) {
        return UpdatePlace(31_415_926, address(0xFED), 3, address(0xA11CE), uint64(values.length));
    }

    function contextOf(int256[] memory values) private pure returns (bytes32) {
        return MerkleSumTree.context(placeOf(values));
    }

    /// @dev Any int32, extremes included.
    function randomValues(uint256 seed, uint256 count) private pure returns (int256[] memory values) {
        values = new int256[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            values[i] = word % 16 == 0 ? int256(type(int32).min) : int256(int32(uint32(word >> 32)));
        }
    }
}
