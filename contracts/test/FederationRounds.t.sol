// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFederation} from "../src/interfaces/IFederation.sol";
import {IMembership} from "../src/interfaces/IMembership.sol";
import {Proposal, Round, RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
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
        vm.assertEq(uint256(opened.openedIn), block.number);
        vm.assertEq(uint256(federation.currentRound()), 1);
    }

    function test_onlyOneRoundIsOpen() public {
        openRound();
        vm.expectRevert(abi.encodeWithSelector(IFederation.RoundStillOpen.selector, 1));
        vm.prank(coordinator);
        federation.openRound();
    }

    function test_becomesFinalAfterTheChallengeWindow() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, QUORUM));
        uint64 totalWeight = federation.round(roundId).totalWeight;
        uint64 until = uint64(block.timestamp + 600);
        vm.expectEmit();
        emit IFederation.RoundProposed(
            roundId,
            NEXT_ROOT,
            AGGREGATE_ROOT,
            1,
            AGGREGATION_ROOT,
            totalWeight,
            until,
            coordinator,
            cidOf("next")
        );
        propose(roundId);

        Round memory proposed = federation.round(roundId);
        vm.assertTrue(proposed.state == RoundState.Proposed);
        vm.assertEq(proposed.modelRoot, NEXT_ROOT);
        vm.assertEq(proposed.aggregateRoot, AGGREGATE_ROOT);
        vm.assertEq(proposed.aggregationRoot, AGGREGATION_ROOT);
        vm.assertEq(uint256(proposed.attempt), 1);
        vm.assertEq(federation.modelRoot(), INITIAL_ROOT);
        vm.assertEq(federation.lockedBond(), BOND);

        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.TooEarly.selector, until));
        federation.finalizeRound(roundId);
        vm.warp(until + 1);
        vm.expectEmit();
        emit IFederation.RoundFinal(roundId, NEXT_ROOT, AGGREGATE_ROOT, totalWeight, uint32(QUORUM), 1);
        vm.prank(stranger);
        federation.finalizeRound(roundId);

        vm.assertTrue(federation.round(roundId).state == RoundState.Final);
        vm.assertEq(federation.modelRoot(), NEXT_ROOT);
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(federation.lockedBond(), 0);

        expectOpening(2, NEXT_ROOT);
        vm.assertEq(uint256(openRound()), 2);
    }

    function test_proposesNothingBelowItsQuorum() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, QUORUM - 1));
        expectNoProposal(
            roundId, abi.encodeWithSelector(RoundLib.QuorumNotReached.selector, QUORUM - 1, QUORUM)
        );
    }

    function test_proposesNothingEmpty() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
        Proposal memory proposal = defaultProposal();
        proposal.aggregationRoot = 0;
        expectInvalid(roundId, proposal, "roots");
        proposal = defaultProposal();
        proposal.aggregateRoot = 0;
        expectInvalid(roundId, proposal, "roots");
        proposal = defaultProposal();
        proposal.modelRoot = 0;
        expectInvalid(roundId, proposal, "roots");
        proposal = defaultProposal();
        proposal.cid = "";
        expectInvalid(roundId, proposal, "cid");
        proposal.cid = new bytes(65);
        expectInvalid(roundId, proposal, "cid");
    }

    function test_proposesOnlyOnce() public {
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
        propose(roundId);
        bytes memory wrong =
            abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Proposed);
        expectNoProposal(roundId, wrong);
        Submission[] memory submissions = honestSubmissions(roundId, 0, 1);
        vm.expectRevert(wrong);
        submit(roundId, submissions);
        vm.expectRevert(wrong);
        vm.prank(coordinator);
        federation.failRound(roundId);
        vm.expectRevert(abi.encodeWithSelector(IFederation.RoundStillOpen.selector, roundId));
        openRound();
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
        expectOpening(roundId + 1, INITIAL_ROOT);
        openRound();
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
        conclude(roundId);
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
        bytes memory closed = abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, state);
        Submission[] memory submissions = honestSubmissions(roundId, 0, 1);
        vm.expectRevert(closed);
        submit(roundId, submissions);
        expectNoProposal(roundId, closed);
        vm.expectRevert(closed);
        federation.finalizeRound(roundId);
        vm.expectRevert(closed);
        vm.prank(coordinator);
        federation.failRound(roundId);
        address disputes = federation.disputes();
        vm.expectRevert(closed);
        vm.prank(disputes);
        federation.rejectProposal(roundId, stranger, false);
        vm.expectRevert(closed);
        vm.prank(disputes);
        federation.extendChallenge(roundId, type(uint64).max);
    }

    function expectOpening(uint64 roundId, bytes32 baseRoot) private {
        bytes32 rulesHash = federation.rulesHash();
        bytes32 seed = keccak256(abi.encode(block.chainid, address(federation), roundId, baseRoot));
        vm.expectEmit();
        emit IFederation.RoundOpened(roundId, baseRoot, seed, rulesHash, uint64(block.timestamp + 3600));
    }

    function expectInvalid(uint64 roundId, Proposal memory proposal, string memory what) private {
        vm.expectRevert(abi.encodeWithSelector(IMembership.InvalidParameter.selector, what));
        vm.prank(coordinator);
        federation.propose{value: BOND}(roundId, proposal);
    }
}
