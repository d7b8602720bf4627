// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {Answer, IHearing} from "../../src/interfaces/IHearing.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {DemandFixture} from "../base/DemandFixture.sol";

/// @notice A coordinator wants its proposal final without showing what is below it: it answers late, in part, with something
///         else, or not at all, and hopes that nobody rejects it in time.
contract WithholdDataTest is DemandFixture {
    function setUp() public override {
        super.setUp();
        begin();
        Lie memory honest;
        proposeWith(honest);
        learnProposal();
        ask(challenger, proposal.aggregationRoot, 3);
    }

    function test_whatWasNotAnsweredIsNeverFinal() public {
        vm.warp(federation.round(roundId).until + 30 days);
        vm.expectRevert(abi.encodeWithSelector(IHearing.Unanswered.selector, roundId, 1));
        federation.finalizeRound(roundId);
        disputes.rejectUnanswered(roundId, proposal.aggregationRoot, 3);
        vm.assertTrue(federation.round(roundId).state == RoundState.Submitted);
    }

    function test_aLateAnswerIsNone() public {
        uint64 due = disputes.question(roundId, 1, proposal.aggregationRoot, 3).due;
        vm.warp(due + 1);
        refused(
            answerOf(proposal.aggregationRoot, 3),
            abi.encodeWithSelector(IHearing.AnswerTooLate.selector, due)
        );
        vm.warp(due);
        answer(proposal.aggregationRoot, 3);
    }

    function test_anAnswerIsWholeAndInItsOrder() public {
        bytes memory refusal = abi.encodeWithSelector(ICourt.NotPartOf.selector, "answer");
        Answer memory whole = answerOf(proposal.aggregationRoot, 3);
        vm.assertEq(whole.preimages.length, 6);
        for (uint256 i = 0; i < 6; ++i) {
            // One left out, one twice, one that is nothing.
            Answer memory part = Answer(whole.hash, 3, new bytes[](5));
            for (uint256 j = 0; j < 5; ++j) {
                part.preimages[j] = whole.preimages[j < i ? j : j + 1];
            }
            fails(part);
            Answer memory twice = answerOf(proposal.aggregationRoot, 3);
            twice.preimages[i] = whole.preimages[i == 0 ? 5 : i - 1];
            refused(twice, refusal);
            Answer memory nothing = answerOf(proposal.aggregationRoot, 3);
            nothing.preimages[i] = "";
            refused(nothing, refusal);
        }
        // Out of order: the children of the top.
        Answer memory swapped = answerOf(proposal.aggregationRoot, 3);
        (swapped.preimages[1], swapped.preimages[2]) = (swapped.preimages[2], swapped.preimages[1]);
        refused(swapped, refusal);
        // Too much.
        Answer memory more = Answer(whole.hash, 3, new bytes[](7));
        for (uint256 i = 0; i < 7; ++i) {
            more.preimages[i] = whole.preimages[i % 6];
        }
        refused(more, refusal);
        // Fewer levels than were asked for.
        Answer memory fewer = answerOf(proposal.aggregationRoot, 2);
        refused(
            fewer, abi.encodeWithSelector(IHearing.NotDemanded.selector, proposal.aggregationRoot, uint8(2))
        );
        disputes.answerMany(roundId, one(whole));
    }

    /// @dev What is malformed opens nothing below, which is what proves it malformed.
    function test_malformedPreimagesAreAnswersThatLeadNowhere() public {
        bytes[6] memory malformed = [
            abi.encodePacked(uint8(9), uint64(1), bytes32(uint256(1)), bytes32(uint256(2))),
            abi.encodePacked(uint8(9), new bytes(105)),
            abi.encodePacked(uint8(6), bytes32(uint256(1))),
            abi.encodePacked(uint8(0xff), bytes32(uint256(1)), bytes32(uint256(2))),
            abi.encodePacked(uint8(7), uint64(150)),
            new bytes(521)
        ];
        for (uint256 i = 0; i < 6; ++i) {
            fall();
            proposal.aggregationRoot = keccak256(malformed[i]);
            makeProposal();
            ask(challenger, proposal.aggregationRoot, 6);
            Answer memory given = Answer(proposal.aggregationRoot, 6, new bytes[](1));
            given.preimages[0] = malformed[i];
            disputes.answerMany(roundId, one(given));
            vm.assertEq(uint256(disputes.hearing(roundId, federation.round(roundId).attempt).open), 0);
        }
    }

    function test_noPreimageIsLongerThanThoseOfWellFormedNodes() public {
        fall();
        bytes memory long = new bytes(554);
        proposal.modelRoot = keccak256(long);
        makeProposal();
        ask(challenger, proposal.modelRoot, 1);
        Answer memory given = Answer(proposal.modelRoot, 1, new bytes[](1));
        given.preimages[0] = long;
        refused(given, abi.encodeWithSelector(ICourt.NotPartOf.selector, "answer"));
        // The hash of nothing: nothing is no answer.
        fall();
        proposal.modelRoot = keccak256("");
        makeProposal();
        ask(challenger, proposal.modelRoot, 1);
        given.hash = proposal.modelRoot;
        given.preimages[0] = "";
        refused(given, abi.encodeWithSelector(ICourt.NotPartOf.selector, "answer"));
    }

    function test_whatWasAnsweredInAnEarlierAttemptIsAskedAgain() public {
        answer(proposal.aggregationRoot, 3);
        fall();
        makeProposal();
        ask(challenger, proposal.aggregationRoot, 3);
        vm.warp(disputes.question(roundId, 2, proposal.aggregationRoot, 3).due + 1);
        disputes.rejectUnanswered(roundId, proposal.aggregationRoot, 3);
    }

    function fall() private {
        vm.prank(address(disputes));
        federation.rejectProposal(roundId, challenger, false);
    }

    function refused(Answer memory given, bytes memory refusal) private {
        vm.expectRevert(refusal);
        disputes.answerMany(roundId, one(given));
    }

    function fails(Answer memory given) private {
        (bool success,) = address(disputes).call(abi.encodeCall(IHearing.answerMany, (roundId, one(given))));
        vm.assertFalse(success);
    }
}
