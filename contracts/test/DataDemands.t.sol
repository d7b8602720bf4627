// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Fraud, ICourt} from "../src/interfaces/ICourt.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {RoundState} from "../src/libraries/RoundLib.sol";
import {CommitmentLeaf} from "./base/CommitmentLeaf.sol";
import {DisputeFixture} from "./base/DisputeFixture.sol";

/// @notice Demands for withheld data: who may ask for what, by when, and who pays.
contract DataDemandsTest is DisputeFixture {
    uint256 private constant FEE = 1000;
    uint64 private constant ANSWER = 120;

    function setUp() public override {
        super.setUp();
        begin();
        Lie memory honest;
        proposeWith(honest);
    }

    function test_givesTimeToAnswerAndToGoOn() public {
        vm.warp(federation.round(roundId).until);
        uint64 due = uint64(block.timestamp) + ANSWER;
        vm.expectEmit();
        emit IDisputes.DataDemanded(roundId, proposal.aggregationRoot, challenger, 1, due);
        vm.expectEmit();
        emit IFederation.ChallengeExtended(roundId, due + ANSWER);
        demandAs(challenger, proposal.aggregationRoot, "");
        vm.assertEq(uint256(federation.round(roundId).until), due + ANSWER);
    }

    function test_anEarlyDemandMovesNothing() public {
        uint64 until = federation.round(roundId).until;
        demandAs(challenger, proposal.modelRoot, "");
        vm.assertEq(uint256(federation.round(roundId).until), until);
    }

    function test_walksDownFromAnswerToAnswer() public {
        demandAs(challenger, proposal.aggregationRoot, "");
        vm.expectEmit();
        emit IDisputes.DataAnswered(roundId, proposal.aggregationRoot, 1, top.preimage);
        disputes.answer(roundId, top.preimage);
        demandAs(challenger, hashOf(pair), top.preimage);
        disputes.answer(roundId, pair.preimage);
        demandAs(challenger, hashOf(leaves[1]), pair.preimage);
        disputes.answer(roundId, leaves[1].preimage);
        bytes memory commitment = abi.encodePacked(
            uint8(0x0a),
            commitments[1].member,
            commitments[1].weight,
            commitments[1].updateRoot,
            commitments[1].sumSquares
        );
        demandAs(challenger, CommitmentLeaf.hashOf(commitments[1]), leaves[1].preimage);
        disputes.answer(roundId, commitment);
        demandAs(challenger, commitments[1].updateRoot, commitment);
        vm.assertEq(disputes.owed(coordinator), 4 * FEE);
        vm.assertEq(address(disputes).balance, 5 * FEE);
    }

    function test_asksOnlyForWhatBelongsToTheProposal() public {
        expectRefusal(abi.encodeWithSelector(ICourt.NotPartOf.selector, "proposal"));
        demandAs(challenger, hashOf(pair), "");
        expectRefusal(abi.encodeWithSelector(ICourt.NotPartOf.selector, "answers"));
        demandAs(challenger, hashOf(pair), top.preimage);
        demandAs(challenger, proposal.aggregationRoot, "");
        disputes.answer(roundId, top.preimage);
        expectRefusal(abi.encodeWithSelector(ICourt.NotPartOf.selector, "parent"));
        demandAs(challenger, hashOf(leaves[0]), top.preimage);
        expectRefusal(abi.encodeWithSelector(ICourt.NotPartOf.selector, "parent"));
        demandAs(challenger, 0, top.preimage);
    }

    function test_eachHashIsAskedForOnceAtItsFee() public {
        expectRefusal(abi.encodeWithSelector(IDisputes.WrongFee.selector, FEE - 1, FEE));
        bytes32 root = proposal.modelRoot;
        vm.prank(challenger);
        disputes.demand{value: FEE - 1}(roundId, root, "");
        demandAs(challenger, root, "");
        expectRefusal(abi.encodeWithSelector(IDisputes.AlreadyDemanded.selector, root));
        demandAs(stranger, root, "");
    }

    function test_takesOnlyAnswersToOpenDemands() public {
        expectRefusal(abi.encodeWithSelector(IDisputes.NotDemanded.selector, hashOf(top)));
        disputes.answer(roundId, top.preimage);
        demandAs(challenger, proposal.aggregationRoot, "");
        disputes.answer(roundId, top.preimage);
        expectRefusal(abi.encodeWithSelector(IDisputes.NotDemanded.selector, hashOf(top)));
        disputes.answer(roundId, top.preimage);
        expectRefusal(abi.encodeWithSelector(ICourt.NotPartOf.selector, "answers"));
        disputes.answer(roundId, new bytes(522));
        // Of no preimage there is no proof, so it must not pass for an answer.
        expectRefusal(abi.encodeWithSelector(ICourt.NotPartOf.selector, "answers"));
        disputes.answer(roundId, "");
    }

    function test_rejectsWhatIsNotAnsweredInTime() public {
        bytes32 root = proposal.modelRoot;
        demandAs(challenger, root, "");
        uint64 due = uint64(block.timestamp) + ANSWER;
        vm.warp(due);
        expectRefusal(abi.encodeWithSelector(IDisputes.AnswerNotDue.selector, due));
        disputes.rejectUnanswered(roundId, root);
        vm.warp(due + 1);
        vm.expectEmit();
        emit ICourt.FraudProved(roundId, challenger, Fraud.MissingData, 1);
        vm.prank(stranger);
        disputes.rejectUnanswered(roundId, root);
        vm.assertTrue(federation.round(roundId).state == RoundState.Submitted);
        vm.assertEq(federation.owed(challenger), BOND / 2);
        vm.assertEq(disputes.owed(challenger), FEE);
        vm.prank(challenger);
        vm.assertEq(disputes.withdraw(), FEE);
        vm.assertEq(address(disputes).balance, 0);
    }

    function test_aLateAnswerStillCounts() public {
        demandAs(challenger, proposal.aggregationRoot, "");
        vm.warp(block.timestamp + ANSWER + 1);
        disputes.answer(roundId, top.preimage);
        bytes32 root = proposal.aggregationRoot;
        expectRefusal(abi.encodeWithSelector(IDisputes.NotDemanded.selector, root));
        disputes.rejectUnanswered(roundId, root);
    }

    function test_paysBackWhatIsAboutAProposalThatIsGone() public {
        bytes32 root = proposal.modelRoot;
        demandAs(challenger, root, "");
        expectRefusal(abi.encodeWithSelector(IDisputes.StillProposed.selector, roundId, 1));
        disputes.reclaim(roundId, 1, root);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        expectRefusal(abi.encodeWithSelector(ICourt.NotProposed.selector, roundId));
        disputes.rejectUnanswered(roundId, root);
        vm.expectEmit();
        emit IDisputes.DemandReclaimed(roundId, root, 1, challenger);
        disputes.reclaim(roundId, 1, root);
        vm.assertEq(disputes.owed(challenger), FEE);
        expectRefusal(abi.encodeWithSelector(IDisputes.NotDemanded.selector, root));
        disputes.reclaim(roundId, 1, root);
    }

    function demandAs(address sender, bytes32 hash, bytes memory parent) private {
        vm.deal(sender, 1 ether);
        vm.prank(sender);
        disputes.demand{value: FEE}(roundId, hash, parent);
    }

    function expectRefusal(bytes memory reason) private {
        // `demandAs` deals before it calls, and a cheatcode is no call.
        vm.expectRevert(reason);
    }
}
