// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {Answer, IHearing} from "../../src/interfaces/IHearing.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {DemandFixture} from "../base/DemandFixture.sol";

/// @notice A griefer wants the bond of an honest coordinator: it asks for more than can be answered in time, or sees to it
///         that answers fail.
contract TakeABondByAskingTest is DemandFixture {
    address private griefer = address(0x6F1EF);
    bytes32[] private wanted;
    uint8[] private depth;

    function setUp() public override {
        super.setUp();
        begin();
        Lie memory honest;
        proposeWith(honest);
        learnProposal();
    }

    /// @dev All there is to ask, in one block, in the last second of the window.
    function test_aBurstIsAnsweredByOneTransaction() public {
        vm.warp(federation.round(roundId).until);
        uint256 paid = burst();
        vm.warp(block.timestamp + ANSWER);
        answerAll();
        vm.assertEq(uint256(disputes.hearing(roundId, 1).open), 0);
        vm.warp(block.timestamp + ANSWER + 1);
        federation.finalizeRound(roundId);
        // It paid for all of it, and half went to who it was to hurt.
        vm.assertEq(disputes.owed(coordinator), paid / 2);
        vm.assertEq(disputes.owed(griefer), 0);
    }

    /// @dev What is to be answered grows with the logarithm of what is paid.
    function test_theMoreIsAskedTheMoreItCosts() public {
        uint8[3] memory levels = [6, 6, 6];
        uint256 paid = 0;
        uint256 units = 0;
        for (uint256 i = 0; i < 9; ++i) {
            bytes32 root = [proposal.aggregationRoot, proposal.aggregateRoot, proposal.modelRoot][i % 3];
            uint8 next = levels[i % 3]--;
            uint256 price = disputes.demandPrice(roundId, next);
            vm.assertEq(price, (UNIT << (next - 1)) << (units / 256));
            ask(griefer, root, next);
            paid += price;
            units += uint256(1) << (next - 1);
        }
        for (uint256 i = 0; i < 4; ++i) {
            (bytes[] memory path, bytes32 hash) = deepHash(i);
            for (uint8 next = 6; next > 4; --next) {
                vm.assertEq(disputes.demandPrice(roundId, next), (UNIT << (next - 1)) << (units / 256));
                ask(griefer, path, hash, next);
                units += uint256(1) << (next - 1);
            }
        }
        vm.assertTrue(units > 256);
        vm.assertEq(disputes.demandPrice(roundId, 1), 2 * UNIT);
        // In the next phase it is as cheap as at first.
        vm.warp(federation.round(roundId).until - 2 * ANSWER + 1);
        vm.assertEq(disputes.demandPrice(roundId, 1), UNIT);
    }

    function test_whoAnswersInFrontOfTheCoordinatorHelpsIt() public {
        burst();
        vm.prank(griefer);
        disputes.answerMany(roundId, one(answerOf(wanted[1], depth[1])));
        answerAll();
        vm.assertEq(uint256(disputes.hearing(roundId, 1).open), 0);
        // Again, and the same one twice: nothing is counted twice.
        answerAll();
        vm.assertEq(uint256(disputes.hearing(roundId, 1).open), 0);
    }

    function test_whatIsNotOfTheProposalCannotBeAsked() public {
        // Another member's leaf under a node of its own; a preimage of the right hash but the wrong kind of place.
        bytes memory foreign = abi.encodePacked(uint8(3), keccak256("nobody knows"), hashOf(pair));
        refused(pathOf(foreign), keccak256("nobody knows"), "proposal");
        refused(pathOf(top.preimage, foreign), keccak256("nobody knows"), "path");
        // Within the bytes of a chunk there are no hashes.
        bytes memory chunk = known[keccak256(abi.encodePacked(modelLeaf(0)))];
        bytes memory root = known[proposal.modelRoot];
        bytes memory node = known[below[proposal.modelRoot][0]];
        bytes memory lower = known[below[keccak256(node)][0]];
        bytes[] memory path = new bytes[](4);
        (path[0], path[1], path[2], path[3]) = (root, node, lower, chunk);
        refused(path, bytes32(slice(chunk, 9)), "path");
        // The base model, which the proposal does not state.
        bytes32 baseRoot = federation.modelRoot();
        refused(new bytes[](0), baseRoot, "proposal");
    }

    function test_questionsAboutAnEarlierAttemptAskNothing() public {
        ask(griefer, proposal.modelRoot, 1);
        vm.prank(address(disputes));
        federation.rejectProposal(roundId, griefer, false);
        makeProposal();
        vm.warp(federation.round(roundId).until);
        vm.expectRevert(abi.encodeWithSelector(IHearing.NotDemanded.selector, proposal.modelRoot, 1));
        disputes.rejectUnanswered(roundId, proposal.modelRoot, 1);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Final);
    }

    function refused(bytes[] memory path, bytes32 hash, string memory what) private {
        vm.deal(griefer, UNIT);
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotPartOf.selector, what));
        vm.prank(griefer);
        disputes.demand{value: UNIT}(roundId, path, hash, 1);
    }

    function burst() private returns (uint256 paid) {
        bytes32[3] memory roots = [proposal.aggregationRoot, proposal.aggregateRoot, proposal.modelRoot];
        for (uint8 levels = 1; levels <= 6; ++levels) {
            for (uint256 i = 0; i < 3; ++i) {
                paid += disputes.demandPrice(roundId, levels);
                ask(griefer, roots[i], levels);
                wanted.push(roots[i]);
                depth.push(levels);
            }
            for (uint256 i = 0; i < 4; ++i) {
                (bytes[] memory path, bytes32 hash) = deepHash(i);
                paid += disputes.demandPrice(roundId, levels);
                ask(griefer, path, hash, levels);
                wanted.push(hash);
                depth.push(levels);
            }
        }
    }

    function answerAll() private {
        Answer[] memory answers = new Answer[](wanted.length + 1);
        for (uint256 i = 0; i < wanted.length; ++i) {
            answers[i] = answerOf(wanted[i], depth[i]);
        }
        answers[wanted.length] = answers[0];
        vm.prank(coordinator);
        disputes.answerMany(roundId, answers);
    }

    function modelLeaf(uint32 index) private view returns (bytes memory) {
        return bytes.concat(abi.encodePacked(uint8(2), index, uint32(64)), modelChunk(model, index).values);
    }

    function slice(bytes memory data, uint256 offset) private pure returns (bytes32 word) {
        for (uint256 i = 0; i < 32; ++i) {
            word |= bytes32(data[offset + i]) >> (8 * i);
        }
    }
}
