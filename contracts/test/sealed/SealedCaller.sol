// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bitmaps} from "../../src/libraries/Bitmaps.sol";
import {ChaCha20} from "../../src/libraries/ChaCha20.sol";
import {GroupNode} from "../../src/libraries/GroupNode.sol";
import {Division, Groups} from "../../src/libraries/Groups.sol";
import {MerklePath} from "../../src/libraries/MerklePath.sol";
import {NormNode, NormProof, NormRoot, NormTree} from "../../src/libraries/NormTree.sol";
import {Expectation, Refusal, Rules, RulesLib} from "../../src/libraries/RulesLib.sol";
import {SealedRules, SealedRulesLib} from "../../src/libraries/SealedRulesLib.sol";
import {GroupShape, SealedShape, SeatPlace} from "../../src/libraries/SealedShape.sol";
import {SealedTrees} from "../../src/libraries/SealedTrees.sol";
import {Enrol, Masked, MaskedSubmission, SealedTypes} from "../../src/libraries/SealedTypes.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Shuffle} from "../../src/libraries/Shuffle.sol";
import {LaneBlock, Unmasking} from "../../src/libraries/Unmasking.sol";
import {Update} from "../../src/libraries/UpdateTypes.sol";
import {Chunk} from "../../src/libraries/VectorTree.sol";

/// @notice The libraries of sealed rounds as functions that can be called: calldata arguments need an external call.
contract SealedCaller {
    using Bitmaps for bytes;

    function lanes(bytes32 key, uint256 counter) external pure returns (uint256 first, uint256 second) {
        return ChaCha20.lanes(key, counter);
    }

    function placeOf(bytes32 seed, uint256 index, uint256 size) external pure returns (uint256) {
        return Shuffle.placeOf(seed, index, size);
    }

    function isSetOf(bytes calldata bitmap, uint256 places) external pure returns (bool) {
        return bitmap.isSetOf(places);
    }

    function has(bytes calldata bitmap, uint256 place) external pure returns (bool) {
        return bitmap.has(place);
    }

    function with(bytes calldata bitmap, uint256 place) external pure returns (bytes memory) {
        return bitmap.with(place);
    }

    function count(bytes calldata bitmap, uint256 first, uint256 end) external pure returns (uint256) {
        return bitmap.count(first, end);
    }

    /// @dev The second set lies behind the first in the calldata, and is not to be read.
    function countBefore(bytes calldata bitmap, bytes calldata, uint256 first, uint256 end)
        external
        pure
        returns (uint256)
    {
        return bitmap.count(first, end);
    }

    function isWithin(bytes calldata bitmap, bytes calldata other) external pure returns (bool) {
        return bitmap.isWithin(other);
    }

    function tally(
        Division calldata division,
        bytes calldata ready,
        bytes calldata included,
        bytes calldata counting
    ) external pure returns (uint256 groups, uint256 members) {
        return Groups.tally(division, ready, included, counting);
    }

    /// @return members Included members of a group if it alone is stated; 0 when it may not count.
    function membersOf(
        Division calldata division,
        uint256 group,
        bytes calldata ready,
        bytes calldata included
    ) external view returns (uint256 members) {
        bytes memory counting = new bytes((uint256(division.groups) + 7) / 8);
        counting[group / 8] = bytes1(uint8(1 << (group % 8)));
        try this.tally(division, ready, included, counting) returns (uint256 groups, uint256 found) {
            return groups == 1 ? found : type(uint256).max;
        } catch (bytes memory reason) {
            bytes memory refused = abi.encodeWithSelector(Groups.GroupCannotCount.selector, group);
            return keccak256(reason) == keccak256(refused) ? 0 : type(uint256).max;
        }
    }

    function validate(SealedRules calldata self, Rules calldata rules, Security calldata security)
        external
        pure
    {
        SealedRulesLib.validate(self, rules, security);
    }

    function laneBytes(SealedRules calldata self, Rules calldata rules) external pure returns (uint256) {
        return SealedRulesLib.laneBytes(self, rules);
    }

    function isWithinNorm(
        SealedRules calldata self,
        uint128 maxSumSquares,
        uint256 squares,
        uint64 weight,
        uint256 included
    ) external pure returns (bool) {
        return SealedRulesLib.isWithinNorm(self, maxSumSquares, squares, weight, included);
    }

    function refusal(
        Rules calldata rules,
        Masked calldata update,
        Expectation calldata expected,
        bytes32 epochRoot,
        uint256 time
    ) external pure returns (Refusal) {
        return SealedRulesLib.refusal(rules, update, expected, epochRoot, time);
    }

    function openRefusal(
        Rules calldata rules,
        Update calldata update,
        Expectation calldata expected,
        uint256 time
    ) external pure returns (Refusal) {
        return RulesLib.refusal(rules, update, expected, time);
    }

    function enrolHash(Enrol calldata enrol) external pure returns (bytes32) {
        return SealedTypes.structHash(enrol);
    }

    function maskedHash(Masked calldata update) external pure returns (bytes32) {
        return SealedTypes.structHash(update);
    }

    function submissionHash(MaskedSubmission calldata submission) external pure returns (bytes32) {
        return SealedTypes.submissionHash(submission);
    }

    function isPlausible(MaskedSubmission calldata submission) external pure returns (bool) {
        return SealedTypes.isPlausible(submission);
    }

    function isSubmission(bytes calldata preimage) external pure returns (bool) {
        return SealedTypes.isSubmission(preimage);
    }

    function closedHash(uint64 round, bytes32 epochRoot, bytes calldata included)
        external
        pure
        returns (bytes32)
    {
        return SealedTrees.closedHash(round, epochRoot, included);
    }

    function maskedHolds(
        bytes32 root,
        bytes32 context,
        uint64 elements,
        uint8 size,
        uint32 index,
        Chunk calldata chunk
    ) external pure returns (bool) {
        return SealedTrees.maskedHolds(root, context, elements, size, index, chunk);
    }

    function seedsHold(
        bytes32 root,
        uint256 height,
        bytes32 context,
        uint256[] memory ranks,
        bytes32[] calldata seeds,
        bytes32[] calldata siblings
    ) external pure returns (bool) {
        return SealedTrees.seedsHold(root, height, context, ranks, seeds, siblings);
    }

    function climb(uint8 kind, bytes32 node, uint256 position, bytes32[] calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return MerklePath.climb(kind, node, position, siblings);
    }

    function lead(
        uint8 kind,
        uint256 levels,
        bytes32[] memory nodes,
        uint256[] memory positions,
        bytes32[] calldata siblings,
        bytes32 top
    ) external pure returns (bool) {
        return MerklePath.lead(kind, levels, nodes, positions, siblings, top);
    }

    function placeOfIndex(GroupShape calldata shape, Division calldata division, uint256 index)
        external
        pure
        returns (uint256)
    {
        return SealedShape.placeOf(shape, division, index);
    }

    function seatAt(GroupShape calldata shape, Division calldata division, uint256 place)
        external
        pure
        returns (SeatPlace memory)
    {
        return SealedShape.seatAt(shape, division, place);
    }

    function absentBefore(GroupShape calldata shape, SeatPlace calldata seat)
        external
        pure
        returns (uint256)
    {
        return SealedShape.absentBefore(shape, seat);
    }

    function revealed(GroupShape calldata shape, SeatPlace calldata seat)
        external
        pure
        returns (uint256[] memory)
    {
        return SealedShape.revealed(shape, seat);
    }

    function follows(
        LaneBlock calldata self,
        bytes calldata masked,
        bytes calldata unmasked,
        bytes32[] calldata seeds,
        uint256 own
    ) external pure returns (bool) {
        return Unmasking.follows(self, masked, unmasked, seeds, own);
    }

    function reads(uint256 size, bytes calldata lanes_, bytes calldata sums) external pure returns (bool) {
        return Unmasking.reads(size, lanes_, sums);
    }

    function normHolds(
        NormNode calldata root,
        uint64 elements,
        uint32 index,
        bytes calldata values,
        NormNode[] calldata siblings
    ) external pure returns (bool) {
        return NormTree.holds(root, elements, index, values, siblings);
    }

    function normLeaf(uint32 index, uint256 squares, bytes calldata values) external pure returns (bytes32) {
        return NormTree.leafHash(index, squares, values);
    }

    function squaresOf(bytes calldata values) external pure returns (uint256) {
        return NormTree.squaresOf(values);
    }

    function leadsTo(NormNode calldata root, uint64 elements, NormProof calldata proof)
        external
        pure
        returns (bool)
    {
        return NormTree.leadsTo(root, elements, proof);
    }

    function isWellFormed(uint64 elements, NormProof calldata proof) external pure returns (bool) {
        return NormTree.isWellFormed(elements, proof);
    }

    function isGroup(bytes calldata preimage) external pure returns (bool) {
        return GroupNode.isGroup(preimage);
    }

    function belowGroup(bytes calldata preimage) external pure returns (bytes32 child, bytes32 norm) {
        return (GroupNode.childOf(preimage), GroupNode.normOf(preimage));
    }

    function isNormRoot(bytes calldata preimage) external pure returns (bool) {
        return NormRoot.isRoot(preimage);
    }

    function normRoot(bytes calldata preimage) external pure returns (NormNode memory) {
        return NormRoot.read(preimage);
    }
}
