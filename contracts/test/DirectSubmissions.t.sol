// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../src/DirectSubmissions.sol";
import {DirectState, DirectUpdate, IDirectSubmissions} from "../src/interfaces/IDirectSubmissions.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {Round, RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Refusal, Rules} from "../src/libraries/RulesLib.sol";
import {Security} from "../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {CommitmentLeaf} from "./base/CommitmentLeaf.sol";
import {DirectFixture} from "./base/DirectFixture.sol";

/// @notice Updates that members submit themselves.
contract DirectSubmissionsTest is DirectFixture {
    function test_aMemberBringsItsUpdateAndItWaits() public {
        Submission memory submission = submissionOf(1);
        vm.expectEmit();
        emit IDirectSubmissions.SubmittedDirectly(roundId, members[1], submission);
        bringOwn(direct, roundId, submission);
        vm.snapshotGasLastCall("DirectSubmissions", "submit");
        Round memory round = federation.round(roundId);
        vm.assertEq(uint256(round.accepted), 0);
        vm.assertEq(uint256(round.waiting), 1);
        DirectUpdate memory waiting = direct.directUpdate(roundId, members[1]);
        vm.assertTrue(waiting.state == DirectState.Waiting);
        vm.assertEq(waiting.updateRoot, submission.update.updateRoot);
        vm.assertEq(uint256(waiting.sumSquares), submission.update.sumSquares);
    }

    function test_includedItCountsAfterThoseBefore() public {
        bringOwn(direct, roundId, submissionOf(0));
        relay(1, 2);
        Submission memory submission = submissionOf(0);
        vm.expectEmit();
        emit IDirectSubmissions.Included(roundId, members[0], Refusal.None);
        include(submission);
        vm.snapshotGasLastCall("DirectSubmissions", "include");
        Round memory round = federation.round(roundId);
        vm.assertEq(uint256(round.accepted), 3);
        vm.assertEq(uint256(round.waiting), 0);
        vm.assertEq(uint256(round.totalWeight), 100 + 101 + 102);
        vm.assertEq(round.lastMember, members[2]);
        bytes32 pair = keccak256(
            abi.encodePacked(
                uint8(0x0b), CommitmentLeaf.hashOf(commitmentOf(1)), CommitmentLeaf.hashOf(commitmentOf(2))
            )
        );
        vm.assertEq(federation.commitmentPeak(1), pair);
        vm.assertEq(federation.commitmentPeak(0), CommitmentLeaf.hashOf(commitmentOf(0)));
        vm.assertTrue(direct.directUpdate(roundId, members[0]).state == DirectState.Included);
    }

    function test_aRelayGoesOnBelowWhatWasIncluded() public {
        bringOwn(direct, roundId, submissionOf(2));
        include(submissionOf(2));
        vm.assertEq(federation.round(roundId).lastMember, address(0));
        relay(0, 2);
        vm.assertEq(uint256(federation.round(roundId).accepted), 3);
    }

    function test_nothingIsProposedWhileAnUpdateWaits() public {
        relay(0, 2);
        bringOwn(direct, roundId, submissionOf(2));
        expectNoProposal(roundId, abi.encodeWithSelector(RoundLib.UpdatesWaiting.selector, roundId, 1));
        include(submissionOf(2));
        propose(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Proposed);
    }

    function test_onlyTheCoordinatorIncludes() public {
        Submission memory submission = submissionOf(0);
        bringOwn(direct, roundId, submission);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, members[0]));
        vm.prank(members[0]);
        direct.include(roundId, submission);
    }

    function test_onlyWhatWaitsIsIncluded() public {
        Submission memory submission = submissionOf(0);
        bytes memory none =
            abi.encodeWithSelector(IDirectSubmissions.NotWaiting.selector, roundId, members[0]);
        vm.expectRevert(none);
        include(submission);
        bringOwn(direct, roundId, submission);
        Update memory update = updateOf(0);
        update.examples += 1;
        Submission memory other = signed(0, update);
        vm.expectRevert(none);
        include(other);
        other = submissionOf(0);
        other.signature = abi.encodePacked(other.signature, hex"00");
        vm.expectRevert(none);
        include(other);
        include(submission);
        vm.expectRevert(none);
        include(submission);
    }

    function test_countsOnceHoweverItCame() public {
        bringOwn(direct, roundId, submissionOf(0));
        expectRefusal(submissionOf(0), Refusal.Duplicate);
        submitOne(roundId, submissionOf(0));
        expectAlreadySubmitted(0);
        include(submissionOf(0));
        expectAlreadySubmitted(0);
        expectRefusal(submissionOf(0), Refusal.Duplicate);
        submitOne(roundId, submissionOf(0));

        submitOne(roundId, submissionOf(1));
        submitOne(roundId, submissionOf(2));
        expectAlreadySubmitted(1);
        expectAlreadySubmitted(2);
    }

    function test_heldAgainstTheSameRules() public {
        Submission memory submission = submissionOf(0);
        submission.member = members[1];
        expectNotAccepted(submission, Refusal.BadSignature);
        // Nobody signed, and nobody is the key of who appointed none.
        submission = submissionOf(0);
        submission.signature = new bytes(65);
        expectNotAccepted(submission, Refusal.BadSignature);
        submission.signature = "";
        expectNotAccepted(submission, Refusal.BadSignature);
        Update memory update = updateOf(0);
        update.examples = 1;
        expectNotAccepted(signed(0, update), Refusal.TooFewExamples);
        vm.prank(members[0]);
        federation.unstake();
        submission = submissionOf(0);
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeTooLow.selector, members[0]));
        bringOwn(direct, roundId, submission);
        submission = submissionOf(1);
        vm.warp(federation.round(roundId).deadline + 1);
        expectNotAccepted(submission, Refusal.Expired);
    }

    function test_onlyMembers() public {
        Submission memory submission = submissionOf(0);
        submission.member = stranger;
        vm.deal(stranger, STAKE);
        vm.prank(stranger);
        federation.stake{value: STAKE}();
        expectNotAccepted(submission, Refusal.NotMember);
    }

    function test_whoRestsIsNotHeard() public {
        Rules memory rules = defaultRules();
        rules.minClients = 2;
        rules.elements = ELEMENTS;
        rules.restRounds = 1;
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        federation = createFederation(rules, security);
        direct = DirectSubmissions(federation.directSubmissions());
        stakeOfFirst(CLIENTS, STAKE);
        roundId = openRound();
        bringOwn(direct, roundId, submissionOf(0));
        include(submissionOf(0));
        relay(1, 1);
        conclude(roundId);
        roundId = openRound();
        expectNotAccepted(submissionOf(0), Refusal.TooSoon);
        failRound();
        // A round that failed asks for no rest.
        for (uint256 i = 0; i < 2; ++i) {
            roundId = openRound();
            bringOwn(direct, roundId, submissionOf(0));
            include(submissionOf(0));
            failRound();
        }
    }

    /// @dev What was in time when it came is in time when it is included.
    function test_includedAfterItsDeadlines() public {
        bringOwn(direct, roundId, submissionOf(0));
        Submission memory submission = submissionOf(0);
        vm.warp(federation.round(roundId).deadline + 1000);
        include(submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
    }

    function test_whoLeavesAfterwardsCountsNoLonger() public {
        bringOwn(direct, roundId, submissionOf(0));
        vm.prank(members[0]);
        federation.quit();
        Submission memory submission = submissionOf(0);
        vm.expectEmit();
        emit IDirectSubmissions.Included(roundId, members[0], Refusal.NotMember);
        include(submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), 0);
        vm.assertEq(uint256(federation.round(roundId).waiting), 0);
        vm.assertTrue(direct.directUpdate(roundId, members[0]).state == DirectState.Refused);
    }

    function test_theStakeIsHeldWhileItWaits() public {
        bringOwn(direct, roundId, submissionOf(0));
        vm.expectRevert(abi.encodeWithSelector(IEscrow.StakeLocked.selector, roundId));
        vm.prank(members[0]);
        federation.unstake();
        vm.warp(federation.round(roundId).until + 1);
        federation.failRound(roundId);
        vm.prank(members[0]);
        federation.unstake();
    }

    function test_onlyInOpenRounds() public {
        relay(0, 2);
        Submission memory submission = submissionOf(2);
        propose(roundId);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Proposed));
        bringOwn(direct, roundId, submission);
    }

    function test_onlyWhereMembersHaveStakes() public {
        federation = createFederation(defaultRules(), defaultSecurity());
        direct = DirectSubmissions(federation.directSubmissions());
        roundId = openRound();
        Submission memory submission = submissionOf(0);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NoStakes.selector));
        bringOwn(direct, roundId, submission);
    }

    function test_onlyTheSidecarSpeaksForIt() public {
        bytes memory refused = abi.encodeWithSelector(IFederation.NotSidecar.selector, coordinator);
        vm.expectRevert(refused);
        vm.prank(coordinator);
        federation.hold(roundId, members[0], type(uint64).max);
        vm.expectRevert(refused);
        vm.prank(coordinator);
        federation.forfeit(roundId, members[0]);
    }
}
