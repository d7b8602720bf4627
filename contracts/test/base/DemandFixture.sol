// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Answer} from "../../src/interfaces/IHearing.sol";
import {MerkleSumTree, SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {VectorKind} from "../../src/libraries/VectorTree.sol";
import {DisputeFixture} from "./DisputeFixture.sol";
import {SumTree} from "./SumTree.sol";
import {VectorForest} from "./VectorForest.sol";

/// @notice A proposal whose coordinator knows every preimage below it, and who asks for them.
/// @dev What lies below a node is written down when its tree is built, apart from the library that reads it from preimages.
abstract contract DemandFixture is DisputeFixture {
    /// Wei of the first units of a phase.
    uint256 internal constant UNIT = 1000;
    uint64 internal constant WINDOW = 600;
    uint64 internal constant ANSWER = 120;

    mapping(bytes32 hash => bytes preimage) internal known;
    mapping(bytes32 hash => bytes32[] hashes) internal below;

    /// @dev Writes down all that the present proposal leads to.
    function learnProposal() internal {
        learnVector(VectorKind.Model, model);
        for (uint256 i = 0; i < CLIENTS; ++i) {
            learnVector(VectorKind.Sums, leaves[i].sums);
            know(leaves[i].preimage);
            know(commitmentOf(i));
            bytes32 commitment = keccak256(commitmentOf(i));
            if (below[commitment].length == 0) below[commitment].push(commitments[i].updateRoot);
            learnUpdate(i);
        }
        learnNode(pair, leaves[0], leaves[1]);
        if (single.preimage.length > 0) learnNode(single, leaves[2], single);
        learnNode(top, pair, single);
    }

    function learnNode(Built memory node, Built memory left, Built memory right) private {
        learnVector(VectorKind.Sums, node.sums);
        know(node.preimage);
        bytes32[] storage children = below[hashOf(node)];
        if (children.length > 0) return;
        children.push(hashOf(left));
        // One that is its own child is none.
        if (right.preimage.length > 0 && hashOf(right) != hashOf(node)) children.push(hashOf(right));
    }

    function learnVector(VectorKind kind, int256[] memory values) internal {
        bytes32[][] memory levels = VectorForest.build(kind, values);
        uint256 height = levels.length - 1;
        bytes memory root =
            abi.encodePacked(VectorForest.first(kind) + 2, uint64(values.length), levels[height][0]);
        if (known[keccak256(root)].length > 0) return;
        know(root);
        below[keccak256(root)].push(levels[height][0]);
        for (uint32 i = 0; 64 * uint256(i) < values.length; ++i) {
            know(VectorForest.leafOf(kind, values, i));
        }
        for (uint256 level = 1; level <= height; ++level) {
            for (uint256 i = 0; i < levels[level].length; ++i) {
                bytes32 left = levels[level - 1][2 * i];
                bytes32 right = levels[level - 1][2 * i + 1];
                know(abi.encodePacked(VectorForest.first(kind) + 1, left, right));
                learnChildren(levels[level][i], left, right);
            }
        }
    }

    function learnUpdate(uint256 index) private {
        SumNode[][] memory levels = treeOf(index);
        bytes32 context = SumTree.contextOf(federation, roundId, members[index]);
        for (uint32 i = 0; 64 * uint256(i) < ELEMENTS; ++i) {
            uint32 count = uint32(MerkleSumTree.chunkLength(ELEMENTS, i));
            bytes memory head = abi.encodePacked(uint8(0), context, i, count, levels[0][i].sum);
            know(bytes.concat(head, SumTree.chunkOf(updates[index], i)));
        }
        for (uint256 level = 1; level < levels.length; ++level) {
            for (uint256 i = 0; i < levels[level].length; ++i) {
                SumNode memory left = levels[level - 1][2 * i];
                SumNode memory right = levels[level - 1][2 * i + 1];
                know(abi.encodePacked(uint8(1), left.hash, left.sum, right.hash, right.sum));
                learnChildren(levels[level][i].hash, left.hash, right.hash);
            }
        }
    }

    function learnChildren(bytes32 parentHash, bytes32 left, bytes32 right) private {
        bytes32[] storage children = below[parentHash];
        if (children.length > 0) return;
        if (left != 0) children.push(left);
        if (right != 0) children.push(right);
    }

    function know(bytes memory preimage) internal {
        if (known[keccak256(preimage)].length == 0) known[keccak256(preimage)] = preimage;
    }

    function commitmentOf(uint256 index) internal view returns (bytes memory) {
        return abi.encodePacked(
            uint8(0x0a),
            commitments[index].member,
            commitments[index].weight,
            commitments[index].updateRoot,
            commitments[index].sumSquares
        );
    }

    /// @dev What an honest coordinator answers.
    function answerOf(bytes32 hash, uint8 levels) internal view returns (Answer memory given) {
        bytes32[] memory queue = new bytes32[](64);
        queue[0] = hash;
        uint256 length = 1;
        uint256 begin_ = 0;
        for (uint256 level = 1; level < levels; ++level) {
            uint256 end = length;
            for (; begin_ < end; ++begin_) {
                bytes32[] storage children = below[queue[begin_]];
                for (uint256 i = 0; i < children.length; ++i) {
                    queue[length++] = children[i];
                }
            }
        }
        given = Answer(hash, levels, new bytes[](length));
        for (uint256 i = 0; i < length; ++i) {
            given.preimages[i] = known[queue[i]];
        }
    }

    function one(Answer memory given) internal pure returns (Answer[] memory answers) {
        answers = new Answer[](1);
        answers[0] = given;
    }

    function answer(bytes32 hash, uint8 levels) internal {
        disputes.answerMany(roundId, one(answerOf(hash, levels)));
    }

    /// @dev Asks at the price of the moment.
    function ask(address sender, bytes[] memory path, bytes32 hash, uint8 levels) internal {
        uint256 price = disputes.demandPrice(roundId, levels);
        vm.deal(sender, sender.balance + price);
        vm.prank(sender);
        disputes.demand{value: price}(roundId, path, hash, levels);
    }

    function ask(address sender, bytes32 root, uint8 levels) internal {
        ask(sender, new bytes[](0), root, levels);
    }

    function pathOf(bytes memory first) internal pure returns (bytes[] memory path) {
        path = new bytes[](1);
        path[0] = first;
    }

    function pathOf(bytes memory first, bytes memory second) internal pure returns (bytes[] memory path) {
        path = new bytes[](2);
        (path[0], path[1]) = (first, second);
    }

    function pathOf(bytes memory first, bytes memory second, bytes memory third)
        internal
        pure
        returns (bytes[] memory path)
    {
        path = new bytes[](3);
        (path[0], path[1], path[2]) = (first, second, third);
    }

    /// @dev Four hashes that lie below the three roots, and the way to them.
    function deepHash(uint256 which) internal view returns (bytes[] memory path, bytes32 hash) {
        if (which == 0) return (pathOf(top.preimage), hashOf(pair));
        if (which == 1) return (pathOf(top.preimage, pair.preimage), hashOf(leaves[0]));
        if (which == 2) return (pathOf(top.preimage, pair.preimage), hashOf(leaves[1]));
        return (pathOf(top.preimage, pair.preimage, leaves[1].preimage), keccak256(commitmentOf(1)));
    }
}
