// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../src/DirectSubmissions.sol";
import {Fraud, ICourt} from "../src/interfaces/ICourt.sol";
import {IHearing} from "../src/interfaces/IHearing.sol";
import {IRollups} from "../src/interfaces/IRollups.sol";
import {RecordProof} from "../src/libraries/RecordTree.sol";
import {RollupLib} from "../src/libraries/RollupLib.sol";
import {RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Refusal} from "../src/libraries/RulesLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {RollupFixture} from "./base/RollupFixture.sol";

/// @notice Updates that their members submitted themselves, and roll-ups that hold them or leave them out.
contract RollupOmissionsTest is RollupFixture {
    DirectSubmissions private direct;

    function setUp() public override {
        super.setUp();
        direct = DirectSubmissions(federation.directSubmissions());
    }

    function test_aWaitingUpdateDoesNotKeepARoundFromBeingRolledUp() public {
        begin();
        bringOwn(direct, roundId, received[0]);
        rollUp();
        propose(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Proposed);
        expectNoFraud(omission(0, noRecord(), recordProof(0)));
    }

    function test_anUpdateIncludedAloneEndsTheWayOfARollup() public {
        begin();
        bringOwn(direct, roundId, received[0]);
        Submission memory submission = received[0];
        vm.prank(coordinator);
        direct.include(roundId, submission);
        build();
        vm.expectRevert(abi.encodeWithSelector(RoundLib.NotEmpty.selector, roundId));
        submitStated();
    }

    function test_nothingIsSubmittedDirectlyAfterARollup() public {
        begin();
        rollUp();
        Submission memory submission = received[0];
        vm.expectRevert(abi.encodeWithSelector(RoundLib.RolledUp.selector, roundId));
        bringOwn(direct, roundId, submission);
    }

    /// @dev The records beside a member's own are no proof that it has none.
    function test_aRecordedMemberIsNotLeftOut() public {
        begin();
        bringOwn(direct, roundId, received[2]);
        rollUp();
        propose(roundId);
        expectNotPart("records around the member", omission(2, recordProof(2), recordProof(3)));
        expectNotPart("records around the member", omission(2, recordProof(3), recordProof(4)));
        expectNotPart("records around the member", omission(2, recordProof(0), recordProof(1)));
        expectNoFraud(omission(2, recordProof(1), recordProof(2)));
    }

    /// @dev Else whoever submits right before a roll-up would make it a fraud.
    function test_aRollupSaysWhichUpdatesWait() public {
        begin();
        build();
        bringOwn(direct, roundId, received[0]);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.OtherPremises.selector, "journal"));
        submitStated();
        bytes32 submission = keccak256(bytesOf(received[0]));
        stated.journal = keccak256(abi.encodePacked(bytes32(0), uint8(1), members[0], submission));
        submitStated();
    }

    function test_aRollupCanWaitForAVectorPastTheDeadline() public {
        begin();
        drop(2);
        uint64 deadline = federation.round(roundId).deadline;
        Update memory update = updateOf(2);
        update.deadline = deadline;
        Submission memory late = signed(2, update);
        vm.warp(deadline);
        bringOwn(direct, roundId, late);
        uint256 fee = direct.postingFee();
        vm.prank(coordinator);
        direct.demandPosting{value: fee}(roundId, members[2]);
        vm.warp(deadline + 121);
        direct.forfeit(roundId, members[2]);
        build();
        stated.judgedAt = deadline + 1;
        vm.expectRevert(abi.encodeWithSelector(RollupLib.InvalidRollup.selector, "judgedAt"));
        submitStated();
        stated.judgedAt = deadline;
        uint256 snapshot = vm.snapshotState();
        vm.warp(deadline + 241);
        vm.expectRevert(abi.encodeWithSelector(RollupLib.InvalidRollup.selector, "judgedAt"));
        submitStated();
        vm.revertToState(snapshot);
        vm.warp(deadline + 240);
        submitStated();
        propose(roundId);
    }

    function test_provesAMemberLeftOutBetweenTwo() public {
        begin();
        Submission memory left = received[2];
        drop(2);
        bringOwn(direct, roundId, left);
        rollUp();
        propose(roundId);
        expectNotPart("records around the member", omission(2, recordProof(0), recordProof(1)));
        expectNotPart("record before", omission(2, recordProof(0), recordProof(2)));
        // Two neighbours, both above where the member's own would be.
        expectNotPart("records around the member", omission(2, recordProof(2), recordProof(3)));
        RecordProof memory forged = recordProof(1);
        forged.record.reason = 0;
        expectNotPart("records", omission(2, forged, recordProof(2)));
        expectNotPart("records", omission(2, recordProof(1), forged));
        accepts(omission(2, recordProof(1), recordProof(2)));
    }

    function test_provesAMemberLeftOutBeforeTheFirst() public {
        begin();
        Submission memory left = received[0];
        drop(0);
        bringOwn(direct, roundId, left);
        rollUp();
        propose(roundId);
        accepts(omission(0, noRecord(), recordProof(0)));
    }

    function test_provesAMemberLeftOutAfterTheLast() public {
        begin();
        Submission memory left = received[4];
        drop(4);
        bringOwn(direct, roundId, left);
        rollUp();
        propose(roundId);
        expectNotPart("records around the member", omission(4, noRecord(), recordProof(2)));
        accepts(omission(4, noRecord(), recordProof(3)));
    }

    function test_provesSomethingElsePutInItsPlace() public {
        begin();
        Submission memory mine = received[0];
        replaceByForgery(0);
        bringOwn(direct, roundId, mine);
        rollUp();
        propose(roundId);
        accepts(omission(0, noRecord(), recordProof(0)));
    }

    /// @dev Another update that the member signed may count in its place: it is the member's word, too.
    function test_findsNoFraudWhereAnotherUpdateOfTheMemberCounts() public {
        begin();
        Update memory update = updateOf(0);
        update.examples += 1;
        bringOwn(direct, roundId, signed(0, update));
        rollUp();
        propose(roundId);
        expectNoFraud(omission(0, noRecord(), recordProof(0)));
    }

    function test_whatWasNotSubmittedDirectlyCanBeLeftOut() public {
        begin();
        drop(2);
        rollUp();
        propose(roundId);
        expectNotPart("direct submissions", omission(2, recordProof(1), recordProof(2)));
    }

    function test_whatWasForfeitedCanBeLeftOut() public {
        begin();
        bringOwn(direct, roundId, received[2]);
        drop(2);
        uint256 fee = direct.postingFee();
        vm.prank(coordinator);
        direct.demandPosting{value: fee}(roundId, members[2]);
        vm.warp(direct.directUpdate(roundId, members[2]).due + 1);
        direct.forfeit(roundId, members[2]);
        rollUp();
        propose(roundId);
        expectNotPart("direct submissions", omission(2, recordProof(1), recordProof(2)));
        vm.assertEq(nobodys(address(0)), STAKE);
    }

    /// @dev Takes a record out, as if nothing had been received.
    function drop(uint256 index) private {
        bool counted = records[index].reason == 0;
        uint32 weight = records[index].weight;
        if (counted) {
            uint256 place = records[index].accepted - 1;
            for (uint256 i = place; i + 1 < commitments.length; ++i) {
                commitments[i] = commitments[i + 1];
            }
            commitments.pop();
        }
        for (uint256 i = index; i + 1 < records.length; ++i) {
            records[i] = records[i + 1];
            records[i].accepted -= counted ? 1 : 0;
            records[i].total -= weight;
        }
        records.pop();
    }

    /// @dev Records something under a wrong signature, as if it had come from the member.
    function replaceByForgery(uint256 index) private {
        uint32 weight = records[index].weight;
        Submission memory forged = received[index];
        forged.signature = signature(keys[index + 1], forged.update);
        records[index].submission = hashOf(forged);
        records[index].reason = uint8(Refusal.BadSignature);
        records[index].weight = 0;
        for (uint256 i = index; i < records.length; ++i) {
            records[i].accepted -= 1;
            records[i].total -= weight;
        }
        for (uint256 i = 0; i + 1 < commitments.length; ++i) {
            commitments[i] = commitments[i + 1];
        }
        commitments.pop();
    }

    function omission(uint256 member, RecordProof memory before, RecordProof memory proof)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            IRollups.proveOmission, (roundId, members[member], before, proof, bytes32(uint256(1)))
        );
    }

    function accepts(bytes memory call) private {
        commitTo(challenger, call);
        vm.expectEmit();
        emit ICourt.FraudProved(roundId, challenger, Fraud.Omission, 1);
        show(call);
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        IHearing hearing = IHearing(federation.disputes());
        vm.prank(challenger);
        hearing.claimShare(roundId, 1);
        vm.assertEq(federation.owed(challenger), BOND / 2);
    }

    function expectNoFraud(bytes memory call) private {
        vm.assertEq(failureOf(call), abi.encodeWithSelector(ICourt.NoFraud.selector));
    }

    function expectNotPart(string memory what, bytes memory call) private {
        vm.assertEq(failureOf(call), abi.encodeWithSelector(ICourt.NotPartOf.selector, what));
    }
}
