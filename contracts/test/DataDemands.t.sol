// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Fraud, ICourt} from "../src/interfaces/ICourt.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {Answer, Hearing, IHearing} from "../src/interfaces/IHearing.sol";
import {RoundState} from "../src/libraries/RoundLib.sol";
import {DemandFixture} from "./base/DemandFixture.sol";

/// @notice Questions for withheld data: who may ask for what, by when, and who pays.
contract DataDemandsTest is DemandFixture {
    function setUp() public override {
        super.setUp();
        begin();
        Lie memory honest;
        proposeWith(honest);
        learnProposal();
    }

    function test_theFirstQuestionOfAPhaseMovesTheEnd() public {
        uint64 end = federation.round(roundId).until;
        vm.expectEmit();
        emit IFederation.ChallengeExtended(roundId, end + 2 * ANSWER);
        vm.expectEmit();
        emit IHearing.DataDemanded(roundId, proposal.aggregationRoot, challenger, 1, 3, end + ANSWER);
        ask(challenger, proposal.aggregationRoot, 3);
        ask(stranger, proposal.modelRoot, 1);
        vm.assertEq(uint256(federation.round(roundId).until), end + 2 * ANSWER);
        Hearing memory heard = disputes.hearing(roundId, 1);
        vm.assertEq(uint256(heard.closes), end);
        vm.assertEq(uint256(heard.fees), 5 * UNIT);
        vm.assertEq(uint256(heard.units), 5);
        vm.assertEq(uint256(heard.open), 2);
        vm.assertEq(uint256(heard.challengers), 2);
        vm.assertEq(uint256(heard.phase), 1);
        vm.assertEq(uint256(disputes.question(roundId, 1, proposal.modelRoot, 1).due), end + ANSWER);
    }

    function test_whileAnswersComeTheNextPhaseIsAsked() public {
        uint64 end = federation.round(roundId).until;
        ask(challenger, proposal.aggregationRoot, 6);
        vm.warp(end + 1);
        ask(challenger, proposal.modelRoot, 1);
        vm.assertEq(uint256(disputes.question(roundId, 1, proposal.modelRoot, 1).due), end + 3 * ANSWER);
        vm.assertEq(uint256(federation.round(roundId).until), end + 4 * ANSWER);
        answer(proposal.aggregationRoot, 6);
        vm.warp(end + 3 * ANSWER);
        answer(proposal.modelRoot, 1);
        vm.assertEq(uint256(disputes.hearing(roundId, 1).open), 0);
    }

    function test_anAnswerOpensLevelsOfOneTree() public {
        ask(challenger, proposal.aggregationRoot, 2);
        Answer memory given = answerOf(proposal.aggregationRoot, 2);
        vm.assertEq(given.preimages.length, 3);
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit();
            emit IHearing.DataGiven(roundId, given.preimages[i]);
        }
        vm.expectEmit();
        emit IHearing.DataAnswered(roundId, proposal.aggregationRoot, 1, 2);
        disputes.answerMany(roundId, one(given));
        // Root, top, two nodes, three chunks.
        ask(challenger, proposal.modelRoot, 6);
        given = answerOf(proposal.modelRoot, 6);
        vm.assertEq(given.preimages.length, 7);
        disputes.answerMany(roundId, one(given));
        // The commitment, and the update below it.
        (bytes[] memory path, bytes32 hash) = deepHash(3);
        ask(challenger, path, hash, 4);
        given = answerOf(hash, 4);
        vm.assertEq(given.preimages.length, 7);
        disputes.answerMany(roundId, one(given));
        vm.assertEq(uint256(disputes.hearing(roundId, 1).open), 0);
    }

    function test_asksForAnyHashThatPreimagesLinkToARoot() public {
        for (uint256 i = 0; i < 4; ++i) {
            (bytes[] memory path, bytes32 hash) = deepHash(i);
            ask(challenger, path, hash, 1);
        }
        vm.assertEq(uint256(disputes.hearing(roundId, 1).open), 4);
    }

    function test_asksOnlyForWhatBelongsToTheProposal() public {
        expectRefusal(proposalPath(), hashOf(pair), "proposal");
        expectRefusal(pathOf(pair.preimage), hashOf(leaves[0]), "proposal");
        expectRefusal(pathOf(top.preimage), hashOf(leaves[0]), "path");
        expectRefusal(pathOf(top.preimage), 0, "path");
        expectRefusal(pathOf(top.preimage, leaves[0].preimage), keccak256(commitmentOf(0)), "path");
    }

    function test_asksEachHashOnceForSoManyLevels() public {
        ask(challenger, proposal.modelRoot, 2);
        bytes memory refusal =
            abi.encodeWithSelector(IHearing.AlreadyDemanded.selector, proposal.modelRoot, 2);
        vm.assertEq(failureOf(2 * UNIT, proposal.modelRoot, 2), refusal);
        ask(stranger, proposal.modelRoot, 3);
        bytes32 root = proposal.modelRoot;
        vm.assertEq(failureOf(UNIT, root, 0), abi.encodeWithSelector(IHearing.WrongLevels.selector, 0));
        vm.assertEq(failureOf(64 * UNIT, root, 7), abi.encodeWithSelector(IHearing.WrongLevels.selector, 7));
    }

    function test_pricesByTheLevelsAndGivesBackWhatIsTooMuch() public {
        for (uint8 levels = 1; levels <= 6; ++levels) {
            vm.assertEq(disputes.demandPrice(roundId, levels), UNIT << (levels - 1));
        }
        bytes memory refusal = abi.encodeWithSelector(IHearing.WrongFee.selector, 4 * UNIT - 1, 4 * UNIT);
        vm.assertEq(failureOf(4 * UNIT - 1, proposal.modelRoot, 3), refusal);
        vm.prank(challenger);
        disputes.demand{value: 5 * UNIT}(roundId, new bytes[](0), proposal.modelRoot, 3);
        vm.assertEq(disputes.owed(challenger), UNIT);
    }

    function test_rejectsWhatIsNotAnsweredInTime() public {
        bytes32 root = proposal.modelRoot;
        ask(challenger, root, 1);
        uint64 due = disputes.question(roundId, 1, root, 1).due;
        vm.warp(due);
        vm.expectRevert(abi.encodeWithSelector(IHearing.AnswerNotDue.selector, due));
        disputes.rejectUnanswered(roundId, root, 1);
        vm.warp(due + 1);
        vm.expectRevert(abi.encodeWithSelector(IHearing.NotDemanded.selector, root, 2));
        disputes.rejectUnanswered(roundId, root, 2);
        vm.expectEmit();
        emit ICourt.FraudProved(roundId, stranger, Fraud.MissingData, 1);
        vm.prank(stranger);
        disputes.rejectUnanswered(roundId, root, 1);
        vm.assertTrue(federation.round(roundId).state == RoundState.Submitted);
        // Who noticed it has a quarter, who asked the other.
        vm.prank(stranger);
        disputes.claimShare(roundId, 1);
        vm.assertEq(federation.owed(stranger), BOND / 4);
        vm.expectEmit();
        emit IHearing.DemandReclaimed(roundId, root, 1, challenger);
        disputes.reclaim(roundId, 1, root, 1);
        vm.expectEmit();
        emit IHearing.ShareClaimed(roundId, challenger, 1, BOND / 4);
        vm.prank(challenger);
        disputes.claimShare(roundId, 1);
        vm.prank(challenger);
        vm.assertEq(disputes.withdraw(), UNIT);
        vm.assertEq(address(disputes).balance, 0);
        vm.prank(challenger);
        vm.assertEq(federation.withdraw(), BOND / 4);
    }

    function test_aFinalProposalEarnsHalfOfTheFees() public {
        ask(challenger, proposal.aggregationRoot, 2);
        ask(stranger, proposal.modelRoot, 1);
        answer(proposal.aggregationRoot, 2);
        answer(proposal.modelRoot, 1);
        vm.warp(federation.round(roundId).until + 1);
        vm.expectEmit();
        emit IHearing.FeesSettled(roundId, 1, coordinator, UNIT * 3 / 2, UNIT * 3 / 2);
        federation.finalizeRound(roundId);
        vm.assertEq(disputes.owed(coordinator), UNIT * 3 / 2);
        vm.assertEq(disputes.burntFees(), UNIT * 3 / 2);
    }

    function test_onlyTheFederationConcludesAndOnlyRollupsReject() public {
        bytes memory refusal = abi.encodeWithSelector(IHearing.NotAuthorised.selector, stranger);
        vm.prank(stranger);
        vm.expectRevert(refusal);
        disputes.conclude(roundId, 1, stranger);
        vm.prank(stranger);
        vm.expectRevert(refusal);
        disputes.rejectRollup(roundId, 1, stranger);
        vm.deal(stranger, 1);
        vm.prank(stranger);
        (bool success,) = address(disputes).call{value: 1}("");
        vm.assertFalse(success);
    }

    function proposalPath() private pure returns (bytes[] memory) {
        return new bytes[](0);
    }

    function expectRefusal(bytes[] memory path, bytes32 hash, string memory what) private {
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotPartOf.selector, what));
        vm.prank(challenger);
        disputes.demand{value: UNIT}(roundId, path, hash, 1);
    }

    function failureOf(uint256 value, bytes32 root, uint8 levels) private returns (bytes memory) {
        bytes memory call = abi.encodeCall(IHearing.demand, (roundId, new bytes[](0), root, levels));
        vm.prank(challenger);
        (bool success, bytes memory result) = address(disputes).call{value: value}(call);
        vm.assertFalse(success);
        return result;
    }
}
