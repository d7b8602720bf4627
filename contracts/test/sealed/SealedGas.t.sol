// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Division, Groups} from "../../src/libraries/Groups.sol";
import {SealedTrees} from "../../src/libraries/SealedTrees.sol";
import {LaneBlock, Unmasking} from "../../src/libraries/Unmasking.sol";
import {Chunk, VectorKind, VectorTree} from "../../src/libraries/VectorTree.sol";
import {HashTree} from "../base/HashTree.sol";
import {TestBase} from "../base/TestBase.sol";
import {PlainMasks} from "./PlainMasks.sol";
import {SealedCaller} from "./SealedCaller.sol";

/// @notice What is opened to judge eight lanes of a leaf.
struct LaneOpening {
    bytes32 context;
    bytes32 maskedRoot;
    bytes32 seedsRoot;
    bytes32 sums;
    uint64 elements;
    LaneBlock lanes;
    Chunk masked;
    Chunk unmasked;
    uint256 own;
    uint256[] ranks;
    bytes32[] seeds;
    bytes32[] siblings;
}

/// @notice A court's work on one block of lanes: everything is opened, then judged.
contract LaneCourt {
    /// @return isOpen Whether everything leads to its root.
    /// @return isRight Whether the lanes follow.
    function judge(LaneOpening calldata self) external pure returns (bool isOpen, bool isRight) {
        isOpen = SealedTrees.seedsHold(self.seedsRoot, 5, self.context, self.ranks, self.seeds, self.siblings)
            && SealedTrees.maskedHolds(
                self.maskedRoot,
                self.context,
                self.elements,
                self.lanes.laneBytes,
                self.lanes.index,
                self.masked
            ) && VectorTree.holds(VectorKind.Sums, self.elements, self.lanes.index, self.unmasked, self.sums);
        isRight =
            Unmasking.follows(self.lanes, self.masked.values, self.unmasked.values, self.seeds, self.own);
    }
}

/// @notice Gas of what the libraries of sealed rounds do: execution alone, without the transaction and its calldata.
contract SealedGasTest is TestBase {
    event log_named_uint(string key, uint256 val);

    SealedCaller private caller = new SealedCaller();
    LaneCourt private court = new LaneCourt();

    function test_draw() public {
        bytes memory call = abi.encodeCall(caller.placeOf, ("seed", 423, 1000));
        measure("draw of one place", address(caller), call, 30_000);
    }

    function test_block() public {
        bytes memory call = abi.encodeCall(caller.lanes, ("key", 7));
        measure("block of a stream", address(caller), call, 7_200);
    }

    function test_tally() public {
        bytes memory all = new bytes(125);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = 0xff;
        }
        Division memory division = Groups.divide(1000, 32);
        bytes memory call = abi.encodeCall(caller.tally, (division, all, all, hex"ffffff7f"));
        measure("tally of 1,000 members in 31 groups", address(caller), call, 60_000);
        call = abi.encodeCall(caller.isWithin, (all, all));
        measure("subset of 1,000 members", address(caller), call, 3_000);
        call = abi.encodeCall(caller.count, (all, 0, 1000));
        measure("count of 1,000 members", address(caller), call, 4_000);
    }

    function test_lanes() public {
        measureLanes("eight lanes, none absent", 0, 35_000);
        measureLanes("eight lanes, 5 absent", 5, 72_000);
        measureLanes("eight lanes, 8 absent", 8, 96_000);
        measureLanes("eight lanes, 10 absent", 10, 112_000);
    }

    /// @dev A member of a group of 32 and LeNet's 62,006 parameters: 969 chunks, ten levels, and five bytes a lane.
    function measureLanes(string memory name, uint256 absent, uint256 most) private {
        LaneOpening memory opening;
        opening.context = keccak256("context");
        opening.elements = 62_006;
        opening.lanes = LaneBlock(500, 3, 5);
        bytes32[] memory commitments = new bytes32[](32);
        for (uint8 rank = 0; rank < commitments.length; ++rank) {
            commitments[rank] = keccak256(abi.encodePacked(uint8(0x38), opening.context, rank, seedOf(rank)));
        }
        bytes32[][] memory levels = HashTree.build(0x39, commitments);
        opening.seedsRoot = HashTree.rootOf(levels);
        opening.own = absent == 0 ? 0 : 3;
        opening.ranks = new uint256[](absent + 1);
        opening.seeds = new bytes32[](absent + 1);
        for (uint8 i = 0; i <= absent; ++i) {
            // The fourth of them is the own one, if there are so many.
            uint8 rank = i == 0 && absent == 0 ? 3 : i < 4 ? i : 2 * i + 1;
            opening.ranks[i] = rank;
            opening.seeds[i] = seedOf(rank);
        }
        opening.siblings = HashTree.beside(levels, opening.ranks);
        bytes memory masked = new bytes(320);
        for (uint256 i = 0; i < masked.length; ++i) {
            masked[i] = bytes1(keccak256(abi.encode(i)));
        }
        bytes memory unmasked = PlainMasks.unmask(opening.lanes, masked, opening.seeds, opening.own);
        bytes32[] memory siblings = new bytes32[](10);
        for (uint256 i = 0; i < siblings.length; ++i) {
            siblings[i] = keccak256(abi.encode("sibling", i));
        }
        (opening.masked, opening.unmasked) = (Chunk(masked, siblings), Chunk(unmasked, siblings));
        bytes memory header = SealedTrees.maskedHeader(opening.context, 62_006, 5, 500);
        opening.maskedRoot = topOf(0x34, keccak256(bytes.concat(header, masked)), siblings);
        header = VectorTree.leafHeader(VectorKind.Sums, 62_006, 500);
        bytes32 top = topOf(0x06, keccak256(bytes.concat(header, unmasked)), siblings);
        opening.sums = VectorTree.rootOf(VectorKind.Sums, 62_006, top);

        bytes memory answer = measure(name, address(court), abi.encodeCall(court.judge, (opening)), most);
        (bool isOpen, bool isRight) = abi.decode(answer, (bool, bool));
        vm.assertTrue(isOpen && isRight);
    }

    function topOf(uint8 kind, bytes32 node, bytes32[] memory siblings) private pure returns (bytes32) {
        for (uint256 i = 0; i < siblings.length; ++i) {
            node = (500 >> i) & 1 == 0
                ? keccak256(abi.encodePacked(kind, node, siblings[i]))
                : keccak256(abi.encodePacked(kind, siblings[i], node));
        }
        return node;
    }

    function seedOf(uint8 rank) private pure returns (bytes32) {
        return keccak256(abi.encode("seed", rank));
    }

    /// @dev Fails if the call, without what its transaction and calldata cost, takes more than `most` gas.
    function measure(string memory name, address target, bytes memory call, uint256 most)
        private
        returns (bytes memory)
    {
        (bool isDone, bytes memory answer) = target.call(call);
        vm.assertTrue(isDone);
        uint256 execution = vm.lastCallGas().gasTotalUsed - 21_000;
        for (uint256 i = 0; i < call.length; ++i) {
            execution -= call[i] == 0 ? 4 : 16;
        }
        emit log_named_uint(name, execution);
        vm.assertLe(execution, most);
        return answer;
    }
}
