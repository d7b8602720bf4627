// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFederation} from "../src/interfaces/IFederation.sol";
import {Round, RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Submission} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice The state machine of a round, transition by transition; the table is in `RoundLib`.
contract FederationRoundsTest is FederationFixture {
    uint64 private constant QUORUM = 10;

    function test_opensOverTheCurrentModel() public {
        bytes32 seed = keccak256(abi.encode(block.chainid, address(federation), uint64(1), INITIAL_ROOT));
        vm.expectEmit();
        emit IFederation.RoundOpened(
            1, INITIAL_ROOT, seed, federation.rulesHash(), uint64(block.timestamp + 3600)
        );
        vm.assertEq(uint256(openRound()), 1);

        Round memory opened = federation.round(1);
        vm.assertTrue(opened.state == RoundState.Open);
        vm.assertEq(uint256(opened.openedAt), block.timestamp);
        vm.assertEq(uint256(opened.deadline), block.timestamp + 3600);
        vm.assertEq(opened.baseRoot, INITIAL_ROOT);
        vm.assertEq(uint256(federation.currentRound()), 1);
        vm.assertEq(federation.roundSeed(1), seed);
    }

    function test_bindsUpdatesToTheirPlace() public view {
        bytes32 context = keccak256(
            abi.encode(block.chainid, address(federation), uint64(7), members[2], defaultRules().elements)
        );
        vm.assertEq(federation.updateContext(7, members[2]), context);
    }

    function test_onlyOneRoundIsOpen() public {
        openRound();
        vm.expectRevert(abi.encodeWithSelector(IFederation.RoundStillOpen.selector, 1));
        vm.prank(coordinator);
        federation.openRound();
    }

    function test_unopenedRoundHasNoSeed() public {
        vm.expectRevert(abi.encodeWithSelector(IFederation.UnknownRound.selector, 1));
        federation.roundSeed(1);
        vm.assertTrue(federation.round(1).state == RoundState.None);
    }

    function test_becomesFinalWithItsQuorum() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, QUORUM));
        uint64 totalWeight = federation.round(roundId).totalWeight;

        vm.expectEmit();
        emit IFederation.RoundFinal(
            roundId, NEXT_ROOT, AGGREGATE_ROOT, totalWeight, uint32(QUORUM), cidOf("next")
        );
        finalize(roundId);

        Round memory done = federation.round(roundId);
        vm.assertTrue(done.state == RoundState.Final);
        vm.assertEq(done.modelRoot, NEXT_ROOT);
        vm.assertEq(done.aggregateRoot, AGGREGATE_ROOT);
        vm.assertEq(federation.modelRoot(), NEXT_ROOT);

        uint64 next = openRound();
        vm.assertEq(uint256(next), 2);
        vm.assertEq(federation.round(next).baseRoot, NEXT_ROOT);
    }

    function test_doesNotBecomeFinalBelowItsQuorum() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, QUORUM - 1));
        vm.expectRevert(abi.encodeWithSelector(RoundLib.QuorumNotReached.selector, QUORUM - 1, QUORUM));
        finalize(roundId);
    }

    function test_finalisesWithNothingEmpty() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
        vm.expectRevert(abi.encodeWithSelector(IFederation.InvalidParameter.selector, "newModelRoot"));
        vm.prank(coordinator);
        federation.finalizeRound(roundId, 0, AGGREGATE_ROOT, cidOf("next"));
        vm.expectRevert(abi.encodeWithSelector(IFederation.InvalidParameter.selector, "aggregateRoot"));
        vm.prank(coordinator);
        federation.finalizeRound(roundId, NEXT_ROOT, 0, cidOf("next"));
        vm.expectRevert(abi.encodeWithSelector(IFederation.InvalidParameter.selector, "cid"));
        vm.prank(coordinator);
        federation.finalizeRound(roundId, NEXT_ROOT, AGGREGATE_ROOT, "");
        vm.expectRevert(abi.encodeWithSelector(IFederation.InvalidParameter.selector, "cid"));
        vm.prank(coordinator);
        federation.finalizeRound(roundId, NEXT_ROOT, AGGREGATE_ROOT, new bytes(65));
    }

    function test_coordinatorGivesUpARoundWithoutQuorum() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, QUORUM - 1));
        vm.expectEmit();
        emit IFederation.RoundFailed(roundId, coordinator, uint32(QUORUM - 1));
        vm.prank(coordinator);
        federation.failRound(roundId);

        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        vm.assertEq(federation.modelRoot(), INITIAL_ROOT);
        uint64 next = openRound();
        vm.assertEq(federation.round(next).baseRoot, INITIAL_ROOT);
        vm.assertTrue(federation.roundSeed(next) != federation.roundSeed(roundId));
    }

    function test_coordinatorCannotGiveUpARoundWithQuorum() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, QUORUM));
        vm.expectRevert(abi.encodeWithSelector(RoundLib.QuorumReached.selector, QUORUM, QUORUM));
        vm.prank(coordinator);
        federation.failRound(roundId);
    }

    function test_anyoneFailsARoundAfterItsDeadline() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, QUORUM));
        vm.warp(federation.round(roundId).deadline);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger));
        vm.prank(stranger);
        federation.failRound(roundId);

        vm.warp(block.timestamp + 1);
        vm.prank(stranger);
        federation.failRound(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
    }

    function test_nothingLeavesFinal() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
        finalize(roundId);
        expectClosed(roundId, RoundState.Final);
    }

    function test_nothingLeavesFailed() public {
        uint64 roundId = openRound();
        vm.prank(coordinator);
        federation.failRound(roundId);
        expectClosed(roundId, RoundState.Failed);
    }

    function test_nothingHappensToAnUnopenedRound() public {
        expectClosed(1, RoundState.None);
        expectClosed(0, RoundState.None);
    }

    function expectClosed(uint64 roundId, RoundState state) private {
        bytes memory closed = abi.encodeWithSelector(RoundLib.RoundNotOpen.selector, roundId, state);
        Submission[] memory submissions = honestSubmissions(roundId, 0, 1);
        vm.expectRevert(closed);
        submit(roundId, submissions);
        vm.expectRevert(closed);
        finalize(roundId);
        vm.expectRevert(closed);
        vm.prank(coordinator);
        federation.failRound(roundId);
    }

    function finalize(uint64 roundId) private {
        vm.prank(coordinator);
        federation.finalizeRound(roundId, NEXT_ROOT, AGGREGATE_ROOT, cidOf("next"));
    }
}
