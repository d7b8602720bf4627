// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NormNode, NormProof} from "../../src/libraries/NormTree.sol";
import {Chunk} from "../../src/libraries/VectorTree.sol";
import {HashTree} from "../base/HashTree.sol";
import {TestBase} from "../base/TestBase.sol";
import {Lanes} from "./Lanes.sol";
import {SealedCaller} from "./SealedCaller.sol";

/// @notice Proofs in the trees of sealed rounds, and nothing else than what they commit to.
contract SealedTreesTest is TestBase {
    bytes32 private constant CONTEXT = keccak256("context");

    SealedCaller private caller = new SealedCaller();

    function testFuzz_masked(uint256 seed, uint8 size, uint16 length) public view {
        uint8 laneBytes = uint8(bound(size, 1, 6));
        uint64 elements = uint64(bound(length, 1, 400));
        bytes memory lanes = random(seed, elements * laneBytes);
        bytes32[] memory leaves = new bytes32[]((elements + 63) / 64);
        for (uint32 i = 0; i < leaves.length; ++i) {
            bytes memory part = chunkOf(lanes, i, laneBytes);
            leaves[i] = keccak256(
                abi.encodePacked(uint8(0x33), CONTEXT, i, uint32(part.length / laneBytes), laneBytes, part)
            );
        }
        bytes32[][] memory levels = HashTree.build(0x34, leaves);
        for (uint32 i = 0; i < leaves.length; ++i) {
            requireMasked(levels, elements, laneBytes, i, chunkOf(lanes, i, laneBytes));
        }
        // There is no such chunk.
        Chunk memory none = Chunk("", HashTree.path(levels, 0));
        vm.assertFalse(
            caller.maskedHolds(
                HashTree.rootOf(levels), CONTEXT, elements, laneBytes, uint32(leaves.length), none
            )
        );
    }

    function testFuzz_seeds(uint256 seed, uint8 members, uint256 chosen) public view {
        bytes32[] memory seeds = new bytes32[](bound(members, 1, 255));
        bytes32[] memory commitments = new bytes32[](seeds.length);
        for (uint8 rank = 0; rank < seeds.length; ++rank) {
            seeds[rank] = keccak256(abi.encode(seed, rank));
            commitments[rank] = keccak256(abi.encodePacked(uint8(0x38), CONTEXT, rank, seeds[rank]));
        }
        bytes32[][] memory levels = HashTree.build(0x39, commitments);
        requireSeeds(levels, seeds, ranksOf(chosen | 1 << (seed % seeds.length), seeds.length));
        requireSeeds(levels, seeds, ranksOf(1 << (seed % seeds.length), seeds.length));
        requireSeeds(levels, seeds, ranksOf(type(uint256).max, seeds.length));
    }

    function requireSeeds(bytes32[][] memory levels, bytes32[] memory all, uint256[] memory ranks)
        private
        view
    {
        bytes32 top = HashTree.rootOf(levels);
        uint256 height = levels.length - 1;
        bytes32[] memory siblings = HashTree.beside(levels, ranks);
        bytes32[] memory seeds = new bytes32[](ranks.length);
        for (uint256 i = 0; i < seeds.length; ++i) {
            seeds[i] = all[ranks[i]];
        }
        vm.assertTrue(caller.seedsHold(top, height, CONTEXT, ranks, seeds, siblings));
        vm.assertFalse(caller.seedsHold(~top, height, CONTEXT, ranks, seeds, siblings));
        vm.assertFalse(caller.seedsHold(top, height, ~CONTEXT, ranks, seeds, siblings));
        vm.assertFalse(caller.seedsHold(top, height + 1, CONTEXT, ranks, seeds, siblings));
        if (height > 0) {
            vm.assertFalse(caller.seedsHold(top, height - 1, CONTEXT, ranks, seeds, siblings));
        }
        vm.assertFalse(caller.seedsHold(top, height, CONTEXT, ranks, seeds, longer(siblings)));
        vm.assertFalse(caller.seedsHold(top, height, CONTEXT, ranks, longer(seeds), siblings));
        for (uint256 i = 0; i < ranks.length; ++i) {
            seeds[i] = ~seeds[i];
            vm.assertFalse(caller.seedsHold(top, height, CONTEXT, ranks, seeds, siblings));
            seeds[i] = ~seeds[i];
            ranks[i] ^= 1;
            vm.assertFalse(caller.seedsHold(top, height, CONTEXT, ranks, seeds, siblings));
            ranks[i] ^= 1;
        }
        for (uint256 i = 0; i < siblings.length; ++i) {
            siblings[i] = ~siblings[i];
            vm.assertFalse(caller.seedsHold(top, height, CONTEXT, ranks, seeds, siblings));
            siblings[i] = ~siblings[i];
        }
    }

    function ranksOf(uint256 bits, uint256 members) private pure returns (uint256[] memory ranks) {
        ranks = new uint256[](members);
        uint256 count = 0;
        for (uint256 rank = 0; rank < members; ++rank) {
            if (bits >> rank & 1 == 1) ranks[count++] = rank;
        }
        assembly ("memory-safe") {
            mstore(ranks, count)
        }
    }

    function longer(bytes32[] memory words) private pure returns (bytes32[] memory more) {
        more = new bytes32[](words.length + 1);
        for (uint256 i = 0; i < words.length; ++i) {
            more[i] = words[i];
        }
    }

    /// @dev A rank beyond the tree would climb to the same top as the one below it.
    function test_aRankLiesWithinTheTree() public view {
        bytes32[] memory seeds = new bytes32[](1);
        seeds[0] = "seed";
        uint256[] memory ranks = new uint256[](1);
        bytes32[] memory siblings = new bytes32[](1);
        for (uint8 rank = 0; rank < 4; ++rank) {
            bytes32 leaf = keccak256(abi.encodePacked(uint8(0x38), CONTEXT, rank, seeds[0]));
            bytes32 top = rank & 1 == 0
                ? keccak256(abi.encodePacked(uint8(0x39), leaf, siblings[0]))
                : keccak256(abi.encodePacked(uint8(0x39), siblings[0], leaf));
            ranks[0] = rank;
            vm.assertTrue(caller.seedsHold(top, 1, CONTEXT, ranks, seeds, siblings) == (rank < 2));
        }
    }

    /// @dev No way leads from nothing to anything, not even to the top 0.
    function test_nothingLeadsNowhere() public view {
        bytes32[] memory none = new bytes32[](0);
        vm.assertFalse(caller.lead(0x39, 0, none, new uint256[](0), none, 0));
        vm.assertFalse(caller.lead(0x39, 3, none, new uint256[](0), none, 0));
        vm.assertFalse(caller.lead(0x39, 3, new bytes32[](1), new uint256[](1), none, 0));
    }

    function testFuzz_climbs(bytes32 node, uint256 position, bytes32[] calldata siblings, uint8 kind)
        public
        view
    {
        bytes32 top = node;
        for (uint256 i = 0; i < siblings.length; ++i) {
            bool isRight = i < 256 && (position >> i) & 1 == 1;
            top = isRight
                ? keccak256(abi.encodePacked(kind, siblings[i], top))
                : keccak256(abi.encodePacked(kind, top, siblings[i]));
        }
        vm.assertEq(caller.climb(kind, node, position, siblings), top);
    }

    function testFuzz_norms(uint256 seed, uint16 length) public view {
        uint64 elements = uint64(bound(length, 1, 400));
        bytes memory values = random(seed, elements * 8);
        NormNode[][] memory levels = normTree(values);
        NormNode memory root = levels[levels.length - 1][0];
        vm.assertEq(root.squares, squaresOf(values));
        for (uint32 i = 0; i < (elements + 63) / 64; ++i) {
            bytes memory part = chunkOf(values, i, 8);
            NormNode[] memory siblings = normPath(levels, 0, i);
            vm.assertTrue(caller.normHolds(root, elements, i, part, siblings));
            vm.assertFalse(caller.normHolds(NormNode(~root.hash, root.squares), elements, i, part, siblings));
            vm.assertFalse(
                caller.normHolds(NormNode(root.hash, root.squares + 1), elements, i, part, siblings)
            );
            vm.assertFalse(caller.normHolds(root, elements, i, bytes.concat(part, bytes8(0)), siblings));
            part[part.length - 1] ^= 0x01;
            vm.assertFalse(caller.normHolds(root, elements, i, part, siblings));
        }
        vm.assertFalse(caller.normHolds(root, elements, uint32((elements + 63) / 64), "", new NormNode[](0)));
    }

    function testFuzz_everyNodeOfANormTreeIsWellFormed(uint256 seed, uint16 length) public view {
        uint64 elements = uint64(bound(length, 1, 200));
        bytes memory values = random(seed, elements * 8);
        NormNode[][] memory levels = normTree(values);
        NormNode memory root = levels[levels.length - 1][0];
        for (uint256 level = 0; level < levels.length; ++level) {
            for (uint256 i = 0; i < levels[level].length; ++i) {
                NormProof memory proof = normProof(levels, values, level, i);
                vm.assertTrue(caller.leadsTo(root, elements, proof));
                vm.assertTrue(caller.isWellFormed(elements, proof));
                proof.squares += 1;
                vm.assertFalse(caller.leadsTo(root, elements, proof));
                vm.assertFalse(caller.isWellFormed(elements, proof));
                proof.squares -= 1;
                proof.position += uint32(levels[level].length);
                vm.assertFalse(caller.leadsTo(root, elements, proof));
                proof.position -= uint32(levels[level].length);
                if (proof.preimage.length == 0) continue;
                requireForm(elements, proof);
            }
        }
    }

    function test_aHashWithoutAPreimageIsJudgedWhereItMustBeNone() public view {
        NormProof memory proof;
        // 65 elements make two leaves; 129 make three, the fourth is missing.
        proof.siblings = new NormNode[](1);
        proof.hash = "some";
        proof.squares = 3;
        vm.assertTrue(caller.isWellFormed(65, proof));
        proof.hash = 0;
        vm.assertFalse(caller.isWellFormed(65, proof));
        proof.siblings = new NormNode[](0);
        vm.assertFalse(caller.isWellFormed(65, proof));
        proof.hash = "some";
        vm.assertTrue(caller.isWellFormed(65, proof));
        proof.siblings = new NormNode[](2);
        proof.position = 3;
        vm.assertFalse(caller.isWellFormed(129, proof));
        proof.hash = 0;
        vm.assertFalse(caller.isWellFormed(129, proof));
        proof.squares = 0;
        vm.assertTrue(caller.isWellFormed(129, proof));
        proof.preimage = hex"00";
        vm.assertFalse(caller.isWellFormed(129, proof));
        // A path may not be longer than the tree is high.
        proof = NormProof(0, "", "leaf", 1, new NormNode[](1));
        NormNode memory root = NormNode(
            keccak256(abi.encodePacked(uint8(0x3e), bytes32("leaf"), uint256(1), uint256(0), uint256(0))), 1
        );
        vm.assertTrue(caller.leadsTo(root, 65, proof));
        vm.assertFalse(caller.leadsTo(root, 64, proof));
    }

    /// @dev Trees a level too high, as a liar may build them: their tops stand for another number of leaves.
    function test_aPathIsAsLongAsTheTreeIsHigh() public view {
        bytes32[] memory siblings = new bytes32[](1);
        siblings[0] = "sibling";
        bytes32 leaf =
            keccak256(abi.encodePacked(uint8(0x33), CONTEXT, uint32(0), uint32(1), uint8(1), hex"07"));
        bytes32 top = keccak256(abi.encodePacked(uint8(0x34), leaf, siblings[0]));
        vm.assertFalse(caller.maskedHolds(top, CONTEXT, 1, 1, 0, Chunk(hex"07", siblings)));
        vm.assertTrue(caller.maskedHolds(leaf, CONTEXT, 1, 1, 0, Chunk(hex"07", new bytes32[](0))));

        bytes memory values = abi.encodePacked(int64(-3));
        NormNode memory node = NormNode(keccak256(leafOf(0, values)), 9);
        NormNode[] memory beside = new NormNode[](1);
        NormNode memory above = NormNode(keccak256(nodeOf(node, beside[0])), 9);
        vm.assertFalse(caller.normHolds(above, 1, 0, values, beside));
        vm.assertTrue(caller.normHolds(node, 1, 0, values, new NormNode[](0)));
    }

    function test_sumsThatPassAWordAreALie() public view {
        NormNode memory left = NormNode("left", type(uint256).max);
        NormNode memory right = NormNode("right", 1);
        bytes memory preimage =
            abi.encodePacked(uint8(0x3e), left.hash, left.squares, right.hash, right.squares);
        NormProof memory top = NormProof(0, preimage, 0, 0, new NormNode[](0));
        NormNode memory root = NormNode(keccak256(preimage), 0);
        // The sum wraps to the one stated.
        vm.assertTrue(caller.leadsTo(root, 65, top));
        vm.assertFalse(caller.isWellFormed(65, top));
        NormProof memory child = NormProof(0, "", left.hash, left.squares, new NormNode[](1));
        child.siblings[0] = right;
        vm.assertFalse(caller.leadsTo(root, 65, child));
        // One less is no lie by itself.
        left.squares -= 1;
        preimage = abi.encodePacked(uint8(0x3e), left.hash, left.squares, right.hash, right.squares);
        top.preimage = preimage;
        top.squares = type(uint256).max;
        vm.assertTrue(caller.isWellFormed(65, top));
        child.squares = left.squares;
        vm.assertTrue(caller.leadsTo(NormNode(keccak256(preimage), top.squares), 65, child));
    }

    function testFuzz_normRoot(uint256 squares, bytes32 top) public view {
        bytes memory preimage = abi.encodePacked(uint8(0x3f), squares, top);
        vm.assertTrue(caller.isNormRoot(preimage));
        NormNode memory read = caller.normRoot(preimage);
        vm.assertEq(read.hash, top);
        vm.assertEq(read.squares, squares);
        vm.assertFalse(caller.isNormRoot(bytes.concat(preimage, hex"00")));
        vm.assertFalse(caller.isNormRoot(Lanes.slice(preimage, 0, 64)));
        preimage[0] = 0x3e;
        vm.assertFalse(caller.isNormRoot(preimage));
    }

    function testFuzz_groupNode(uint64 weight, bytes32 sums, bytes32 child, bytes32 norm) public view {
        bytes memory preimage = abi.encodePacked(uint8(0x3c), weight, sums, child, norm);
        vm.assertTrue(caller.isGroup(preimage));
        (bytes32 belowIt, bytes32 squares) = caller.belowGroup(preimage);
        vm.assertEq(belowIt, child);
        vm.assertEq(squares, norm);
        vm.assertFalse(caller.isGroup(bytes.concat(preimage, hex"00")));
        vm.assertFalse(caller.isGroup(Lanes.slice(preimage, 0, 104)));
        preimage[0] = 0x09;
        vm.assertFalse(caller.isGroup(preimage));
        vm.assertFalse(caller.isGroup(""));
    }

    function requireMasked(
        bytes32[][] memory levels,
        uint64 elements,
        uint8 laneBytes,
        uint32 index,
        bytes memory lanes
    ) private view {
        bytes32 top = HashTree.rootOf(levels);
        Chunk memory chunk = Chunk(lanes, HashTree.path(levels, index));
        vm.assertTrue(caller.maskedHolds(top, CONTEXT, elements, laneBytes, index, chunk));
        vm.assertFalse(caller.maskedHolds(~top, CONTEXT, elements, laneBytes, index, chunk));
        vm.assertFalse(caller.maskedHolds(top, ~CONTEXT, elements, laneBytes, index, chunk));
        vm.assertFalse(caller.maskedHolds(top, CONTEXT, elements, laneBytes + 1, index, chunk));
        vm.assertFalse(caller.maskedHolds(top, CONTEXT, elements, laneBytes, index ^ 1, chunk));
        lanes[lanes.length - 1] ^= 0x01;
        vm.assertFalse(caller.maskedHolds(top, CONTEXT, elements, laneBytes, index, chunk));
        lanes[lanes.length - 1] ^= 0x01;
        chunk.values = bytes.concat(lanes, hex"00");
        vm.assertFalse(caller.maskedHolds(top, CONTEXT, elements, laneBytes, index, chunk));
        chunk.values = lanes;
        chunk.siblings = new bytes32[](chunk.siblings.length + 1);
        vm.assertFalse(caller.maskedHolds(top, CONTEXT, elements, laneBytes, index, chunk));
    }

    /// @dev Another kind, length, index, count or value.
    function requireForm(uint64 elements, NormProof memory proof) private view {
        bytes memory preimage = proof.preimage;
        uint256 header = preimage[0] == 0x3d ? 41 : 1;
        for (uint256 i = 0; i < header; ++i) {
            preimage[i] ^= 0x80;
            vm.assertFalse(caller.isWellFormed(elements, proof));
            preimage[i] ^= 0x80;
        }
        preimage[preimage.length - 1] ^= 0x01;
        vm.assertFalse(caller.isWellFormed(elements, proof));
        preimage[preimage.length - 1] ^= 0x01;
        proof.preimage = bytes.concat(preimage, bytes8(0));
        vm.assertFalse(caller.isWellFormed(elements, proof));
        proof.preimage = preimage;
    }

    function normTree(bytes memory values) private view returns (NormNode[][] memory levels) {
        uint256 chunks = (values.length + 511) / 512;
        uint256 height = 0;
        while ((1 << height) < chunks) ++height;
        levels = new NormNode[][](height + 1);
        levels[0] = new NormNode[](1 << height);
        for (uint32 i = 0; i < chunks; ++i) {
            bytes memory part = chunkOf(values, i, 8);
            uint256 squares = squaresOf(part);
            vm.assertEq(caller.squaresOf(part), squares);
            levels[0][i] = NormNode(keccak256(leafOf(i, part)), squares);
            vm.assertEq(caller.normLeaf(i, squares, part), levels[0][i].hash);
        }
        for (uint256 level = 1; level <= height; ++level) {
            levels[level] = new NormNode[](1 << (height - level));
            for (uint256 i = 0; i < levels[level].length; ++i) {
                (NormNode memory left, NormNode memory right) =
                    (levels[level - 1][2 * i], levels[level - 1][2 * i + 1]);
                levels[level][i] = NormNode(keccak256(nodeOf(left, right)), left.squares + right.squares);
            }
        }
    }

    function normProof(NormNode[][] memory levels, bytes memory values, uint256 level, uint256 index)
        private
        pure
        returns (NormProof memory)
    {
        bytes memory preimage;
        if (level > 0) {
            preimage = nodeOf(levels[level - 1][2 * index], levels[level - 1][2 * index + 1]);
        } else if (index * 512 < values.length) {
            preimage = leafOf(uint32(index), chunkOf(values, index, 8));
        }
        return
            NormProof(
                uint32(index), preimage, 0, levels[level][index].squares, normPath(levels, level, index)
            );
    }

    function normPath(NormNode[][] memory levels, uint256 level, uint256 index)
        private
        pure
        returns (NormNode[] memory siblings)
    {
        siblings = new NormNode[](levels.length - 1 - level);
        for (uint256 i = 0; i < siblings.length; ++i) {
            siblings[i] = levels[level + i][(index >> i) ^ 1];
        }
    }

    function leafOf(uint32 index, bytes memory part) private pure returns (bytes memory) {
        return abi.encodePacked(uint8(0x3d), index, uint32(part.length / 8), squaresOf(part), part);
    }

    function nodeOf(NormNode memory left, NormNode memory right) private pure returns (bytes memory) {
        return abi.encodePacked(uint8(0x3e), left.hash, left.squares, right.hash, right.squares);
    }

    function squaresOf(bytes memory values) private pure returns (uint256 squares) {
        for (uint256 i = 0; i < values.length / 8; ++i) {
            uint64 bits = 0;
            for (uint256 j = 0; j < 8; ++j) {
                bits = (bits << 8) | uint8(values[8 * i + j]);
            }
            squares += uint256(int256(int64(bits)) * int64(bits));
        }
    }

    /// @dev 64 elements, or what is left of them.
    function chunkOf(bytes memory data, uint256 index, uint256 size) private pure returns (bytes memory) {
        uint256 end = 64 * size * (index + 1);
        return Lanes.slice(data, 64 * size * index, end < data.length ? end : data.length);
    }

    function random(uint256 seed, uint256 size) private pure returns (bytes memory data) {
        data = new bytes(size);
        for (uint256 i = 0; i < size; ++i) {
            data[i] = bytes1(keccak256(abi.encode(seed, i)));
        }
    }
}
