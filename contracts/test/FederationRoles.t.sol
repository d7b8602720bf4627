// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {IFederation} from "../src/interfaces/IFederation.sol";
import {IMembership} from "../src/interfaces/IMembership.sol";
import {Proposal} from "../src/libraries/RoundLib.sol";
import {Refusal, RulesLib} from "../src/libraries/RulesLib.sol";
import {Submission} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice Who may do what: owner, coordinator, members.
contract FederationRolesTest is FederationFixture {
    function test_ownerAddsAndRemovesMembersBetweenRounds() public {
        vm.expectEmit();
        emit IMembership.MemberAdded(stranger);
        vm.prank(owner);
        federation.addMembers(one(stranger));
        vm.assertTrue(federation.isMember(stranger));
        vm.assertEq(federation.memberCount(), MEMBERS + 1);

        vm.expectEmit();
        emit IMembership.MemberRemoved(stranger);
        vm.prank(owner);
        federation.removeMember(stranger);
        vm.assertFalse(federation.isMember(stranger));
        vm.assertEq(federation.memberCount(), MEMBERS);
    }

    function test_membersStayDuringARound() public {
        uint64 roundId = openRound();
        bytes memory stillOpen = abi.encodeWithSelector(IFederation.RoundStillOpen.selector, roundId);
        vm.expectRevert(stillOpen);
        vm.prank(owner);
        federation.addMembers(one(stranger));
        vm.expectRevert(stillOpen);
        vm.prank(owner);
        federation.removeMember(members[0]);
    }

    function test_refusesMembersThatAreOrAreNotThere() public {
        vm.expectRevert(abi.encodeWithSelector(IMembership.AlreadyMember.selector, members[0]));
        vm.prank(owner);
        federation.addMembers(one(members[0]));
        vm.expectRevert(abi.encodeWithSelector(IMembership.UnknownMember.selector, stranger));
        vm.prank(owner);
        federation.removeMember(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMembership.InvalidParameter.selector, "member"));
        vm.prank(owner);
        federation.addMembers(one(address(0)));
    }

    function test_keepsTheQuorumReachable() public {
        uint32 quorum = defaultRules().minClients;
        for (uint256 i = 0; i < MEMBERS - quorum; ++i) {
            vm.prank(owner);
            federation.removeMember(members[i]);
        }
        vm.expectRevert(abi.encodeWithSelector(RulesLib.QuorumUnreachable.selector, quorum - 1, quorum));
        vm.prank(owner);
        federation.removeMember(members[MEMBERS - 1]);
    }

    function test_removedMemberIsRefused() public {
        vm.prank(owner);
        federation.removeMember(members[0]);
        uint64 roundId = openRound();
        Submission memory submission = signed(0, honestUpdate(roundId, 0));
        expectRefusal(submission, Refusal.NotMember);
        submitOne(roundId, submission);
    }

    function test_onlyTheOwnerSetsMembersAndCoordinator() public {
        bytes memory refused =
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, coordinator);
        vm.expectRevert(refused);
        vm.prank(coordinator);
        federation.addMembers(one(stranger));
        vm.expectRevert(refused);
        vm.prank(coordinator);
        federation.removeMember(members[0]);
        vm.expectRevert(refused);
        vm.prank(coordinator);
        federation.replaceCoordinator(stranger);
    }

    function test_aRoundStaysWithWhoOpenedIt() public {
        uint64 roundId = openRound();
        vm.expectEmit();
        emit IFederation.SuccessorNamed(stranger);
        vm.prank(owner);
        federation.replaceCoordinator(stranger);
        vm.assertEq(federation.coordinator(), coordinator);

        Submission[] memory submissions = honestSubmissions(roundId, 0, MEMBERS);
        bytes memory refused = abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger);
        vm.expectRevert(refused);
        vm.prank(stranger);
        federation.submit(roundId, submissions);
        submit(roundId, submissions);
        conclude(roundId);

        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, coordinator));
        vm.prank(coordinator);
        federation.openRound();
        vm.expectEmit();
        emit IFederation.CoordinatorReplaced(coordinator, stranger);
        vm.prank(stranger);
        vm.assertEq(uint256(federation.openRound()), uint256(roundId) + 1);
        vm.assertEq(federation.coordinator(), stranger);
    }

    function test_betweenRoundsTheCoordinatorIsReplacedAtOnce() public {
        openRound();
        vm.prank(owner);
        federation.replaceCoordinator(owner);
        vm.warp(federation.round(1).until + 1);
        federation.failRound(1);
        vm.expectEmit();
        emit IFederation.CoordinatorReplaced(coordinator, stranger);
        vm.prank(owner);
        federation.replaceCoordinator(stranger);
        vm.assertEq(federation.coordinator(), stranger);
        // Whom the owner had named before is not taken any more.
        vm.prank(stranger);
        federation.openRound();
        vm.assertEq(federation.coordinator(), stranger);
    }

    function test_refusesNoCoordinator() public {
        vm.expectRevert(abi.encodeWithSelector(IMembership.InvalidParameter.selector, "coordinator"));
        vm.prank(owner);
        federation.replaceCoordinator(address(0));
    }

    function test_onlyTheCoordinatorRunsRounds() public {
        bytes memory refused = abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger);
        vm.expectRevert(refused);
        vm.prank(stranger);
        federation.openRound();

        uint64 roundId = openRound();
        Submission[] memory submissions = honestSubmissions(roundId, 0, MEMBERS);
        vm.expectRevert(refused);
        vm.prank(stranger);
        federation.submit(roundId, submissions);

        submit(roundId, submissions);
        Proposal memory proposal = defaultProposal();
        vm.expectRevert(refused);
        vm.prank(stranger);
        federation.propose(roundId, proposal);
    }

    function test_ownershipMovesInTwoSteps() public {
        vm.prank(owner);
        federation.transferOwnership(stranger);
        vm.assertEq(federation.owner(), owner);
        vm.prank(stranger);
        federation.acceptOwnership();
        vm.assertEq(federation.owner(), stranger);
    }

    function one(address member) private pure returns (address[] memory list) {
        list = new address[](1);
        list[0] = member;
    }
}
