// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Federation} from "../src/Federation.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {FederationParameters, IFederation} from "../src/interfaces/IFederation.sol";
import {IMembership} from "../src/interfaces/IMembership.sol";
import {Refusal, RulesLib} from "../src/libraries/RulesLib.sol";
import {Submission} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice Joining with a stake, and leaving, whatever owner and coordinator do.
contract OpenMembershipTest is FederationFixture {
    uint128 private constant STAKE = 0.5 ether;

    function setUp() public override {
        super.setUp();
        federation = createOpen(0);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            vm.deal(members[i], 2 * STAKE);
        }
        vm.deal(stranger, 2 * STAKE);
    }

    function test_beginsWithoutMembersAndSaysSo() public {
        vm.assertTrue(federation.openMembership());
        vm.assertEq(federation.memberCount(), 0);
        vm.assertFalse(createFederation(defaultRules(), defaultSecurity()).openMembership());
    }

    function test_opensOnlyWithAStake() public {
        FederationParameters memory parameters = parametersOf(defaultRules(), defaultSecurity());
        parameters.openMembership = true;
        vm.expectRevert(abi.encodeWithSelector(IMembership.InvalidParameter.selector, "stake"));
        createFederation(parameters);
    }

    function test_whoJoinsCounts() public {
        joinAll();
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
        vm.assertEq(uint256(federation.round(roundId).accepted), MEMBERS);
    }

    function test_joinAnnouncesTheMemberAndItsStake() public {
        vm.expectEmit();
        emit IEscrow.Staked(stranger, STAKE, STAKE);
        vm.expectEmit();
        emit IMembership.MemberAdded(stranger);
        join(stranger, STAKE);
        vm.assertTrue(federation.isMember(stranger));
        vm.assertEq(federation.stakeOf(stranger), STAKE);
    }

    function test_whatWasAtStakeBeforeCountsWhenJoining() public {
        vm.prank(stranger);
        federation.stake{value: STAKE - 1}();
        join(stranger, 1);
        vm.assertEq(federation.stakeOf(stranger), STAKE);
    }

    function test_joinTakesTheWholeStake() public {
        vm.expectRevert(abi.encodeWithSelector(IMembership.StakeBelowMinimum.selector, STAKE - 1, STAKE));
        join(stranger, STAKE - 1);
    }

    function test_nobodyJoinsTwice() public {
        join(stranger, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IMembership.AlreadyMember.selector, stranger));
        join(stranger, STAKE);
    }

    function test_nobodyJoinsDuringARound() public {
        uint64 roundId = openRound();
        vm.expectRevert(abi.encodeWithSelector(IFederation.RoundStillOpen.selector, roundId));
        join(stranger, STAKE);
    }

    function test_nobodyJoinsWhereMembersAreInvited() public {
        federation = createFederation(defaultRules(), defaultSecurity());
        vm.expectRevert(abi.encodeWithSelector(IMembership.ByInvitationOnly.selector));
        join(stranger, STAKE);
    }

    function test_noMoreJoinThanTheAggregateHasRoomFor() public {
        uint32 heavy = uint32(uint256(1 << 32) / MEMBERS);
        federation = createOpen(heavy);
        for (uint256 i = 0; i + 1 < MEMBERS; ++i) {
            join(members[i], STAKE);
        }
        vm.expectRevert(abi.encodeWithSelector(RulesLib.AggregateCouldOverflow.selector, MEMBERS, heavy));
        join(stranger, STAKE);
        vm.prank(members[0]);
        federation.quit();
        join(stranger, STAKE);
    }

    function test_ownersInvitationsAskForRoomToo() public {
        uint32 heavy = uint32(uint256(1 << 32) / MEMBERS);
        federation = createOpen(heavy);
        vm.expectRevert(abi.encodeWithSelector(RulesLib.AggregateCouldOverflow.selector, MEMBERS, heavy));
        vm.prank(owner);
        federation.addMembers(members);
    }

    function test_theStakeIsFreeOnlyAfterLeaving() public {
        join(stranger, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IMembership.StillMember.selector, stranger));
        vm.prank(stranger);
        federation.unstake();
        vm.expectEmit();
        emit IMembership.MemberRemoved(stranger);
        vm.prank(stranger);
        federation.quit();
        takeStake(stranger);
        vm.assertEq(stranger.balance, 2 * STAKE);
    }

    function test_onlyMembersLeave() public {
        vm.expectRevert(abi.encodeWithSelector(IMembership.UnknownMember.selector, stranger));
        vm.prank(stranger);
        federation.quit();
    }

    function test_leavingDuringARoundKeepsWhatWasAcceptedAndItsStake() public {
        joinAll();
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        vm.prank(members[0]);
        federation.quit();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.StakeLocked.selector, roundId));
        vm.prank(members[0]);
        federation.unstake();
        conclude(roundId);
        vm.assertEq(uint256(federation.round(roundId).accepted), 10);
        takeStake(members[0]);
    }

    function test_whoLeftIsRefused() public {
        joinAll();
        uint64 roundId = openRound();
        Submission memory submission = signed(0, honestUpdate(roundId, 0));
        vm.prank(members[0]);
        federation.quit();
        expectRefusal(submission, Refusal.NotMember);
        submitOne(roundId, submission);
    }

    /// @dev Owner and coordinator never come back, in the worst moment: a round is open.
    function test_everyoneGetsOutWhenOwnerAndCoordinatorVanish() public {
        joinAll();
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
        for (uint256 i = 0; i < MEMBERS; ++i) {
            vm.prank(members[i]);
            federation.quit();
        }
        vm.warp(federation.round(roundId).until + 1);
        vm.prank(stranger);
        federation.failRound(roundId);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            takeStake(members[i]);
        }
        vm.assertEq(federation.memberCount(), 0);
        vm.assertEq(address(federation).balance, 0);
    }

    function test_invitedMembersLeaveEvenBelowTheQuorum() public {
        federation = createFederation(defaultRules(), defaultSecurity());
        for (uint256 i = 0; i < MEMBERS; ++i) {
            vm.prank(members[i]);
            federation.quit();
        }
        uint64 roundId = openRound();
        vm.warp(federation.round(roundId).until + 1);
        federation.failRound(roundId);
        vm.prank(owner);
        federation.addMembers(members);
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
        conclude(roundId);
    }

    /// @param maxExamples Cap on the weight; 0 for the usual one.
    function createOpen(uint32 maxExamples) private returns (Federation) {
        FederationParameters memory parameters = parametersOf(defaultRules(), defaultSecurity());
        parameters.openMembership = true;
        parameters.security.stake = STAKE;
        parameters.members = new address[](0);
        if (maxExamples > 0) parameters.rules.maxExamples = maxExamples;
        return createFederation(parameters);
    }

    function joinAll() private {
        for (uint256 i = 0; i < MEMBERS; ++i) {
            join(members[i], STAKE);
        }
    }

    function join(address account, uint256 amount) private {
        vm.prank(account);
        federation.join{value: amount}();
    }

    function takeStake(address account) private {
        vm.prank(account);
        federation.unstake();
        vm.prank(account);
        vm.assertEq(federation.withdraw(), STAKE);
    }
}
