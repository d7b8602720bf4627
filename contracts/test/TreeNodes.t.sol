// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {VectorNode} from "../src/interfaces/IAggregationCourt.sol";
import {UpdateNode} from "../src/interfaces/ICourt.sol";
import {MerkleSumTree, SumNode, UpdatePlace} from "../src/libraries/MerkleSumTree.sol";
import {Preimage} from "../src/libraries/Preimage.sol";
import {UpdateNodes} from "../src/libraries/UpdateNodes.sol";
import {VectorNodes} from "../src/libraries/VectorNodes.sol";
import {Chunk, VectorKind, VectorTree} from "../src/libraries/VectorTree.sol";
import {SumTree} from "./base/SumTree.sol";
import {TestBase} from "./base/TestBase.sol";
import {VectorForest} from "./base/VectorForest.sol";

/// @notice The libraries' functions over calldata.
contract TreeNodesCaller {
    function holds(bytes calldata preimage, bytes32 hash) external pure returns (bool) {
        return Preimage.holds(preimage, hash);
    }

    function updateLeadsTo(uint64 elements, UpdateNode calldata node, SumNode calldata root)
        external
        pure
        returns (bool)
    {
        return UpdateNodes.leadsTo(elements, node, root);
    }

    function updateIsWellFormed(UpdatePlace calldata place, UpdateNode calldata node)
        external
        pure
        returns (bool)
    {
        return UpdateNodes.isWellFormed(place, node);
    }

    function vectorLeadsTo(VectorKind kind, uint64 elements, VectorNode calldata node, bytes32 root)
        external
        pure
        returns (bool)
    {
        return VectorNodes.leadsTo(kind, elements, node, root);
    }

    function vectorIsWellFormed(VectorKind kind, uint64 elements, VectorNode calldata node)
        external
        pure
        returns (bool)
    {
        return VectorNodes.isWellFormed(kind, elements, node);
    }

    function isRoot(VectorKind kind, uint64 elements, bytes calldata preimage) external pure returns (bool) {
        return VectorNodes.isRoot(kind, elements, preimage);
    }

    function vectorHolds(VectorKind kind, uint64 elements, uint32 index, Chunk calldata chunk, bytes32 root)
        external
        pure
        returns (bool)
    {
        return VectorTree.holds(kind, elements, index, chunk, root);
    }
}

/// @notice Form and place of every kind of node: the right one is believed, and no other.
/// @dev 150 elements are three chunks and an empty one under two levels.
contract TreeNodesTest is TestBase {
    uint64 private constant ELEMENTS = 150;
    bytes32 private constant WANTED = keccak256("wanted");

    TreeNodesCaller private caller = new TreeNodesCaller();

    /// Where each kind of preimage keeps hashes: kind, bytes in all, offsets (0: none more).
    function test_findsHashesInTheirPlacesOnly() public view {
        uint16[5][19] memory kinds = [
            [uint16(0x01), 97, 1, 49, 0],
            [uint16(0x03), 65, 1, 33, 0],
            [uint16(0x04), 41, 9, 0, 0],
            [uint16(0x06), 65, 1, 33, 0],
            [uint16(0x07), 41, 9, 0, 0],
            [uint16(0x08), 73, 9, 41, 0],
            [uint16(0x09), 105, 9, 41, 73],
            [uint16(0x0a), 73, 25, 0, 0],
            [uint16(0x0b), 65, 1, 33, 0],
            [uint16(0x0c), 70, 38, 0, 0],
            [uint16(0x0d), 65, 1, 33, 0],
            // Of sealed rounds.
            [uint16(0x34), 65, 1, 33, 0],
            [uint16(0x39), 65, 1, 33, 0],
            [uint16(0x3a), 41, 9, 0, 0],
            [uint16(0x3b), 291, 190, 222, 0],
            [uint16(0x3c), 105, 9, 41, 73],
            [uint16(0x3e), 129, 1, 65, 0],
            [uint16(0x3f), 65, 33, 0, 0],
            // Leaves of updates and vectors hold values and no hash.
            [uint16(0x00), 120, 0, 0, 0]
        ];
        for (uint256 k = 0; k < kinds.length; ++k) {
            uint256 size = kinds[k][1];
            for (uint256 offset = 1; offset + 32 <= size; ++offset) {
                bool expected = offset == kinds[k][2] || offset == kinds[k][3] || offset == kinds[k][4];
                bytes memory preimage = withHash(uint8(kinds[k][0]), size, offset);
                vm.assertTrue(caller.holds(preimage, WANTED) == expected);
            }
        }
        for (uint256 kind = 0x0e; kind < 0x100; ++kind) {
            // Nodes of sealed rounds that begin with a hash.
            bool isNode = kind == 0x34 || kind == 0x39 || kind == 0x3e;
            vm.assertTrue(caller.holds(withHash(uint8(kind), 73, 1), WANTED) == isNode);
        }
    }

    function test_findsNothingInShortPreimagesAndNoZero() public view {
        vm.assertFalse(caller.holds("", WANTED));
        vm.assertFalse(caller.holds(new bytes(97), 0));
        bytes memory zeros = new bytes(65);
        zeros[0] = 0x03;
        vm.assertFalse(caller.holds(zeros, 0));
        vm.assertTrue(caller.holds(withHash(0x03, 33, 1), WANTED));
        vm.assertFalse(caller.holds(bytes.concat(hex"03", bytes31(WANTED)), WANTED));
    }

    function test_everyNodeOfAnUpdateLeadsToItsRoot() public view {
        SumNode[][] memory levels = updateLevels();
        SumNode memory root = SumTree.rootOf(levels);
        for (uint256 level = 0; level < 3; ++level) {
            for (uint32 position = 0; position < levels[level].length; ++position) {
                UpdateNode memory node = updateNode(levels, level, position);
                vm.assertTrue(caller.updateLeadsTo(ELEMENTS, node, root));
                vm.assertTrue(caller.updateIsWellFormed(placeOf(), node));
                if (node.preimage.length > 0) {
                    // The hash alone says the same, and is not judged by its form.
                    node.hash = keccak256(node.preimage);
                    node.preimage = "";
                    vm.assertTrue(caller.updateLeadsTo(ELEMENTS, node, root));
                    vm.assertTrue(caller.updateIsWellFormed(placeOf(), node));
                }
                node.sum += 1;
                vm.assertFalse(caller.updateLeadsTo(ELEMENTS, node, root));
                node.sum -= 1;
                vm.assertFalse(caller.updateLeadsTo(ELEMENTS, node, SumNode(root.hash, root.sum + 1)));
                vm.assertFalse(caller.updateLeadsTo(ELEMENTS, node, SumNode(WANTED, root.sum)));
                // One more than the level has, and another of the level.
                node.position += uint32(levels[level].length);
                vm.assertFalse(caller.updateLeadsTo(ELEMENTS, node, root));
                node.position = position ^ 1;
                if (level < 2) vm.assertFalse(caller.updateLeadsTo(ELEMENTS, node, root));
            }
        }
    }

    function test_noNodeOfAnUpdateIsBelowItsLeaves() public view {
        SumNode[][] memory levels = updateLevels();
        SumNode memory root = SumTree.rootOf(levels);
        UpdateNode memory node = updateNode(levels, 0, 0);
        // The same tree of an update that is too short to be so high.
        vm.assertFalse(caller.updateLeadsTo(64, node, root));
        vm.assertFalse(caller.updateLeadsTo(128, node, root));
        vm.assertTrue(caller.updateLeadsTo(129, node, root));
    }

    function test_sumsThatOverflowLeadNowhere() public view {
        SumNode memory left = SumNode(keccak256("left"), type(uint128).max);
        SumNode memory right = SumNode(keccak256("right"), 1);
        UpdateNode memory node = UpdateNode(0, "", left.hash, left.sum, new SumNode[](1));
        node.siblings[0] = right;
        vm.assertFalse(caller.updateLeadsTo(128, node, SumNode(MerkleSumTree.nodeHash(left, right), 0)));
        node.siblings[0].sum = 0;
        SumNode memory parent = SumNode(MerkleSumTree.nodeHash(left, node.siblings[0]), left.sum);
        vm.assertTrue(caller.updateLeadsTo(128, node, parent));
    }

    function test_knowsTheFormOfInnerNodesOfAnUpdate() public view {
        UpdateNode memory node = updateNode(updateLevels(), 1, 0);
        node.preimage[96] ^= 0x01; // the right sum
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
        node.preimage[96] ^= 0x01;
        node.preimage[48] ^= 0x01; // the left sum
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
        node.preimage[48] ^= 0x01;
        node.preimage[0] = 0x02;
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
        node.preimage[0] = 0x01;
        vm.assertTrue(caller.updateIsWellFormed(placeOf(), node));
        node.preimage = bytes.concat(node.preimage, hex"00");
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
        node.preimage = new bytes(96);
        node.preimage[0] = 0x01;
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
        // Two sums that pass 2^128 are no sum of their own remainder.
        node.preimage = abi.encodePacked(uint8(1), WANTED, type(uint128).max, WANTED, uint128(1));
        node.sum = 0;
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
    }

    function test_knowsTheFormOfLeavesOfAnUpdate() public view {
        SumNode[][] memory levels = updateLevels();
        for (uint32 position = 0; position < 3; ++position) {
            UpdateNode memory node = updateNode(levels, 0, position);
            // Kind, context, index, count, sum, values: any byte matters.
            for (uint256 byteAt = 0; byteAt < node.preimage.length; byteAt += 7) {
                node.preimage[byteAt] ^= 0x10;
                vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
                node.preimage[byteAt] ^= 0x10;
            }
            node.sum += 1;
            vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
            node.sum -= 1;
            node.preimage = bytes.concat(node.preimage, hex"00000000");
            vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
            node.preimage = "leaf";
            vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
            node.preimage = ""; // nobody can show what 0 is the hash of
            node.hash = 0;
            vm.assertFalse(caller.updateIsWellFormed(placeOf(), node));
        }
        UpdateNode memory padding = updateNode(levels, 0, 3);
        padding.hash = WANTED;
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), padding));
        padding.hash = 0;
        padding.sum = 1;
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), padding));
        padding.sum = 0;
        padding.preimage = hex"00";
        vm.assertFalse(caller.updateIsWellFormed(placeOf(), padding));
        padding.preimage = "";
        vm.assertTrue(caller.updateIsWellFormed(placeOf(), padding));
    }

    function test_everyNodeOfAVectorLeadsToItsRoot() public view {
        for (uint256 k = 0; k < 2; ++k) {
            VectorKind kind = VectorKind(k);
            bytes32[][] memory levels = VectorForest.build(kind, valuesOf());
            bytes32 root = VectorForest.rootOf(kind, valuesOf());
            for (uint256 level = 0; level < 3; ++level) {
                for (uint32 position = 0; position < levels[level].length; ++position) {
                    VectorNode memory node = vectorNode(kind, levels, level, position);
                    vm.assertTrue(caller.vectorLeadsTo(kind, ELEMENTS, node, root));
                    vm.assertTrue(caller.vectorIsWellFormed(kind, ELEMENTS, node));
                    if (node.preimage.length > 0) {
                        node.hash = keccak256(node.preimage);
                        node.preimage = "";
                        vm.assertTrue(caller.vectorLeadsTo(kind, ELEMENTS, node, root));
                        vm.assertTrue(caller.vectorIsWellFormed(kind, ELEMENTS, node));
                    }
                    vm.assertFalse(caller.vectorLeadsTo(kind, ELEMENTS, node, WANTED));
                    vm.assertFalse(caller.vectorLeadsTo(VectorKind(1 - k), ELEMENTS, node, root));
                    vm.assertFalse(caller.vectorLeadsTo(kind, ELEMENTS + 1, node, root));
                    node.position += uint32(levels[level].length);
                    vm.assertFalse(caller.vectorLeadsTo(kind, ELEMENTS, node, root));
                    node.position = position ^ 1;
                    if (level < 2) vm.assertFalse(caller.vectorLeadsTo(kind, ELEMENTS, node, root));
                }
            }
            // Too high for its length, though the root would be right.
            VectorNode memory leaf = vectorNode(kind, levels, 0, 0);
            bytes32 short = VectorTree.rootOf(kind, 128, levels[2][0]);
            vm.assertFalse(caller.vectorLeadsTo(kind, 128, leaf, short));
        }
    }

    function test_knowsTheFormOfNodesOfAVector() public view {
        for (uint256 k = 0; k < 2; ++k) {
            VectorKind kind = VectorKind(k);
            bytes32[][] memory levels = VectorForest.build(kind, valuesOf());
            VectorNode memory inner = vectorNode(kind, levels, 1, 1);
            inner.preimage[0] ^= 0x01;
            vm.assertFalse(caller.vectorIsWellFormed(kind, ELEMENTS, inner));
            inner.preimage[0] ^= 0x01;
            inner.preimage[40] ^= 0x01; // another hash is another node, and one all the same
            vm.assertTrue(caller.vectorIsWellFormed(kind, ELEMENTS, inner));
            inner.preimage = bytes.concat(inner.preimage, hex"00");
            vm.assertFalse(caller.vectorIsWellFormed(kind, ELEMENTS, inner));
            for (uint32 position = 0; position < 3; ++position) {
                VectorNode memory leaf = vectorNode(kind, levels, 0, position);
                for (uint256 byteAt = 0; byteAt < 9; ++byteAt) {
                    leaf.preimage[byteAt] ^= 0x10;
                    vm.assertFalse(caller.vectorIsWellFormed(kind, ELEMENTS, leaf));
                    leaf.preimage[byteAt] ^= 0x10;
                }
                leaf.preimage[9] ^= 0x10; // any value is a value
                vm.assertTrue(caller.vectorIsWellFormed(kind, ELEMENTS, leaf));
                leaf.preimage = bytes.concat(leaf.preimage, hex"00000000");
                vm.assertFalse(caller.vectorIsWellFormed(kind, ELEMENTS, leaf));
                leaf.preimage = "leaf";
                vm.assertFalse(caller.vectorIsWellFormed(kind, ELEMENTS, leaf));
                leaf.preimage = "";
                leaf.hash = 0;
                vm.assertFalse(caller.vectorIsWellFormed(kind, ELEMENTS, leaf));
            }
            VectorNode memory padding = vectorNode(kind, levels, 0, 3);
            padding.hash = WANTED;
            vm.assertFalse(caller.vectorIsWellFormed(kind, ELEMENTS, padding));
            padding.hash = 0;
            padding.preimage = hex"00";
            vm.assertFalse(caller.vectorIsWellFormed(kind, ELEMENTS, padding));
        }
    }

    function test_knowsTheFormOfRoots() public view {
        for (uint256 k = 0; k < 2; ++k) {
            VectorKind kind = VectorKind(k);
            bytes memory root = abi.encodePacked(uint8(k == 0 ? 4 : 7), ELEMENTS, WANTED);
            vm.assertTrue(caller.isRoot(kind, ELEMENTS, root));
            vm.assertFalse(caller.isRoot(VectorKind(1 - k), ELEMENTS, root));
            vm.assertFalse(caller.isRoot(kind, ELEMENTS - 1, root));
            vm.assertFalse(caller.isRoot(kind, ELEMENTS, bytes.concat(root, hex"00")));
            vm.assertFalse(caller.isRoot(kind, ELEMENTS, ""));
        }
    }

    function test_holdsChunksOfItsLengthAndHeightOnly() public view {
        for (uint256 k = 0; k < 2; ++k) {
            VectorKind kind = VectorKind(k);
            bytes32 root = VectorForest.rootOf(kind, valuesOf());
            for (uint32 index = 0; index < 3; ++index) {
                Chunk memory chunk = VectorForest.open(kind, valuesOf(), index);
                vm.assertTrue(caller.vectorHolds(kind, ELEMENTS, index, chunk, root));
                vm.assertFalse(caller.vectorHolds(kind, ELEMENTS, index ^ 1, chunk, root));
                vm.assertFalse(caller.vectorHolds(kind, ELEMENTS, index, chunk, WANTED));
                chunk.values[3] ^= 0x01;
                vm.assertFalse(caller.vectorHolds(kind, ELEMENTS, index, chunk, root));
                chunk.values[3] ^= 0x01;
                chunk.values = bytes.concat(chunk.values, hex"00");
                vm.assertFalse(caller.vectorHolds(kind, ELEMENTS, index, chunk, root));
            }
            // Padding is no chunk, and a node one level up no leaf.
            Chunk memory none = Chunk("", new bytes32[](2));
            vm.assertFalse(caller.vectorHolds(kind, ELEMENTS, 3, none, root));
            Chunk memory low = VectorForest.open(kind, valuesOf(), 0);
            bytes32 leaf = keccak256(VectorForest.leafOf(kind, valuesOf(), 0));
            low.siblings = new bytes32[](0);
            vm.assertFalse(
                caller.vectorHolds(kind, ELEMENTS, 0, low, VectorTree.rootOf(kind, ELEMENTS, leaf))
            );
        }
    }

    /// @dev A false tree can hide more or fewer values behind a header than it states, or some behind padding.
    function test_holdsNoChunkOfAnotherLengthThanItsHeader() public view {
        for (uint256 k = 0; k < 2; ++k) {
            VectorKind kind = VectorKind(k);
            uint256 width = VectorTree.elementBytes(kind);
            for (uint32 index = 0; index < 4; ++index) {
                uint256 length = MerkleSumTree.chunkLength(ELEMENTS, index) * width;
                uint256[3] memory sizes = [length, length + width, length < width ? width : length - width];
                for (uint256 i = 0; i < sizes.length; ++i) {
                    Chunk memory chunk = Chunk(new bytes(sizes[i]), new bytes32[](2));
                    bytes memory leaf =
                        bytes.concat(VectorTree.leafHeader(kind, ELEMENTS, index), chunk.values);
                    bytes32 top = climbBesideZeros(kind, keccak256(leaf), index);
                    bytes32 root = VectorTree.rootOf(kind, ELEMENTS, top);
                    bool holds = caller.vectorHolds(kind, ELEMENTS, index, chunk, root);
                    vm.assertTrue(holds == (i == 0 && index < 3));
                }
            }
        }
    }

    /// @dev Two levels up, with zero hashes beside the way.
    function climbBesideZeros(VectorKind kind, bytes32 node, uint32 index) private pure returns (bytes32) {
        uint8 first = VectorTree.leafByte(kind) + 1;
        for (uint256 level = 0; level < 2; ++level) {
            node = (index >> level) & 1 == 0
                ? keccak256(abi.encodePacked(first, node, bytes32(0)))
                : keccak256(abi.encodePacked(first, bytes32(0), node));
        }
        return node;
    }

    function withHash(uint8 kind, uint256 size, uint256 offset) private pure returns (bytes memory preimage) {
        preimage = new bytes(size);
        preimage[0] = bytes1(kind);
        for (uint256 i = 0; i < 32; ++i) {
            preimage[offset + i] = WANTED[i];
        }
    }

    function placeOf() private pure returns (UpdatePlace memory) {
        return UpdatePlace(314, address(0xFED), 3, address(0xA11CE), ELEMENTS);
    }

    function valuesOf() private pure returns (int256[] memory values) {
        values = new int256[](ELEMENTS);
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            values[i] = int256((i * 7) % 41) - 20;
        }
    }

    function updateLevels() private pure returns (SumNode[][] memory) {
        return SumTree.build(MerkleSumTree.context(placeOf()), valuesOf());
    }

    /// @dev With its preimage, if it has one.
    function updateNode(SumNode[][] memory levels, uint256 level, uint32 position)
        private
        pure
        returns (UpdateNode memory node)
    {
        SumNode memory stated = levels[level][position];
        node = UpdateNode(position, "", stated.hash, stated.sum, new SumNode[](2 - level));
        for (uint256 i = level; i < 2; ++i) {
            node.siblings[i - level] = levels[i][(position >> (i - level)) ^ 1];
        }
        if (stated.hash == 0) return node;
        if (level == 0) {
            bytes memory values = SumTree.chunkOf(valuesOf(), position);
            node.preimage = abi.encodePacked(
                uint8(0),
                MerkleSumTree.context(placeOf()),
                position,
                uint32(values.length / 4),
                stated.sum,
                values
            );
        } else {
            SumNode memory left = levels[level - 1][2 * position];
            SumNode memory right = levels[level - 1][2 * position + 1];
            node.preimage = abi.encodePacked(uint8(1), left.hash, left.sum, right.hash, right.sum);
        }
        node.hash = 0;
    }

    /// @dev With its preimage, if it has one.
    function vectorNode(VectorKind kind, bytes32[][] memory levels, uint256 level, uint32 position)
        private
        pure
        returns (VectorNode memory node)
    {
        node = VectorNode(position, "", 0, new bytes32[](2 - level));
        for (uint256 i = level; i < 2; ++i) {
            node.siblings[i - level] = levels[i][(position >> (i - level)) ^ 1];
        }
        if (levels[level][position] == 0) return node;
        node.preimage = level == 0
            ? VectorForest.leafOf(kind, valuesOf(), position)
            : abi.encodePacked(
                VectorForest.first(kind) + 1,
                levels[level - 1][2 * position],
                levels[level - 1][2 * position + 1]
            );
    }
}
